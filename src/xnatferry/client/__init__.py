"""HTTP client for the REST API of XNAT; independent of plans."""
