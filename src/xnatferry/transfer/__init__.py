"""Carries out a plan through a Destination; does not use HTTP itself."""
