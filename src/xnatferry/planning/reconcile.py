"""What is wanted against what a server holds: decisions, without disk or network."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from itertools import count
from typing import TYPE_CHECKING

from xnatferry.planning.mapping import Mapped, Wanted, entry_fields, is_gzipped_on_the_way, next_free, scan_type_for
from xnatferry.planning.plan import Decision, OnConflict, Payload, Plan, Refusal, Step, Transport, in_tree_order
from xnatferry.sources.base import Finding, Kind, LocalFile
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Fingerprint", "HeldFile", "RemoteSession", "RemoteState", "reconcile"]

#: A resource with more files than this travels as one archive; below it, one request a file costs no more.
PACK_ABOVE_FILES = 8

_NO_DIGEST = "size matches; the server lists no digest"


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that the server lists; *digest* is None where it lists none."""

    size_bytes: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class RemoteSession:
    """A session that exists.

    Attributes:
        subject: Label of its subject.
        scans: Fields of each scan by scan ID.
        files: By (scan ID or None, resource label, name in the resource).
    """

    subject: str
    xsi_type: str
    scans: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Mapping[tuple[str | None, str, str], HeldFile] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteState:
    """What a server holds of one project, as far as a plan asks."""

    server: str
    project_exists: bool
    subjects: frozenset[str] = frozenset()
    sessions: Mapping[str, RemoteSession] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Size and MD5 of a file as it would arrive."""

    size_bytes: int
    digest: str


def reconcile(
    mapped: Mapped,
    remote: RemoteState,
    *,
    project: str,
    fingerprint: Callable[[LocalFile, bool], Fingerprint],
    on_conflict: OnConflict = OnConflict.FAIL,
    gzip: bool = False,
    update_fields: bool = False,
    findings: Sequence[Finding] = (),
) -> Plan:
    """Decide every step of a push.

    *update_fields* changes fields of scans that are there and differ; otherwise they are shown and left. *fingerprint*
    is asked only for files of which the server holds one with the same name and, unless the file is compressed on the
    way, the same size.
    """
    wanted, moved = _without_moves(mapped.wanted, remote)
    wanted = _settle_scan_numbers(wanted, remote, gzip=gzip)
    decide = _Decider(remote, project, fingerprint, on_conflict, gzip=gzip, update_fields=update_fields)
    for item in wanted:
        decide.add(item)
    return Plan(
        server=remote.server,
        project=project,
        steps=in_tree_order(decide.steps.values()),
        refusals=(*mapped.refusals, *moved),
        findings=tuple(findings),
        on_conflict=on_conflict,
        blocked=mapped.misplaced,
    )


def _without_moves(wanted: Iterable[Wanted], remote: RemoteState) -> tuple[list[Wanted], list[Refusal]]:
    """Refuse what would move an existing session to another subject: XNAT does that without a word."""
    kept: list[Wanted] = []
    refused: list[Refusal] = []
    for item in wanted:
        there = remote.sessions.get(item.session)
        if there is not None and there.subject and there.subject != item.subject:
            why = (
                f"session {item.session} belongs to subject {there.subject} on the server; "
                f"pushing it under {item.subject} would move it"
            )
            refused.append(Refusal(item.source.relative, (why,), item.source.path))
        else:
            kept.append(item)
    return kept, refused


def _settle_scan_numbers(wanted: Sequence[Wanted], remote: RemoteState, *, gzip: bool) -> list[Wanted]:
    """Numbers for images whose scan nobody claimed.

    First the scan that holds the image already; then one that an interrupted push made for such an image and left
    empty; then the next free number.
    """
    by_session: dict[str, list[Wanted]] = defaultdict(list)
    for item in wanted:
        by_session[item.session].append(item)
    settled: dict[int, Wanted] = {}
    for session, items in by_session.items():
        there = remote.sessions.get(session)
        if there is None:
            continue
        holders = {(resource, name): scan for scan, resource, name in there.files if scan is not None}
        full = {scan for scan, _, _ in there.files}
        empty = {scan: fields for scan, fields in there.scans.items() if scan not in full}
        open_items = [item for item in items if item.on_scan and not item.numbered]
        taken = set(there.scans) | {item.scan or "" for item in items if item.numbered}
        for item in open_items:
            scan = holders.get((item.resource, item.name_of(item.source.files[0], gzip=gzip)))
            if scan is not None:
                settled[id(item)] = replace(item, scan=scan)
        for item in open_items:
            if id(item) not in settled:
                scan = _made_for(item, empty) or next_free(taken)
                empty.pop(scan, None)
                taken.add(scan)
                settled[id(item)] = replace(item, scan=scan)
    return [settled.get(id(item), item) for item in wanted]


def _made_for(item: Wanted, empty: Mapping[str, Mapping[str, str]]) -> str | None:
    """The first empty scan that bears this image's type and series description."""
    words = ("type", "series_description")
    said = {word: item.scan_fields[word] for word in words if word in item.scan_fields}
    return next((scan for scan, fields in empty.items() if all(fields.get(w, v) == v for w, v in said.items())), None)


