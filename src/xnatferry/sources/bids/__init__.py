"""BIDS datasets: every file with its destination, and metadata from names, sidecars and tables."""
