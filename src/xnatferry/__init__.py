"""Uploads NIfTI, BIDS and FreeSurfer data into an XNAT archive, verifies it, and downloads it again.

Step by step::

    with xnatferry.connect(server="https://xnat.example.org", user="me", password=secret) as xnat:
        xnat.ensure_session("BRAIN/sub01/sub01_MR1")
        xnat.ensure_scan("BRAIN/sub01/sub01_MR1/scans/1", fields={"type": "T1w"})
        xnat.put_file("t1.nii.gz", "BRAIN/sub01/sub01_MR1/scans/1/resources/NIFTI")

Whole folders, with a plan::

    with xnatferry.connect(config="login.json") as xnat:
        plan = xnatferry.plan(xnatferry.discover("nifti/"), xnat.remote, xnatferry.MappingRules("BRAIN"))
        with xnatferry.progress(plan) as show:
            result = xnatferry.push(plan, xnat.remote, listener=show)
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # as in typing, which takes 5 ms to import

__version__ = "0.1.0"

if TYPE_CHECKING:
    from xnatferry.api import (
        Finding,
        MappingRules,
        OnConflict,
        Plan,
        Proof,
        PullPlan,
        PullResult,
        PushResult,
        Selection,
        StatsTable,
        begin_run,
        check,
        copy,
        discover,
        earlier_runs,
        find_run,
        plan,
        plan_copy,
        plan_pull,
        plan_undo,
        pull,
        push,
        stats,
        undo,
        verify,
        verify_run,
    )
    from xnatferry.client.client import Client, connect
    from xnatferry.console.progress import progress
    from xnatferry.xnat.model import Address, Level

__all__ = [
    "Address",
    "Client",
    "Finding",
    "Level",
    "MappingRules",
    "OnConflict",
    "Plan",
    "Proof",
    "PullPlan",
    "PullResult",
    "PushResult",
    "Selection",
    "StatsTable",
    "__version__",
    "begin_run",
    "check",
    "connect",
    "copy",
    "discover",
    "earlier_runs",
    "find_run",
    "plan",
    "plan_copy",
    "plan_pull",
    "plan_undo",
    "progress",
    "pull",
    "push",
    "stats",
    "undo",
    "verify",
    "verify_run",
]

_MODULES = {
    "Address": "xnat.model",
    "Client": "client.client",
    "Level": "xnat.model",
    "connect": "client.client",
    "progress": "console.progress",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used, so that ``--help`` is fast."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(f"xnatferry.{_MODULES.get(name, 'api')}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
