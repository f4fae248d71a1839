"""Speaks to XNAT; knows no plan."""
