"""Reads the tree below an address, in as few requests as the level allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.errors import NotFoundError
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xnatferry.client.remote import Remote
    from xnatferry.xnat.records import RemoteFile

__all__ = ["Node", "read_tree"]


@dataclass(frozen=True, slots=True)
class Node:
    """One object of a tree.

    Attributes:
        address: Where it is.
        depth: Steps below the address that was asked for.
        facts: What is worth showing beside its label.
        size_bytes: Bytes of a file, or of the files counted in it.
        files: Number of files in it; None where they were not counted.
    """

    address: Address
    depth: int
    facts: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    files: int | None = None


def read_tree(remote: Remote, address: Address | None) -> list[Node]:
    """The objects at and below *address*; the projects when it is None.

    A project shows its subjects and sessions, a session its scans, assessors and resources, a resource its files.

    Raises:
        NotFoundError: Nothing is there.
    """
    if address is None:
        return [
            Node(Address(row["ID"]), 0, _some(row, name="name", access="project_access"))
            for row in sorted(remote.list_projects(), key=lambda row: row["ID"])
        ]
    if not remote.project_exists(address.project):
        raise NotFoundError(f"{address.project}: no such project on {remote.connection.url}, or not for this account")
    below = {
        Level.PROJECT: _project,
        Level.SUBJECT: _project,
        Level.RESOURCE: _resource,
        Level.FILE: _resource,
    }.get(address.level, _session)
    return list(below(remote, address))


def _some(row: Mapping[str, str], **names: str) -> dict[str, str]:
    return {shown: row[name] for shown, name in names.items() if row.get(name)}


def _project(remote: Remote, address: Address) -> Iterator[Node]:
    project = address.project
    subjects = sorted(row["label"] for row in remote.list_subjects(project))
    sessions = remote.list_sessions(project)
    depth = 0
    if address.subject is None:
        yield Node(Address(project), 0)
        yield from _resources(remote, Address(project), 1)
        depth = 1
    elif address.subject not in subjects:
        raise NotFoundError(f"{address}: no such subject on {remote.connection.url}")
    for label in subjects if address.subject is None else [address.subject]:
        yield Node(Address(project, label), depth)
        if address.subject is not None:
            yield from _resources(remote, Address(project, label), depth + 1)
        for row in sorted((row for row in sessions if row.get("subject_label") == label), key=lambda row: row["label"]):
            facts = _some(row, type="xsiType", date="date")
            yield Node(Address(project, label, row["label"]), depth + 1, facts)


def _session(remote: Remote, address: Address) -> Iterator[Node]:
    session = Address(address.project, address.subject, address.session)
    known = {row["label"]: row for row in remote.list_sessions(address.project)}
    row = known.get(session.session or "")
    if row is None or row.get("subject_label", session.subject) != session.subject:
        raise NotFoundError(f"{session}: no such session on {remote.connection.url}")
    scans = sorted(remote.list_scans(session), key=lambda scan: _natural(scan["ID"]))
    if address.scan is not None:
        scans = [scan for scan in scans if scan["ID"] == address.scan]
        if not scans:
            raise NotFoundError(f"{address}: no such scan on {remote.connection.url}")
    depth = 0
    if address.level is Level.SESSION:
        yield Node(session, 0, _some(row, type="xsiType", date="date"))
        depth = 1
    held = _by_resource(remote.list_files(session, all_scans=True)) if scans else {}
    for scan in scans:
        here = Address(session.project, session.subject, session.session, scan["ID"])
        yield Node(here, depth, _some(scan, type="type", quality="quality"))
        yield from _counted(here, depth + 1, held)
    if address.level is Level.SESSION:
        for assessor in remote.list_assessors(session):
            here = Address(session.project, session.subject, session.session, assessor=assessor["label"])
            yield Node(here, 1, _some(assessor, type="xsiType"))
        yield from _resources(remote, session, 1)


def _resources(remote: Remote, container: Address, depth: int) -> Iterator[Node]:
    for row in remote.list_resources(container):
        label = row.get("label", "")
        if label:
            size, count = row.get("file_size", ""), row.get("file_count", "")
            yield Node(
                container.child(Level.RESOURCE, label),
                depth,
                _some(row, format="format", content="content"),
                int(size) if size.isdecimal() else 0,
                int(count) if count.isdecimal() else None,
            )


def _by_resource(files: list[RemoteFile]) -> dict[tuple[str | None, str], list[RemoteFile]]:
    found: dict[tuple[str | None, str], list[RemoteFile]] = {}
    for file in files:
        found.setdefault((file.scan, file.resource), []).append(file)
    return found


def _counted(container: Address, depth: int, held: Mapping[tuple[str | None, str], list[RemoteFile]]) -> Iterator[Node]:
    for (scan, resource), files in sorted(held.items(), key=lambda item: item[0][1]):
        if scan == container.scan:
            size = sum(file.size_bytes for file in files)
            yield Node(container.child(Level.RESOURCE, resource), depth, {}, size, len(files))


def _resource(remote: Remote, address: Address) -> Iterator[Node]:
    resource = address.child(Level.FILE, None)
    files = remote.list_files(resource)
    if address.file is not None:
        files = [file for file in files if file.name == address.file]
    if not files and not any(row.get("label") == address.resource for row in remote.list_resources(address.container)):
        raise NotFoundError(f"{address}: no such resource on {remote.connection.url}")
    if address.file is not None and not files:
        raise NotFoundError(f"{address}: no such file on {remote.connection.url}")
    yield Node(resource, 0, {}, sum(file.size_bytes for file in files), len(files))
    for file in sorted(files, key=lambda file: file.name):
        facts = {"digest": file.digest} if file.digest else {}
        yield Node(resource.child(Level.FILE, file.name), 1, facts, file.size_bytes)


def _natural(label: str) -> tuple[int, int, str]:
    return (0, int(label), label) if label.isdecimal() and label.isascii() else (1, 0, label)
