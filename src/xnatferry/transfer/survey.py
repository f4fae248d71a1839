"""Reads what a server holds of the sessions a push wants: two requests a project, two for each session that exists."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from xnatferry.planning.reconcile import HeldFile, RemoteSession, RemoteState
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xnatferry.planning.mapping import Wanted
    from xnatferry.transfer.destination import Destination
    from xnatferry.xnat.tables import Row

__all__ = ["survey"]

_SCAN_FIELDS = ("type", "quality", "note", "series_description")


def survey(
    destination: Destination, *, server: str, project: str, wanted: Iterable[Wanted], workers: int = 8
) -> RemoteState:
    """What *destination* holds of *project*, as far as *wanted* asks.

    Raises:
        RemoteError: The server cannot be asked.
    """
    if not destination.project_exists(project):
        return RemoteState(server, project_exists=False)
    subjects = destination.list_subjects(project)
    rows = {row["label"]: row for row in destination.list_sessions(project)}
    asked: dict[str, list[Wanted]] = {}
    for item in wanted:
        if item.session in rows:
            asked.setdefault(item.session, []).append(item)
    with ThreadPoolExecutor(workers) as pool:
        sessions = pool.map(lambda pair: _session(destination, project, rows[pair[0]], pair[1]), asked.items())
        held = dict(zip(asked, sessions, strict=True))
    return RemoteState(
        server,
        project_exists=True,
        subjects=frozenset(row["label"] for row in subjects),
        sessions={label: held.get(label) or _bare(row) for label, row in rows.items()},
    )


def _bare(row: Row) -> RemoteSession:
    return RemoteSession(row.get("subject_label", ""), row.get("xsiType", ""))


def _session(destination: Destination, project: str, row: Row, items: list[Wanted]) -> RemoteSession:
    subject = row.get("subject_label", "")
    address = Address(project, subject or items[0].subject, row["label"])
    files: dict[tuple[str | None, str, str], HeldFile] = {}
    scans: dict[str, dict[str, str]] = {}
    if any(item.on_scan for item in items):
        scans = {
            scan["ID"]: {field: scan[field] for field in _SCAN_FIELDS if field in scan}
            for scan in destination.list_scans(address)
        }
        for file in destination.list_files(address, all_scans=True) if scans else ():
            files[file.scan, file.resource, file.name] = HeldFile(file.size_bytes, file.digest)
    for resource in sorted({item.resource for item in items if not item.on_scan}):
        for file in destination.list_files(Address(project, address.subject, address.session, resource=resource)):
            files[None, resource, file.name] = HeldFile(file.size_bytes, file.digest)
    return RemoteSession(subject, row.get("xsiType", ""), scans, files)
