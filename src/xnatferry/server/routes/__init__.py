"""The routes of the archive, one module per family of addresses."""
