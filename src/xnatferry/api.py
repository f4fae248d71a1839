"""The Python API: discover, check, plan, push, verify, undo, pull, copy, stats.

discovery = xnatferry.discover("nifti/")
with xnatferry.connect(server="https://xnat.example.org", user="me", password=secret) as client:
    plan = xnatferry.plan(discovery, client.remote, MappingRules(project="BRAIN"))
    result = xnatferry.push(plan, client.remote)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xnatferry.pipeline import plan, recheck, verify_run, verify_source, with_digests
from xnatferry.planning.mapping import MappingRules
from xnatferry.planning.plan import OnConflict, Plan
from xnatferry.planning.selection import Selection
from xnatferry.results.operations import (
    PullPlan,
    PullResult,
    begin_run,
    copy,
    earlier_runs,
    find_run,
    plan_copy,
    plan_pull,
    plan_undo,
    pull,
    stats,
    undo,
)
from xnatferry.results.stats_table import StatsTable
from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Discovery, Finding, Severity
from xnatferry.transfer.engine import carry_out as push
from xnatferry.transfer.events import Proof, PushResult
from xnatferry.transfer.verify import verdicts_of as verify

if TYPE_CHECKING:
    import os

__all__ = [
    "Discovery",
    "Finding",
    "MappingRules",
    "OnConflict",
    "Plan",
    "Proof",
    "PullPlan",
    "PullResult",
    "PushResult",
    "Selection",
    "Severity",
    "StatsTable",
    "begin_run",
    "check",
    "copy",
    "discover",
    "earlier_runs",
    "find_run",
    "plan",
    "plan_copy",
    "plan_pull",
    "plan_undo",
    "pull",
    "push",
    "recheck",
    "stats",
    "undo",
    "verify",
    "verify_run",
    "verify_source",
    "with_digests",
]


def check(source: str | os.PathLike[str], *, workers: int | None = None) -> tuple[Finding, ...]:
    """All findings about the data at *source*, errors first. Uses no network.

    Args:
        source: As for `discover`.
        workers: How many files are read at the same time; None uses the number of processors.
    """
    order = (Severity.ERROR, Severity.WARNING)
    found = discover(source, workers=workers).all_findings
    return tuple(sorted(found, key=lambda one: order.index(one.severity) if one.severity in order else len(order)))
