"""Reads a project, subject or session of a server: objects with attributes, resources, files."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xnatferry.errors import NotFoundError, UsageError
from xnatferry.results.remote_files import own_files, session_files, sessions_below
from xnatferry.transfer.digest_ladder import DigestLadder
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from xnatferry.client.remote import Remote
    from xnatferry.planning.plan import Refusal
    from xnatferry.results.remote_files import FileAt
    from xnatferry.xnat.records import Attributes, RemoteFile

_LEVELS = {Level.PROJECT, Level.SUBJECT, Level.SESSION}


@dataclass(slots=True)
class Contents:
    """Objects, resources and files of a server.

    Attributes:
        server: Address of the server.
        objects: Projects, subjects, sessions, scans and assessors, with their attributes.
        resources: Format, content and tags of each resource.
        files: The rows of the listings.
        doubled: Files that are listed more than once.
        subjects: Subject of each session of the project.
        unplaced: Files without an address.
    """

    server: str
    objects: dict[Address, Attributes] = field(default_factory=dict)
    resources: dict[Address, Mapping[str, str]] = field(default_factory=dict)
    files: dict[Address, RemoteFile] = field(default_factory=dict)
    doubled: set[Address] = field(default_factory=set)
    subjects: dict[str, str] = field(default_factory=dict)
    unplaced: tuple[Refusal, ...] = ()

    def add(self, other: Contents) -> None:
        """Add the contents of another object."""
        self.objects |= other.objects
        self.resources |= other.resources
        self.doubled |= other.doubled | (self.files.keys() & other.files.keys())
        self.files |= other.files
        self.unplaced += other.unplaced

    def in_project(self, project: str) -> Contents:
        """The same under another project ID."""

        def moved(address: Address) -> Address:
            return replace(address, project=project)

        return Contents(
            self.server,
            {moved(address): attributes for address, attributes in self.objects.items()},
            {moved(address): fields for address, fields in self.resources.items()},
            {moved(address): file for address, file in self.files.items()},
            {moved(address) for address in self.doubled},
            self.subjects,
            self.unplaced,
        )


def read_contents(remote: Remote, address: Address, *, workers: int = 8) -> Contents:
    """Everything at and below *address*, and the attributes of the subject of a session.

    Two or three requests per object, and one or two more per assessor.

    Raises:
        UsageError: *address* is not a project, subject or session.
        NotFoundError: It does not exist.
    """
    if address.level not in _LEVELS:
        raise UsageError(f"{address} is a {address.level}; only a project, subject or session can be copied")
    if not remote.project_exists(address.project):
        raise NotFoundError(
            f"{address.project}: project not found on {remote.connection.url}, or not visible for this account"
        )
    above, sessions = sessions_below(remote, Address(address.project, address.subject))
    found = Contents(remote.connection.url)
    if address.session is not None:
        sessions = [session for session in sessions if session == address]
        if not sessions:
            raise NotFoundError(f"{address}: session not found on {remote.connection.url}")
        for one in above:
            _describe(remote, one, found)
        above = []
    return _read(remote, above, sessions, found, workers)


def read_same(remote: Remote, wanted: Contents, project: str, *, workers: int = 8) -> Contents:
    """The objects of *wanted* in *project* on another server; empty when the project does not exist.

    A session is read with the subject that it has there, see `Contents.subjects`.
    """
    found = Contents(remote.connection.url)
    if not remote.project_exists(project):
        return found
    listed = remote.read_project(project, details=())
    subjects = listed.subject_labels
    found.subjects = {row["label"]: row["subject_label"] for row in listed.sessions}
    above = [Address(project)] if Address(project) in wanted.objects else []
    above += [a for a in wanted.objects if a.level is Level.SUBJECT and a.subject in subjects]
    sessions = [
        address
        for address in wanted.objects
        if address.level is Level.SESSION and found.subjects.get(address.session or "") == address.subject
    ]
    if not above or above[0] != Address(project):
        _describe(remote, Address(project), found)
    return _read(remote, above, sessions, found, workers)


def add_digests(contents: Contents, other: Contents, remote: Remote, project: str, *, compute: bool = True) -> None:
    """Find digests that are not in listings, of files that *other* has with the same size.

    Args:
        contents: Files of *remote*; changed in place.
        other: Files of another server.
        remote: The server.
        project: ID that the project of *contents* has on it.
        compute: Whether it may compute digests, which changes its catalogs.
    """
    alike = {
        replace(address, project=project): address
        for address, file in contents.files.items()
        if file.digest is None and (twin := other.files.get(address)) and twin.size_bytes == file.size_bytes
    }
    sizes = {there: contents.files[address].size_bytes for there, address in alike.items()}
    for there, digest in DigestLadder(remote).digests(sizes, compute=compute).items():
        contents.files[alike[there]] = replace(contents.files[alike[there]], digest=digest)


def _read(
    remote: Remote, above: Sequence[Address], sessions: Sequence[Address], found: Contents, workers: int
) -> Contents:
    work: list[Callable[[], Contents]] = [lambda one=one: _container(remote, one) for one in above]  # type: ignore[misc]
    work += [lambda one=one: _session(remote, one) for one in sessions]  # type: ignore[misc]
    for part in thread_map(lambda act: act(), work, workers=workers):
        found.add(part)
    return found


def _describe(remote: Remote, address: Address, found: Contents) -> None:
    attributes = remote.attributes(address)
    if attributes is not None:
        found.objects[address] = attributes


def _container(remote: Remote, address: Address) -> Contents:
    """A project or subject with its own resources."""
    found = Contents(remote.connection.url)
    _describe(remote, address, found)
    _own(remote, address, found)
    return found


def _own(remote: Remote, container: Address, found: Contents) -> None:
    rows = remote.list_resources(container)
    for row in rows:
        found.resources[container.child(Level.RESOURCE, row["label"])] = _resource_fields(row)
    if rows:
        _note(found, own_files(remote, container))


def _session(remote: Remote, session: Address) -> Contents:
    found = Contents(remote.connection.url)
    attributes = remote.attributes(session)
    if attributes is None:
        return found
    found.objects[session] = replace(attributes, scans={}, assessors={})
    for scan, of_scan in attributes.scans.items():
        found.objects[session.child(Level.SCAN, scan)] = of_scan
    for row in remote.list_resources(session, all_scans=True):
        owner = row["cat_id"] if row["category"] == "scans" else None
        if row["category"] in {"scans", "resources", ""}:
            container = session.child(Level.SCAN, owner)
            found.resources[container.child(Level.RESOURCE, row["label"])] = _resource_fields(row)
    for label, of_assessor in attributes.assessors.items():
        assessor = session.child(Level.ASSESSOR, label)
        found.objects[assessor] = of_assessor
        for row in remote.list_resources(assessor):
            found.resources[assessor.child(Level.RESOURCE, row["label"])] = _resource_fields(row)
    # Also files of resources that the listing of resources leaves out.
    held = session_files(remote, session, attributes)
    _note(found, held.files)
    found.unplaced = held.unplaced
    return found


def _note(found: Contents, files: Iterable[FileAt]) -> None:
    for one in files:
        if one.address in found.files:
            found.doubled.add(one.address)
        found.files[one.address] = one.file
        found.resources.setdefault(one.address.child(Level.FILE, None), {})


def _resource_fields(row: Mapping[str, str]) -> dict[str, str]:
    return {word: row[word] for word in ("format", "content", "tags") if row.get(word)}
