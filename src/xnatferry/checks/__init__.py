"""Facts to findings, with stable ids."""
