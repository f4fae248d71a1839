"""Reads the objects and files of a server that a plan compares.

Two requests per project, two per existing session, one per resource of a project, subject or session. If listings have
no digests, one or two more per resource with a file of a requested size.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from sys import intern
from typing import TYPE_CHECKING

from xnatferry.planning.plan import Decision
from xnatferry.planning.remote_state import HeldFile, RemoteSession, RemoteState
from xnatferry.planning.session_labels import labels_by_type
from xnatferry.planning.session_matching import KnownSession
from xnatferry.transfer.digest_ladder import REPLACED, DigestLadder
from xnatferry.xnat.interning import interned
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xnatferry.planning.placement import Placement
    from xnatferry.planning.plan import Plan
    from xnatferry.transfer.destination import Destination
    from xnatferry.xnat.result_set import Row

_SCAN_FIELDS = ("type", "quality", "note", "series_description")
#: More resources of one object than this are listed together.
_TOGETHER_FROM = 3


@dataclass(slots=True)
class SessionQuery:
    """What a plan needs of one session: its scans, and some resources of scans, session and assessors."""

    scans: bool = False
    scan_resources: set[str] = field(default_factory=set)
    resources: set[str] = field(default_factory=set)
    assessors: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


@dataclass(slots=True)
class RemoteQuery:
    """What a plan needs of a project.

    Attributes:
        sessions: By session label.
        own: Resources of subjects by subject label, and of the project under None.
        subjects: Subjects whose fields are needed.
        all_fields: Whether to ask for all fields, one more request for each subject and session.
        sizes: Sizes in bytes of the files to compare; None if they are not known beforehand.
    """

    sessions: dict[str, SessionQuery] = field(default_factory=lambda: defaultdict(SessionQuery))
    own: dict[str | None, set[str]] = field(default_factory=lambda: defaultdict(set))
    subjects: set[str] = field(default_factory=set)
    all_fields: bool = False
    sizes: set[int] | None = field(default_factory=set)

    def add(
        self, subject: str | None, session: str | None, resource: str, *, on_scan: bool, assessor: str | None = None
    ) -> None:
        """Request one resource."""
        if not session:
            self.own[subject or None].add(resource)
        elif assessor:
            self.sessions[session].assessors[assessor].add(resource)
        elif on_scan:
            self.sessions[session].scans = True
            self.sessions[session].scan_resources.add(resource)
        else:
            self.sessions[session].resources.add(resource)


def query_of(placements: Iterable[Placement], *, all_fields: bool = False, gzip: bool = False) -> RemoteQuery:
    """The query of a new plan; *all_fields* for one that changes fields, *gzip* for one that compresses files."""
    query = RemoteQuery(all_fields=all_fields)
    if gzip:
        query.sizes = None
    for item in placements:
        if query.sizes is not None:
            query.sizes.update(file.size_bytes for file in item.source.files)
        if item.subject_fields:
            query.subjects.add(item.subject)
        labels = {item.session, *(labels_by_type(item.subject) if item.by_type else ())}
        for label in labels:
            query.add(item.subject, label, item.resource, on_scan=item.on_scan, assessor=item.assessor)
    return query


def query_of_plan(plan: Plan) -> RemoteQuery:
    """The query to check that a stored plan is still valid."""
    changing = {step.address for step in plan.steps if step.changes and step.decision is Decision.UPDATE}
    query = RemoteQuery(all_fields=bool(changing))
    query.subjects |= {address.subject or "" for address in changing if address.level is Level.SUBJECT}
    gzip = any(step.payload is not None and step.payload.gzip for step in plan.steps)
    query.sizes = None if gzip else {step.size_bytes for step in plan.steps if step.payload is not None}
    for step in plan.steps:
        address = step.address
        if address in changing and address.session is not None:
            query.sessions[address.session].scans |= address.scan is not None
        if address.level is Level.RESOURCE:
            on_scan = address.scan is not None
            query.add(
                address.subject, address.session, address.resource or "", on_scan=on_scan, assessor=address.assessor
            )
    return query


def fetch_remote_state(
    destination: Destination, *, server: str, project: str, query: RemoteQuery, workers: int = 8
) -> RemoteState:
    """The state of *project* on *destination*, as far as the *query* needs it.

    Args:
        destination: The server.
        server: Its address, for messages.
        project: Project ID.
        query: What to read; sessions and subjects that do not exist need no request.
        workers: How many objects are asked about at the same time.

    Raises:
        RemoteError: The server cannot be read.
    """
    if not destination.project_exists(project):
        return RemoteState(server, project_exists=False)
    listed = destination.read_project(project, details=query.sessions)
    subjects = listed.subject_labels
    sessions = {row["label"]: _bare(row) for row in listed.sessions}
    there = [label for label in query.sessions if label in sessions]
    owners = [subject for subject in query.own if subject is None or subject in subjects]
    described = sorted(query.subjects & subjects) if query.all_fields else []
    held_by = _Holdings(destination, query.sizes)
    read = partial(_session, held_by, project, all_fields=query.all_fields)
    held = thread_map(lambda label: read(label, sessions[label], query.sessions[label]), there, workers=workers)
    sessions.update(zip(there, held, strict=True))
    attributes = thread_map(
        lambda subject: destination.attributes(Address(project, subject)), described, workers=workers
    )
    fields = {label: one.fields for label, one in zip(described, attributes, strict=True) if one is not None}
    own = thread_map(lambda who: held_by.own(Address(project, who), query.own[who]), owners, workers=workers)
    files: dict[tuple[str | None, str], dict[str, HeldFile]] = defaultdict(dict)
    for subject, of_subject in zip(owners, own, strict=True):
        for (resource, name), file in of_subject.items():
            files[subject, resource][name] = file
    return RemoteState(
        server,
        project_exists=True,
        subjects=subjects,
        sessions=sessions,
        own_files=files,
        subject_fields=fields,
        all_fields=query.all_fields,
    )


def project_sessions(destination: Destination, project: str) -> tuple[list[KnownSession], frozenset[str]]:
    """Sessions and subject labels of a project; none when it does not exist.

    Raises:
        RemoteError: The server cannot be read.
    """
    if not destination.project_exists(project):
        return [], frozenset()
    listed = destination.read_project(project)
    sessions = [
        KnownSession(row["subject_label"], row["label"], row["xsiType"], row["date"]) for row in listed.sessions
    ]
    return sessions, listed.subject_labels


def _bare(row: Row) -> RemoteSession:
    return RemoteSession(row["subject_label"], intern(row["xsiType"]))


class _Holdings:
    """Reads files with digests, and remembers what the server does not offer.

    Args:
        destination: The server.
        sizes: Sizes in bytes of files whose digest is needed; None for all.
    """

    def __init__(self, destination: Destination, sizes: set[int] | None) -> None:
        self.destination = destination
        self._ladder = DigestLadder(destination)
        self._sizes = sizes

    def own(self, container: Address, resources: set[str]) -> dict[tuple[str, str], HeldFile]:
        """Files of some resources of one object, by resource and name."""
        query = [container] if len(resources) >= _TOGETHER_FROM else []
        query = query or [container.child(Level.RESOURCE, resource) for resource in sorted(resources)]
        held = {a: file for address in query for a, file in self._ladder.listed(address).items()}
        held = {address: file for address, file in held.items() if address.resource in resources}
        self._compare(held, resources)
        return {(intern(a.resource or ""), intern(a.file or "")): file for a, file in held.items()}

    def of_scans(self, session: Address, resources: set[str]) -> dict[tuple[str | None, str, str], HeldFile]:
        """All files of the scans of a session, by scan, resource and name; digests of some resources."""
        held = self._ladder.listed(session, all_scans=True)
        self._compare(held, resources)
        return {
            (a.scan and intern(a.scan), intern(a.resource or ""), intern(a.file or "")): file
            for a, file in held.items()
        }

    def _compare(self, held: dict[Address, HeldFile], resources: set[str]) -> None:
        """Find digests of files that may be equal to local ones.

        A replaced file is downloaded if the server keeps the digest of the old bytes.
        """
        wanted = [
            address
            for address, file in held.items()
            if file.digest is None
            and address.resource in resources
            and (self._sizes is None or file.size_bytes in self._sizes)
        ]
        self._ladder.climb(held, wanted, fetch={REPLACED})


def _session(
    held_by: _Holdings,
    project: str,
    label: str,
    bare: RemoteSession,
    query: SessionQuery,
    *,
    all_fields: bool,
) -> RemoteSession:
    address, destination = Address(project, bare.subject, label), held_by.destination
    files: dict[tuple[str | None, str, str], HeldFile] = {}
    scans: dict[str, dict[str, str]] = {}
    if query.scans:
        scans = {
            scan["ID"]: {field: scan[field] for field in _SCAN_FIELDS if field in scan}
            for scan in destination.list_scans(address)
        }
        if scans:
            files |= held_by.of_scans(address, query.scan_resources)
    for (resource, name), held in held_by.own(address, query.resources).items():
        files[None, resource, name] = held
    assessors = _assessors(held_by, address, query.assessors) if query.assessors else {}
    attributes = destination.attributes(address) if all_fields else None
    if attributes is not None:
        for scan_id, scan in attributes.scans.items():
            if scan_id in scans:
                scans[scan_id] |= scan.fields
    fields = attributes.fields if attributes is not None else {}
    kept = {intern(scan_id): interned(scan_fields) for scan_id, scan_fields in scans.items()}
    return replace(bare, scans=kept, files=files, fields=fields, assessors=assessors)


def _assessors(
    held_by: _Holdings, session: Address, query: Mapping[str, set[str]]
) -> dict[str, dict[tuple[str, str], HeldFile]]:
    """Files of the requested assessors that exist, by label."""
    there = {row["label"] for row in held_by.destination.list_assessors(session)}
    return {
        label: held_by.own(session.child(Level.ASSESSOR, label), resources)
        for label, resources in query.items()
        if label in there
    }
