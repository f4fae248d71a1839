"""Local data: finds files, reads their metadata and labels; uses no network."""
