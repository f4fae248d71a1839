"""BIDS datasets: every file of one, with its place and what its name, its sidecars and its tables say."""
