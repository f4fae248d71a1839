"""The local archive: speaks as XNAT does. Knows only the vocabulary, nothing of the importer."""
