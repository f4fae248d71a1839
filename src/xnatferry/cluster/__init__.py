"""One push, carried by the workers of a Dask cluster: ``push --cluster``."""
