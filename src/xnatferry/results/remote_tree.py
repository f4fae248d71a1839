"""Reads the tree below an address, with few requests."""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from xnatferry.errors import NotFoundError
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from xnatferry.client.remote import Remote
    from xnatferry.xnat.records import RemoteFile
    from xnatferry.xnat.result_set import Row

__all__ = ["CHEAP", "Node", "read_tree"]

#: Subjects and sessions of a project up to which their files are counted, at one request each.
CHEAP: Final = 200
#: Levels below an address that are shown by default.
_USUAL: Final = {Level.PROJECT: 2, Level.SUBJECT: 1, Level.SESSION: 2}


@dataclass(frozen=True, slots=True)
class Node:
    """One object of a tree.

    Attributes:
        address: Where it is.
        depth: Levels below the requested address.
        attributes: What is shown beside its label.
        size_bytes: Bytes of a file, or of the files counted at and below it.
        files: Number of files at and below it; None if not counted.
    """

    address: Address
    depth: int
    attributes: Mapping[str, str] = field(default_factory=dict)
    size_bytes: int = 0
    files: int | None = None


def read_tree(
    remote: Remote, address: Address | None, *, depth: int | None = None, counted: bool | None = False, workers: int = 8
) -> list[Node]:
    """The objects at and below *address*; the projects when it is None.

    A project shows its subjects and sessions in four requests, a session its scans, assessors and resources in five, a
    resource its files.

    Args:
        remote: The server.
        address: The root of the tree.
        depth: Levels below it; None for the defaults above. Levels below sessions take five requests per session.
        counted: Whether the files of subjects and sessions are counted, with one request each; None counts up to
            `CHEAP` objects. Files of sessions that are shown with their content are always counted.
        workers: How many objects are read at the same time.

    Raises:
        NotFoundError: *address* does not exist.
    """
    if address is None:
        rows = sorted(remote.list_projects(), key=lambda row: row["ID"])
        if not depth:
            return [Node(Address(row["ID"]), 0, _some(row, name="name", access="project_access")) for row in rows]
        return [
            replace(node, attributes=_some(row, name="name", access="project_access")) if node.depth == 0 else node
            for row in rows
            for node in read_tree(remote, Address(row["ID"]), depth=depth, counted=counted, workers=workers)
        ]
    if not remote.project_exists(address.project):
        raise NotFoundError(
            f"{address.project}: project not found on {remote.connection.url}, or not visible for this account"
        )
    levels = _USUAL.get(address.level, 1) if depth is None else depth
    if address.level in {Level.PROJECT, Level.SUBJECT}:
        nodes = _project(remote, address, levels, counted=counted, workers=workers)
    elif address.level in {Level.RESOURCE, Level.FILE}:
        nodes = list(_resource(remote, address))
    else:
        nodes = _part(remote, address, levels)
    return [node for node in nodes if node.depth <= levels]


def _some(row: Mapping[str, str], **names: str) -> dict[str, str]:
    return {shown: row[name] for shown, name in names.items() if row.get(name)}


def _project(remote: Remote, address: Address, levels: int, *, counted: bool | None, workers: int) -> list[Node]:
    subjects = sorted(row["label"] for row in remote.list_subjects(address.project))
    if address.subject is not None:
        if address.subject not in subjects:
            raise NotFoundError(f"{address}: subject not found on {remote.connection.url}")
        subjects = [address.subject]
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in sorted(remote.list_sessions(address.project), key=lambda row: row["label"]):
        rows[row.get("subject_label", "")].append(row)
    wanted = [(Address(address.project, label), rows[label]) for label in subjects]
    if counted is None:
        counted = len(wanted) + sum(len(sessions) for _, sessions in wanted) <= CHEAP
    opened = levels - (2 if address.subject is None else 1)
    counted = counted or opened > 0
    with ThreadPoolExecutor(workers) as pool:
        own = pool.map(lambda one: _own(remote, one[0], read=counted or address.subject is not None), wanted)
        below = [
            [pool.submit(_session, remote, subject, row, opened, counted=counted) for row in sessions]
            for subject, sessions in wanted
        ]
        branches = [
            _above(subject, (*resources, *(node for future in futures for node in future.result())), counted=counted)
            for (subject, _), resources, futures in zip(wanted, own, below, strict=True)
        ]
    inner = [node for branch in branches for node in branch]
    if address.subject is not None:
        return inner
    return _above(Address(address.project), (*_resources(remote, Address(address.project), 0), *inner), counted=counted)


def _own(remote: Remote, subject: Address, *, read: bool) -> list[Node]:
    return list(_resources(remote, subject, 0)) if read else []


def _session(remote: Remote, subject: Address, row: Row, levels: int, *, counted: bool) -> list[Node]:
    """A session of a listing, with *levels* below it."""
    session, attributes = subject.child(Level.SESSION, row["label"]), _some(row, type="xsiType", date="date")
    if levels > 0:
        return _opened(remote, session, attributes, levels)
    if not counted:
        return [Node(session, 0, attributes)]
    held = remote.list_resources(session, all_scans=True)
    sizes, counts = [one.get("file_size", "") for one in held], [one.get("file_count", "") for one in held]
    if not all(text.isdecimal() for text in (*sizes, *counts)):
        return [Node(session, 0, attributes)]  # 1.6.4 lists no counts
    return [Node(session, 0, attributes, sum(map(int, sizes)), sum(map(int, counts)))]


