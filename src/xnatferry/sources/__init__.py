"""Reads local disk, never the network: what is there, and what it says of itself."""
