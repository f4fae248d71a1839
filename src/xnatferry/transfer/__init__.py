"""Carries out a plan through a Destination; knows no HTTP."""
