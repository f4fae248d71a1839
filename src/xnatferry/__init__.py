"""xnatferry carries NIfTI, BIDS and FreeSurfer data into an XNAT archive, and back."""

__version__ = "0.1.0"

__all__ = ["__version__"]
