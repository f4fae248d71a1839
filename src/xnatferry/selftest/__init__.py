"""Probes that check on a real XNAT, in a scratch project, that xnatferry works there."""
