"""The local archive: a server with XNAT's REST API. It imports nothing of the client side."""
