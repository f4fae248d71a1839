"""Reads what a server holds of the sessions a push wants: two requests a project, two for each session that exists."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.planning.reconcile import HeldFile, RemoteSession, RemoteState
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xnatferry.planning.mapping import Wanted
    from xnatferry.planning.plan import Plan
    from xnatferry.transfer.destination import Destination
    from xnatferry.xnat.tables import Row

__all__ = ["Asked", "asked_of", "asked_of_plan", "survey"]

_SCAN_FIELDS = ("type", "quality", "note", "series_description")


@dataclass(slots=True)
class Asked:
    """What a plan needs to know of one session: its scans, and some of its own resources."""

    scans: bool = False
    resources: set[str] = field(default_factory=set)


def asked_of(wanted: Iterable[Wanted]) -> dict[str, Asked]:
    """What to ask about each session label for a new plan."""
    asked: dict[str, Asked] = defaultdict(Asked)
    for item in wanted:
        if item.on_scan:
            asked[item.session].scans = True
        else:
            asked[item.session].resources.add(item.resource)
    return dict(asked)


def asked_of_plan(plan: Plan) -> dict[str, Asked]:
    """What to ask about each session label to see whether a stored plan still holds."""
    asked: dict[str, Asked] = defaultdict(Asked)
    for step in plan.steps:
        address = step.address
        if address.session is not None and address.level is Level.RESOURCE:
            if address.scan is not None:
                asked[address.session].scans = True
            else:
                asked[address.session].resources.add(address.resource or "")
    return dict(asked)


def survey(
    destination: Destination, *, server: str, project: str, asked: Mapping[str, Asked], workers: int = 8
) -> RemoteState:
    """What *destination* holds of *project*, as far as it is asked: two requests, and two or more a session.

    Args:
        destination: The server.
        server: Its address, for people.
        project: Project ID.
        asked: What to look for, by session label; sessions that do not exist cost nothing.
        workers: How many sessions are asked about at the same time.

    Raises:
        RemoteError: The server cannot be asked.
    """
    if not destination.project_exists(project):
        return RemoteState(server, project_exists=False)
    subjects = destination.list_subjects(project)
    rows = {row["label"]: row for row in destination.list_sessions(project)}
    there = [label for label in asked if label in rows]
    with ThreadPoolExecutor(workers) as pool:
        sessions = pool.map(lambda label: _session(destination, project, rows[label], asked[label]), there)
        held = dict(zip(there, sessions, strict=True))
    return RemoteState(
        server,
        project_exists=True,
        subjects=frozenset(row["label"] for row in subjects),
        sessions={label: held.get(label) or _bare(row) for label, row in rows.items()},
    )


def _bare(row: Row) -> RemoteSession:
    return RemoteSession(row.get("subject_label", ""), row.get("xsiType", ""))


def _session(destination: Destination, project: str, row: Row, asked: Asked) -> RemoteSession:
    subject = row.get("subject_label", "")
    # A session whose subject is not listed can still be asked for by its label alone.
    address = Address(project, subject or "-", row["label"])
    files: dict[tuple[str | None, str, str], HeldFile] = {}
    scans: dict[str, dict[str, str]] = {}
    if asked.scans:
        scans = {
            scan["ID"]: {field: scan[field] for field in _SCAN_FIELDS if field in scan}
            for scan in destination.list_scans(address)
        }
        for file in destination.list_files(address, all_scans=True) if scans else ():
            files[file.scan, file.resource, file.name] = HeldFile(file.size_bytes, file.digest)
    for resource in sorted(asked.resources):
        for file in destination.list_files(address.child(Level.RESOURCE, resource)):
            files[None, resource, file.name] = HeldFile(file.size_bytes, file.digest)
    return RemoteSession(subject, row.get("xsiType", ""), scans, files)
