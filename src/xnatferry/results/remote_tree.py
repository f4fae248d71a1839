"""Reads the tree below an address, with few requests."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from xnatferry.errors import NotFoundError
from xnatferry.results.remote_files import session_files
from xnatferry.wording import counted
from xnatferry.xnat.custom_fields import custom_name
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from xnatferry.client.remote import Remote
    from xnatferry.xnat.records import RemoteFile
    from xnatferry.xnat.result_set import Row

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

    A project shows its subjects and sessions in four requests, a session its scans, assessors and resources in six, a
    resource its files.

    Args:
        remote: The server.
        address: The root of the tree.
        depth: Levels below it; None for the defaults above. Levels below sessions take three requests per session.
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


def with_custom_fields(remote: Remote, nodes: Sequence[Node], *, workers: int = 8) -> list[Node]:
    """The same tree with the custom fields of subjects, sessions and scans, at one request a subject and session."""
    asked = [node.address for node in nodes if node.address.level in {Level.SUBJECT, Level.SESSION}]
    fields: dict[Address, Mapping[str, str]] = {}
    for address, held in zip(asked, thread_map(remote.attributes, asked, workers=workers), strict=True):
        if held is not None:
            fields[address] = held.fields
            fields |= {address.child(Level.SCAN, scan): found.fields for scan, found in held.scans.items()}
    return [replace(node, attributes={**node.attributes, **_custom(fields.get(node.address, {}))}) for node in nodes]


def _custom(fields: Mapping[str, str]) -> dict[str, str]:
    named = ((custom_name(path), value) for path, value in fields.items())
    return {name: f"{name}={value}" for name, value in named if name is not None}


def _about(row: Row, project: str) -> dict[str, str]:
    """The attributes of a session that are shown; of a shared one also its project."""
    shared = {} if row["project"] == project else {"shared": f"shared from {row['project']}"}
    return _some(row, type="xsiType", date="date") | shared


def _some(row: Mapping[str, str], **names: str) -> dict[str, str]:
    return _given({shown: row.get(name, "") for shown, name in names.items()})


def _given(said: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in said.items() if value}


def _project(remote: Remote, address: Address, levels: int, *, counted: bool | None, workers: int) -> list[Node]:
    listed = remote.read_project(address.project)
    rows: dict[str, list[Row]] = {label: [] for label in sorted(listed.subject_labels)}
    for row in sorted(listed.sessions, key=lambda row: (row["subject_label"], row["label"])):
        rows.setdefault(row["subject_label"], []).append(row)
    if address.subject is not None:
        if address.subject not in rows:
            raise NotFoundError(f"{address}: subject not found on {remote.connection.url}")
        rows = {address.subject: rows[address.subject]}
    wanted = [(Address(address.project, label), of_subject) for label, of_subject in rows.items()]
    if counted is None:
        counted = len(wanted) + sum(len(sessions) for _, sessions in wanted) <= CHEAP
    opened = levels - (2 if address.subject is None else 1)
    counted = counted or opened > 0
    with ThreadPoolExecutor(workers) as pool:
        here = listed.subject_labels if counted or address.subject is not None else frozenset()
        own = pool.map(lambda one: [*_resources(remote, one[0], 0)] if one[0].subject in here else [], wanted)
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


def _session(remote: Remote, subject: Address, row: Row, levels: int, *, counted: bool) -> list[Node]:
    """A session of a listing, with *levels* below it."""
    session, attributes = subject.child(Level.SESSION, row["label"]), _about(row, subject.project)
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
    listed = remote.read_project(address.project, details={session.session or ""})
    row = next((one for one in listed.sessions_of(session.subject) if one["label"] == session.session), None)
    if row is None:
        raise NotFoundError(f"{session}: session not found on {remote.connection.url}")
    if address.level is Level.SESSION:
        return _opened(remote, session, _about(row, address.project), levels)
    inside = _opened(remote, session, {}, levels + 1, only=address)
    if not inside[1:]:
        raise NotFoundError(f"{address}: {address.level} not found on {remote.connection.url}")
    return [replace(node, depth=node.depth - 1) for node in inside[1:]]


def _opened(
    remote: Remote, session: Address, attributes: Mapping[str, str], levels: int, *, only: Address | None = None
) -> list[Node]:
    """A session with its scans, assessors and resources, and their files if more than two levels are requested."""
    known = remote.attributes(session)
    if known is None:
        raise NotFoundError(f"{session}: session not found on {remote.connection.url}")
    rows = remote.list_resources(session, all_scans=True)
    labels = {found.id: label for label, found in known.assessors.items()}
    held: dict[Address, list[RemoteFile]] = {}
    about: dict[Address, Mapping[str, str]] = {}
    for row in rows:
        if (owner := _owner(session, row, labels)) is not None:
            resource = owner.child(Level.RESOURCE, row["label"])
            held[resource] = []
            about[resource] = {} if owner.scan else _some(row, format="format", content="content")
    listed = session_files(remote, session, known)
    for one in listed.files:
        held.setdefault(one.address.child(Level.FILE, None), []).append(one.file)
    inside = _Inside(held, about, files=levels > 2)
    below: list[Node] = []
    for scan in sorted(known.scans, key=_natural):
        said = {name: known.scans[scan].fields.get(name, "") for name in ("type", "quality")}
        here = session.child(Level.SCAN, scan)
        below += _above(here, inside.of(here), counted=True, attributes=_given(said))
    for label, assessor in known.assessors.items():
        here = session.child(Level.ASSESSOR, label)
        below += _above(here, inside.of(here), counted=True, attributes={"type": assessor.xsi_type})
    below += inside.of(session)
    if only is not None:
        below = [node for node in below if node.address == only or only.holds(node.address)]
    if listed.unplaced:
        attributes = {**attributes, "unplaced": f"{counted(len(listed.unplaced), 'file')} without an address"}
    first, *others = _above(session, below, counted=True, attributes=attributes)
    sizes = [row["file_size"] for row in rows if _owner(session, row, labels) is None]
    extra = sum(int(size) for size in sizes if size.isdecimal())
    first = replace(first, files=(first.files or 0) + len(listed.unplaced), size_bytes=first.size_bytes + extra)
    return [first, *others]


def _owner(session: Address, row: Row, labels: Mapping[str, str]) -> Address | None:
    """The object that contains a listed resource of a session; None if the resource has no address."""
    match row["category"]:
        case "scans":
            return session.child(Level.SCAN, row["cat_id"])
        case "assessors":
            return session.child(Level.ASSESSOR, labels.get(row["cat_id"], row["cat_id"]))
        case "resources" | "":
            return session
    return None


@dataclass(frozen=True, slots=True)
class _Inside:
    """The resources in a session, with their files."""

    held: Mapping[Address, list[RemoteFile]]
    about: Mapping[Address, Mapping[str, str]]
    files: bool = field(kw_only=True)

    def of(self, container: Address) -> list[Node]:
        """Nodes of the resources of one object."""
        nodes: list[Node] = []
        for resource in sorted(one for one in self.held if one.container == container):
            inside = self.held[resource]
            size = sum(file.size_bytes for file in inside)
            nodes.append(Node(resource, 0, self.about.get(resource, {}), size, len(inside)))
            if self.files:
                nodes += _files(resource, inside, 1)
        return nodes


def _resources(remote: Remote, container: Address, depth: int) -> Iterator[Node]:
    for row in remote.list_resources(container):
        here = container.child(Level.RESOURCE, row["label"])
        about = _some(row, format="format", content="content")
        size, count = row["file_size"], row["file_count"]
        if not (size.isdecimal() and count.isdecimal()):  # 1.6.4 lists no counts
            files = remote.list_files(here)
            size, count = str(sum(file.size_bytes for file in files)), str(len(files))
        yield Node(here, depth, about, int(size), int(count))


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
