"""Carries NIfTI, BIDS and FreeSurfer data into an XNAT archive and back: checked, planned, verified.

Step by step, as the founding recipes do it::

    with xnatferry.connect(server="https://xnat.example.org", user="me", password=secret) as xnat:
        xnat.ensure_session("BRAIN/sub01/sub01_MR1")
        xnat.ensure_scan("BRAIN/sub01/sub01_MR1/scans/1", fields={"type": "T1w"})
        xnat.put_file("t1.nii.gz", "BRAIN/sub01/sub01_MR1/scans/1/resources/NIFTI")

Or whole folders, through a plan: see `xnatferry.api`.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in typing, which takes 5 ms to import

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xnatferry.api import (
        MappingRules,
        OnConflict,
        Plan,
        PushResult,
        StatsTable,
        discover,
        plan,
        push,
        stats,
        verify,
    )
    from xnatferry.client.steps import Client, connect
    from xnatferry.xnat.model import Address, Level

__all__ = [
    "Address",
    "Client",
    "Level",
    "MappingRules",
    "OnConflict",
    "Plan",
    "PushResult",
    "StatsTable",
    "__version__",
    "connect",
    "discover",
    "plan",
    "push",
    "stats",
    "verify",
]

_HOMES = {
    "Address": "xnat.model",
    "Client": "client.steps",
    "Level": "xnat.model",
    "connect": "client.steps",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line's ``--help`` needs none of them."""
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    found: object = getattr(import_module(f"xnatferry.{_HOMES.get(name, 'api')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
