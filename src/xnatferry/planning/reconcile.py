"""Compares placements with the state of a server, and decides every step; without disk and network."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING

from xnatferry.checks.bids import fitting_fields
from xnatferry.errors import UsageError
from xnatferry.planning.file_comparison import FileComparer
from xnatferry.planning.placement import (
    MappedSources,
    Placement,
    compressed_as,
    entry_fields,
    is_packed,
    scan_type_for,
)
from xnatferry.planning.plan import Decision, OnConflict, Payload, Plan, Refusal, Step, Transport, in_tree_order
from xnatferry.planning.scan_numbers import settle_scan_numbers
from xnatferry.planning.session_labels import settle_sessions
from xnatferry.planning.snapshot_steps import SNAPSHOTS, image_of, snapshot_steps
from xnatferry.sources.model import Finding, Kind, LocalFile
from xnatferry.xnat.bids_manifest import MANIFEST_RESOURCE
from xnatferry.xnat.datatypes import resolve
from xnatferry.xnat.model import Address
from xnatferry.xnat.values import ValueProblem, normal_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from xnatferry.planning.file_comparison import FingerprintOf, ReadContent
    from xnatferry.planning.remote_state import HeldFile, RemoteState

_BY_POSITION = re.compile(r"\[\d+\]")


def reconcile(
    mapped: MappedSources,
    remote: RemoteState,
    *,
    project: str,
    fingerprint: FingerprintOf,
    read_content: ReadContent,
    on_conflict: OnConflict = OnConflict.FAIL,
    gzip: bool = False,
    update_fields: bool = False,
    findings: Sequence[Finding] = (),
    pictured: Mapping[Path, str] | None = None,
) -> Plan:
    """Decide every step of a push.

    *update_fields* changes fields of objects that are there and differ; otherwise those known are shown and left.
    *fingerprint* and *read_content* are asked as `FileComparer` says. *pictured* has the digest of every image that
    gets snapshots, by its path.

    Raises:
        UsageError: KEEP_BOTH is used with a BIDS dataset.
    """
    if on_conflict is OnConflict.KEEP_BOTH and any(item.source.kind is Kind.BIDS for item in mapped.placements):
        raise UsageError("--on-conflict keep-both cannot be used with BIDS, as it renames files; use skip or overwrite")
    placements, moved = _without_moves(settle_sessions(mapped.placements, remote), remote)
    comparer = FileComparer(fingerprint, read_content)
    decide = _Decider(remote, project, comparer, on_conflict, gzip=gzip, update_fields=update_fields)
    same = [partial(decide.is_held, ask=ask) for ask in (False, True)]
    for item in settle_scan_numbers(placements, remote, same, gzip=gzip):
        decide.add(item)
        decide.add_snapshots(item, pictured or {})
    return Plan(
        server=remote.server,
        project=project,
        steps=in_tree_order(decide.steps.values()),
        refusals=(*mapped.refusals, *moved),
        findings=tuple(findings),
        on_conflict=on_conflict,
        blocked=(*mapped.conflicting, *decide.blocked),
    )


def _without_moves(placements: Iterable[Placement], remote: RemoteState) -> tuple[list[Placement], list[Refusal]]:
    """Refuse sources that would move an existing session to another subject, which XNAT does silently."""
    kept: list[Placement] = []
    refused: list[Refusal] = []
    for item in placements:
        there = remote.sessions.get(item.session)
        if there is not None and there.subject and there.subject != item.subject:
            why = (
                f"session {item.session} belongs to subject {there.subject} on the server; "
                f"uploading it for subject {item.subject} would move the session"
            )
            refused.append(Refusal(item.source.relative, (why,), item.source.path))
        else:
            kept.append(item)
    return kept, refused


class _Decider:
    """Collects the steps of one plan, each address once."""

    def __init__(
        self,
        remote: RemoteState,
        project: str,
        comparer: FileComparer,
        on_conflict: OnConflict,
        *,
        gzip: bool,
        update_fields: bool,
    ) -> None:
        self.steps: dict[Address, Step] = {}
        self.blocked: list[Refusal] = []
        self._resources: dict[str | None, set[str]] = defaultdict(set)
        self._remote = remote
        self._project = Address(project)
        self._comparer = comparer
        self._on_conflict = on_conflict
        self._gzip = gzip
        self._update_fields = update_fields

    def add(self, item: Placement) -> None:
        remote = self._remote
        self._ensure(Step(self._project, _exists(remote.project_exists)))
        container = self._project
        if item.subject:
            container = Address(self._project.project, item.subject)
            held = remote.subject_fields.get(item.subject) if item.subject in remote.subjects else None
            there = item.subject in remote.subjects
            self._add_object(container, "xnat:subjectData", item.subject_fields, held or {}, there=there)
        if item.session:
            container = Address(self._project.project, item.subject, item.session)
            session = remote.sessions.get(item.session)
            session_type = session.xsi_type if session is not None and session.xsi_type else item.session_type
            known = session.fields if session is not None else {}
            fields = item.session_fields
            if session_type != item.session_type:  # a session keeps its type and has only fields of this type
                fields = fitting_fields(session_type, fields)
            self._add_object(container, session_type, fields, known, there=session is not None)
            if item.on_scan:
                container = replace(container, scan=item.scan)
                scan = session.scans.get(item.scan or "") if session is not None else None
                kind = item.scan_type or scan_type_for(session_type)
                self._add_object(container, kind, item.scan_fields, scan or {}, there=scan is not None)
            elif item.assessor:
                container = replace(container, assessor=item.assessor)
                there = session is not None and item.assessor in session.assessors
                self._add_object(container, item.assessor_type, {}, {}, there=there)
        self._add_resource(container, item)

    def add_snapshots(self, item: Placement, pictured: Mapping[Path, str]) -> None:
        """Add snapshots of the scan of *item*, if its image gets some; one set per scan."""
        image = image_of(item.source) if item.on_scan else ()
        scan = replace(self._project, subject=item.subject, session=item.session, scan=item.scan)
        resource = replace(scan, resource=SNAPSHOTS)
        if not image or image[0].path not in pictured or resource in self.steps:
            return
        held = self._remote.held_in(resource) or {}
        for step in snapshot_steps(scan, image, pictured[image[0].path], held):
            self._ensure(step)

    def _ensure(self, step: Step) -> None:
        self.steps.setdefault(step.address, step)
        if step.address.resource is not None:
            self._resources[step.address.session].add(step.address.resource)

    def _add_object(
        self, address: Address, kind: str, fields: Mapping[str, str], held: Mapping[str, str], *, there: bool
    ) -> None:
        """A subject, session or scan: created, or with the differences in its fields."""
        if address in self.steps:
            return
        given = "" if kind == "xnat:subjectData" else kind
        if not there:
            self._ensure(Step(address, Decision.CREATE, "", given, fields))
            return
        unknown = "" if self._remote.all_fields else None
        changes: dict[str, tuple[str, str]] = {}
        for path, value in fields.items():
            if _BY_POSITION.search(path):  # XNAT cannot change single elements of a list
                continue
            known = held.get(path.removeprefix("xnat:subjectData/"), unknown)
            if known is not None and not same_value(kind, path, known, value):
                changes[path] = (known, value)
        decision = Decision.UPDATE if changes and self._update_fields else Decision.SAME
        self._ensure(Step(address, decision, "", given, fields, changes))

    def _add_resource(self, container: Address, item: Placement) -> None:
        address = replace(container, resource=item.resource)
        held = self._remote.held_in(address)
        self._ensure(Step(address, _exists(held is not None), fields=item.resource_fields, transport=_transport(item)))
        for file in item.source.files:
            self._add_file(self._file_step(address, item, file, held or {}), item)

    def _add_file(self, step: Step, item: Placement) -> None:
        """Every file has its own step; a second one with the same address blocks the push."""
        if self.steps.setdefault(step.address, step) is not step:
            why = f"another source has the same address {step.address}; rename one"
            self.blocked.append(Refusal(item.source.relative, (why,), item.source.path))

    def is_held(
        self, item: Placement, file: LocalFile, held: HeldFile, place: tuple[str, str, str], *, ask: bool
    ) -> bool:
        """Whether *held* has the contents of *file*, as it would arrive in this scan, resource and under this name."""
        scan, resource, name = place
        address = Address(self._project.project, item.subject, item.session, scan, resource=resource, file=name)
        payload = Payload(file, gzip=compressed_as(file, name))
        return self._comparer.compare(payload, held, address, ask=ask).same is True

    def _file_step(self, resource: Address, item: Placement, file: LocalFile, held: Mapping[str, HeldFile]) -> Step:
        name = item.name_of(file, gzip=self._gzip)
        other = item.name_of(file, gzip=not self._gzip)
        if name not in held and other in held and held[other].digest:
            payload = Payload(file, gzip=compressed_as(file, other), held_digest=held[other].digest)
            there = replace(resource, file=other)
            decision, reason = self._compare(payload, held[other], there)
            if decision is Decision.SAME:
                how = _joined(f"is there {'compressed' if payload.gzip else 'uncompressed'}", reason)
                return Step(there, decision, how, fields=_entry(item, other), payload=payload)
        entry = held.get(name)
        payload = Payload(file, gzip=compressed_as(file, name))
        decision, reason = self._compare(payload, entry, replace(resource, file=name))
        if decision is Decision.DIFFERS and entry is not None and entry.digest == file.stands_for is not None:
            decision, reason = Decision.UPDATE, "replaces metadata that was merged from inherited files"
        if decision is Decision.DIFFERS:
            if self._on_conflict is OnConflict.OVERWRITE or file.data is not None:  # a file written by xnatferry
                decision = Decision.UPDATE
            elif self._on_conflict is OnConflict.SKIP:
                reason += "; not changed"
            elif self._on_conflict is OnConflict.KEEP_BOTH and item.source.archived:
                why = (
                    f"{name} differs on the server; files in an archive cannot be renamed, so extract the archive first"
                )
                self.blocked.append(Refusal(item.source.relative, (why,), item.source.path))
            elif self._on_conflict is OnConflict.KEEP_BOTH:
                own = {item.name_of(other, gzip=self._gzip) for other in item.source.files}
                name, decision, reason = self._beside(payload, replace(resource, file=name), held, own)
        if item.resource == MANIFEST_RESOURCE and decision is Decision.UPDATE:
            reason = self._left_over(item) or reason
        entry = held.get(name)
        payload = replace(payload, held_digest=entry.digest if entry is not None else None)
        return Step(replace(resource, file=name), decision, reason, fields=_entry(item, name), payload=payload)

    def _left_over(self, item: Placement) -> str:
        """Files of an earlier state of the dataset in a session; a push removes nothing. Manifests are last."""
        session = self._remote.sessions.get(item.session)
        if session is None:
            return ""
        base = Address(self._project.project, item.subject, item.session)
        ours = self._resources[item.session]
        old = [
            name
            for scan, resource, name in session.files
            if resource in ours - {MANIFEST_RESOURCE}
            and replace(base, scan=scan, resource=resource, file=name) not in self.steps
        ]
        if not old:
            return ""
        more = f" and {len(old) - 1} more" if len(old) > 1 else ""
        first = min(old, key=lambda name: (name.endswith(".json"), name))  # data before what describes it
        return f"on the server, but no longer in the dataset: {first}{more}"

    def _beside(
        self, payload: Payload, address: Address, held: Mapping[str, HeldFile], own: set[str]
    ) -> tuple[str, Decision, str]:
        """The first of ``name_2``, ``name_3`` ... that is free here and there, or holds these contents already."""
        name = address.file or ""
        for number in count(2):
            other = _numbered(name, number)
            if other in own:
                continue
            decision, reason = self._compare(payload, held.get(other), replace(address, file=other))
            if decision is not Decision.DIFFERS:
                return other, decision, _joined(f"beside {name}, which differs on the server", reason)
        raise AssertionError  # pragma: no cover  # count() does not end

    def _compare(self, payload: Payload, held: HeldFile | None, address: Address) -> tuple[Decision, str]:
        if held is None:
            return Decision.CREATE, ""
        found = self._comparer.compare(payload, held, address)
        return Decision.SAME if found.same else Decision.DIFFERS, found.message


def same_value(kind: str, path: str, held: str, wanted: str) -> bool:
    """Whether two texts are the same value for XNAT: ``2000.0`` and ``2000`` as a number."""
    if held == wanted:
        return True
    resolved = resolve(kind, path.removeprefix(f"{kind}/"))
    if resolved is None:
        return False
    try:
        return normal_value(resolved.node, held) == normal_value(resolved.node, wanted)
    except ValueProblem:
        return False


def _entry(item: Placement, name: str) -> Mapping[str, str]:
    """Format and content of a file's catalog entry.

    XNAT gives a resource those of its last file, so all files of one BIDS resource have those of the resource.
    """
    given = {word: value for word, value in item.resource_fields.items() if word != "tags"}
    if item.source.kind is Kind.BIDS:
        return given
    return entry_fields(name) if item.on_scan else {**entry_fields(name), **given}


def _numbered(name: str, number: int) -> str:
    """``t1_2.nii.gz`` for ``t1.nii.gz``: the number is before the ending."""
    folder, slash, last = name.rpartition("/")
    stem, dot, ending = last.partition(".") if not last.startswith(".") else (last, "", "")
    return f"{folder}{slash}{stem}_{number}{dot}{ending}"


def _joined(*reasons: str) -> str:
    return "; ".join(filter(None, reasons))


def _exists(there: bool) -> Decision:  # noqa: FBT001  # reads as a question
    return Decision.SAME if there else Decision.CREATE


def _transport(item: Placement) -> Transport:
    if item.source.archived:
        return Transport.READY
    return Transport.PACKED if is_packed(item.source) else Transport.SINGLE
