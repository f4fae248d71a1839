"""What is wanted against what a server holds: decisions, without disk or network."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
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
    findings: Sequence[Finding] = (),
) -> Plan:
    """Decide every step of a push.

    *fingerprint* is asked only for files of which the server holds one with the same name and, unless the file is
    compressed on the way, the same size.
    """
    wanted, moved = _without_moves(mapped.wanted, remote)
    wanted = _settle_scan_numbers(wanted, remote, gzip=gzip)
    decide = _Decider(remote, project, fingerprint, on_conflict, gzip)
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
    """Numbers for images whose scan nobody claimed: the scan that holds the image already, else the next free one."""
    by_session: dict[str, list[Wanted]] = defaultdict(list)
    for item in wanted:
        by_session[item.session].append(item)
    settled: dict[int, Wanted] = {}
    for session, items in by_session.items():
        there = remote.sessions.get(session)
        if there is None:
            continue
        holders = {(resource, name): scan for scan, resource, name in there.files if scan is not None}
        open_items = [item for item in items if item.on_scan and not item.numbered]
        taken = set(there.scans) | {item.scan or "" for item in items if item.numbered}
        for item in open_items:
            scan = holders.get((item.resource, item.name_of(item.source.files[0], gzip=gzip)))
            if scan is not None:
                settled[id(item)] = replace(item, scan=scan)
        for item in open_items:
            if id(item) not in settled:
                scan = next_free(taken)
                taken.add(scan)
                settled[id(item)] = replace(item, scan=scan)
    return [settled.get(id(item), item) for item in wanted]


class _Decider:
    """Collects the steps of one plan, each address once."""

    def __init__(
        self,
        remote: RemoteState,
        project: str,
        fingerprint: Callable[[LocalFile, bool], Fingerprint],
        on_conflict: OnConflict,
        gzip: bool,  # noqa: FBT001  # one private call
    ) -> None:
        self.steps: dict[Address, Step] = {}
        self._remote = remote
        self._project = Address(project)
        self._fingerprint = fingerprint
        self._on_conflict = on_conflict
        self._gzip = gzip

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
        reason = ""
        if held is not None:
            changed = [
                f"{key} {held[key]!r} there, {value!r} here"
                for key, value in item.scan_fields.items()
                if held.get(key, value) != value
            ]
            if changed:
                reason = "fields are left as they are: " + "; ".join(changed)
        self._ensure(Step(address, _exists(held is not None), reason, scan_type_for(session_type), item.scan_fields))

    def _add_resource(self, container: Address, item: Wanted, there: RemoteSession | None) -> None:
        address = Address(
            container.project, container.subject, container.session, container.scan, resource=item.resource
        )
        held = there.files if there is not None else {}
        known = any(scan == container.scan and resource == item.resource for scan, resource, _ in held)
        self._ensure(Step(address, _exists(known), fields=item.resource_fields, transport=_transport(item)))
        for file in item.source.files:
            gzip = self._gzip and is_gzipped_on_the_way(file)
            name = item.name_of(file, gzip=gzip)
            decision, reason, digest = self._decide(file, held.get((container.scan, item.resource, name)), gzip=gzip)
            target = replace(address, file=name)
            fields = {
                **entry_fields(name),
                **{k: v for k, v in item.resource_fields.items() if k != "tags" and not item.on_scan},
            }
            self._ensure(
                Step(target, decision, reason, fields=fields, payload=Payload(file, gzip=gzip, held_digest=digest))
            )

    def _decide(self, file: LocalFile, held: HeldFile | None, *, gzip: bool) -> tuple[Decision, str, str | None]:
        if held is None:
            return Decision.CREATE, "", None
        if gzip or held.size_bytes == file.size_bytes:
            if held.digest is None and not gzip:
                return Decision.SAME, "size matches; the server lists no digest", None
            here = self._fingerprint(file, gzip)
            if here.size_bytes == held.size_bytes and held.digest in {here.digest, None}:
                return Decision.SAME, "" if held.digest else "size matches; the server lists no digest", held.digest
            why = "the bytes differ"
        else:
            why = f"{held.size_bytes} bytes there, {file.size_bytes} here"
        if self._on_conflict is OnConflict.OVERWRITE:
            return Decision.UPDATE, why, held.digest
        if self._on_conflict is OnConflict.SKIP:
            return Decision.DIFFERS, f"{why}; left as it is", held.digest
        return Decision.DIFFERS, why, held.digest


def _exists(there: bool) -> Decision:  # noqa: FBT001  # reads as a question
    return Decision.SAME if there else Decision.CREATE


def _transport(item: Wanted) -> Transport:
    if item.source.archived:
        return Transport.READY
    if item.source.kind is Kind.FREESURFER or len(item.source.files) > PACK_ABOVE_FILES:
        return Transport.PACKED
    return Transport.SINGLE
