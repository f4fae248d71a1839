"""Reads data of a server: downloads, copies, listings, tables of measurements."""