def _above(
    address: Address, below: Sequence[Node], *, counted: bool, attributes: Mapping[str, str] | None = None
) -> list[Node]:
    """*address* with the nodes below it, one level deeper, and the sum of the files if all were counted."""
    direct = [node for node in below if node.depth == 0]
    known = counted and all(node.files is not None for node in direct)
    files, size = sum(node.files or 0 for node in direct), sum(node.size_bytes for node in direct)
    first = Node(address, 0, attributes or {}, size, files) if known else Node(address, 0, attributes or {})
    return [first, *(replace(node, depth=node.depth + 1) for node in below)]


def _part(remote: Remote, address: Address, levels: int) -> list[Node]:
    """A session, or one scan or assessor of it."""
    session = Address(address.project, address.subject, address.session)
    known = {row["label"]: row for row in remote.list_sessions(address.project)}
    row = known.get(session.session or "")
    if row is None or row.get("subject_label", session.subject) != session.subject:
        raise NotFoundError(f"{session}: session not found on {remote.connection.url}")
    if address.level is Level.SESSION:
        return _opened(remote, session, _some(row, type="xsiType", date="date"), levels)
    inside = _opened(remote, session, {}, levels + 1, only=address)
    if not inside[1:]:
        raise NotFoundError(f"{address}: {address.level} not found on {remote.connection.url}")
    return [replace(node, depth=node.depth - 1) for node in inside[1:]]


def _opened(
    remote: Remote, session: Address, attributes: Mapping[str, str], levels: int, *, only: Address | None = None
) -> list[Node]:
    """A session with its scans, assessors and resources, and their files if more than two levels are requested."""
    below: list[Node] = []
    files = levels > 2
    scans = (
        sorted(remote.list_scans(session), key=lambda scan: _natural(scan["ID"])) if _takes(only, Level.SCAN) else []
    )
    held = _by_resource(remote.list_files(session, all_scans=True)) if scans else {}
    for scan in scans:
        here = session.child(Level.SCAN, scan["ID"])
        if only in {None, here}:
            about = _some(scan, type="type", quality="quality")
            below += _above(here, list(_counted(here, held, files=files)), counted=True, attributes=about)
    for assessor in remote.list_assessors(session) if _takes(only, Level.ASSESSOR) else []:
        here = session.child(Level.ASSESSOR, assessor["label"])
        if only in {None, here}:
            inner = list(_resources(remote, here, 0, files=files))
            below += _above(here, inner, counted=True, attributes=_some(assessor, type="xsiType"))
    if only is None:
        below += _resources(remote, session, 0, files=files)
    return _above(session, below, counted=True, attributes=attributes)


def _takes(only: Address | None, level: Level) -> bool:
    return only is None or only.level is level


def _resources(remote: Remote, container: Address, depth: int, *, files: bool = False) -> Iterator[Node]:
    for row in remote.list_resources(container):
        label = row.get("label", "")
        if label:
            here = container.child(Level.RESOURCE, label)
            size, count = row.get("file_size", ""), row.get("file_count", "")
            yield Node(
                here,
                depth,
                _some(row, format="format", content="content"),
                int(size) if size.isdecimal() else 0,
                int(count) if count.isdecimal() else None,
            )
            if files:
                yield from _files(here, remote.list_files(here), depth + 1)


def _by_resource(files: Iterable[RemoteFile]) -> dict[tuple[str | None, str], list[RemoteFile]]:
    found: dict[tuple[str | None, str], list[RemoteFile]] = {}
    for file in files:
        found.setdefault((file.scan, file.resource), []).append(file)
    return found


def _counted(
    container: Address, held: Mapping[tuple[str | None, str], list[RemoteFile]], *, files: bool
) -> Iterator[Node]:
    for (scan, resource), inside in sorted(held.items(), key=lambda item: item[0][1]):
        if scan == container.scan:
            here = container.child(Level.RESOURCE, resource)
            yield Node(here, 0, {}, sum(file.size_bytes for file in inside), len(inside))
            if files:
                yield from _files(here, inside, 1)


def _files(resource: Address, files: Iterable[RemoteFile], depth: int) -> Iterator[Node]:
    for file in sorted(files, key=lambda file: file.name):
        attributes = {"digest": file.digest} if file.digest else {}
        yield Node(resource.child(Level.FILE, file.name), depth, attributes, file.size_bytes)


def _resource(remote: Remote, address: Address) -> Iterator[Node]:
    resource = address.child(Level.FILE, None)
    files = remote.list_files(resource)
    if address.file is not None:
        files = [file for file in files if file.name == address.file]
    if not files and not any(row.get("label") == address.resource for row in remote.list_resources(address.container)):
        raise NotFoundError(f"{address}: resource not found on {remote.connection.url}")
    if address.file is not None and not files:
        raise NotFoundError(f"{address}: file not found on {remote.connection.url}")
    yield Node(resource, 0, {}, sum(file.size_bytes for file in files), len(files))
    yield from _files(resource, files, 1)


def _natural(label: str) -> tuple[int, int, str]:
    return (0, int(label), label) if label.isdecimal() and label.isascii() else (1, 0, label)
