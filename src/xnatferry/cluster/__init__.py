"""Carries out a push on the workers of a Dask cluster: ``push --cluster``."""