class _Decider:
    """Collects the steps of one plan, each address once."""

    def __init__(
        self,
        remote: RemoteState,
        project: str,
        fingerprint: Callable[[LocalFile, bool], Fingerprint],
        on_conflict: OnConflict,
        *,
        gzip: bool,
        update_fields: bool,
    ) -> None:
        self.steps: dict[Address, Step] = {}
        self._remote = remote
        self._project = Address(project)
        self._fingerprint = fingerprint
        self._on_conflict = on_conflict
        self._gzip = gzip
        self._update_fields = update_fields

    def add(self, item: Wanted) -> None:
        remote = self._remote
        self._ensure(Step(self._project, _exists(remote.project_exists)))
        subject = Address(self._project.project, item.subject)
        self._ensure(Step(subject, _exists(item.subject in remote.subjects)))
        session = Address(self._project.project, item.subject, item.session)
        there = remote.sessions.get(item.session)
        session_type = there.xsi_type if there is not None and there.xsi_type else item.session_type
        self._ensure(Step(session, _exists(there is not None), xsi_type=session_type, fields=item.session_fields))
        container = session
        if item.on_scan:
            container = Address(session.project, session.subject, session.session, scan=item.scan)
            self._add_scan(container, item, there, session_type)
        self._add_resource(container, item, there)

    def _ensure(self, step: Step) -> None:
        self.steps.setdefault(step.address, step)

    def _add_scan(self, address: Address, item: Wanted, there: RemoteSession | None, session_type: str) -> None:
        held = there.scans.get(address.scan or "") if there is not None else None
        kind = scan_type_for(session_type)
        if held is None:
            self._ensure(Step(address, Decision.CREATE, "", kind, item.scan_fields))
            return
        changes = {
            path: (held[path], value) for path, value in item.scan_fields.items() if held.get(path, value) != value
        }
        decision = Decision.UPDATE if changes and self._update_fields else Decision.SAME
        self._ensure(Step(address, decision, "", kind, item.scan_fields, changes))

    def _add_resource(self, container: Address, item: Wanted, there: RemoteSession | None) -> None:
        address = Address(
            container.project, container.subject, container.session, container.scan, resource=item.resource
        )
        held = there.files if there is not None else {}
        known = any((scan, resource) == _place_of(address) for scan, resource, _ in held)
        self._ensure(Step(address, _exists(known), fields=item.resource_fields, transport=_transport(item)))
        here = {name: file for (scan, resource, name), file in held.items() if (scan, resource) == _place_of(address)}
        for file in item.source.files:
            self._ensure(self._file_step(address, item, file, here))

    def _file_step(self, resource: Address, item: Wanted, file: LocalFile, held: Mapping[str, HeldFile]) -> Step:
        gzip = self._gzip and is_gzipped_on_the_way(file)
        name = item.name_of(file, gzip=gzip)
        decision, reason = self._compare(file, held.get(name), gzip=gzip)
        if decision is Decision.DIFFERS:
            if self._on_conflict is OnConflict.OVERWRITE:
                decision = Decision.UPDATE
            elif self._on_conflict is OnConflict.SKIP:
                reason += "; left as it is"
            elif self._on_conflict is OnConflict.KEEP_BOTH and not item.source.archived:
                name, decision, reason = self._beside(file, name, held, gzip=gzip)
        entry = held.get(name)
        fields = {
            **entry_fields(name),
            **{k: v for k, v in item.resource_fields.items() if k != "tags" and not item.on_scan},
        }
        payload = Payload(file, gzip=gzip, held_digest=entry.digest if entry is not None else None)
        return Step(replace(resource, file=name), decision, reason, fields=fields, payload=payload)

    def _beside(
        self, file: LocalFile, name: str, held: Mapping[str, HeldFile], *, gzip: bool
    ) -> tuple[str, Decision, str]:
        """The first of ``name_2``, ``name_3`` ... that is free or holds these bytes already."""
        for number in count(2):
            other = _numbered(name, number)
            decision, _ = self._compare(file, held.get(other), gzip=gzip)
            if decision is not Decision.DIFFERS:
                return other, decision, f"beside {name}, which differs on the server"
        raise AssertionError  # pragma: no cover  # count() does not end

    def _compare(self, file: LocalFile, held: HeldFile | None, *, gzip: bool) -> tuple[Decision, str]:
        if held is None:
            return Decision.CREATE, ""
        if not gzip and held.size_bytes != file.size_bytes:
            return Decision.DIFFERS, f"{held.size_bytes} bytes there, {file.size_bytes} here"
        if held.digest is None and not gzip:
            return Decision.SAME, _NO_DIGEST
        here = self._fingerprint(file, gzip)
        if here.size_bytes == held.size_bytes and held.digest in {here.digest, None}:
            return Decision.SAME, "" if held.digest else _NO_DIGEST
        return Decision.DIFFERS, "the bytes differ"


def _place_of(resource: Address) -> tuple[str | None, str | None]:
    return resource.scan, resource.resource


def _numbered(name: str, number: int) -> str:
    """``t1_2.nii.gz`` for ``t1.nii.gz``: the number stands before everything that names the format."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".") if not last.startswith(".") else (last, "", "")
    return f"{folder}{slash}{stem}_{number}{dot}{ending}"


def _exists(there: bool) -> Decision:  # noqa: FBT001  # reads as a question
    return Decision.SAME if there else Decision.CREATE


def _transport(item: Wanted) -> Transport:
    if item.source.archived:
        return Transport.READY
    if item.source.kind is Kind.FREESURFER or len(item.source.files) > PACK_ABOVE_FILES:
        return Transport.PACKED
    return Transport.SINGLE
