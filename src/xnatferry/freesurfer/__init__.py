"""Parsers of FreeSurfer's text files: statistics, volumes, versions; they do not access the disk."""
