"""Plans a copy between servers: a plan as of a push, with files of a server. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from xnatferry.planning.placement import PACK_ABOVE_FILES
from xnatferry.planning.plan import Decision, OnConflict, Payload, Plan, Refusal, Step, Transport, in_tree_order
from xnatferry.sources.model import Finding, LocalFile, Severity
from xnatferry.wording import counted
from xnatferry.xnat.custom_fields import custom_name, custom_path
from xnatferry.xnat.datatypes import data_type, resolve
from xnatferry.xnat.labels import label_problem, remote_name_problem, resource_label_problem, scan_id_problem
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from xnatferry.results.contents import Contents
    from xnatferry.xnat.records import Attributes, RemoteFile

#: Fields that must be unique on a server: not copied to a project with another ID.
_UNIQUE = frozenset({"name", "secondary_ID"})


def plan_copy(
    source: Contents,
    there: Contents,
    *,
    from_project: str,
    project: str,
    relay: Callable[[Address, RemoteFile], Iterator[bytes]],
    on_conflict: OnConflict = OnConflict.FAIL,
    update_fields: bool = False,
) -> Plan:
    """Compare two servers and decide every step. Nothing is sent.

    Args:
        source: What is copied, with the new project ID.
        there: The same objects on the target server.
        from_project: Project ID at the source.
        project: New project ID.
        relay: Streams a file of the source, by its address and row there.
        on_conflict: FAIL, SKIP or OVERWRITE.
        update_fields: Whether fields that differ are changed; otherwise they are only shown.
    """
    planner = _Planner(source, there, from_project, project, relay, on_conflict, update_fields=update_fields)
    planner.objects()
    planner.resources()
    return Plan(
        server=there.server,
        project=project,
        steps=tuple(_own_kind_last(in_tree_order(planner.steps.values()))),
        refusals=(*planner.refused.values(), *source.unplaced),
        findings=tuple(_findings(planner.skipped_fields)),
        on_conflict=on_conflict,
    )


@dataclass(slots=True)
class _Planner:
    source: Contents
    there: Contents
    from_project: str
    project: str
    relay: Callable[[Address, RemoteFile], Iterator[bytes]]
    on_conflict: OnConflict
    update_fields: bool = field(kw_only=True)
    steps: dict[Address, Step] = field(default_factory=dict)
    refused: dict[Address, Refusal] = field(default_factory=dict)
    skipped_fields: dict[str, list[Address]] = field(default_factory=lambda: defaultdict(list))

    def objects(self) -> None:
        """Steps of projects, subjects, sessions, scans and assessors."""
        exists = Address(self.project) in self.there.objects
        self._add(Step(Address(self.project), Decision.SAME if exists else Decision.CREATE))
        for address, attributes in sorted(self.source.objects.items(), key=lambda pair: pair[0]):
            if address.level is not Level.PROJECT and (why := self._problem(address, attributes)):
                self._refuse(address, why)
            elif not self._below_refused(address):
                self._add(self._object(address, attributes))

    def resources(self) -> None:
        """Steps of resources and files."""
        files: dict[Address, list[tuple[Address, RemoteFile]]] = defaultdict(list)
        for address, file in self.source.files.items():
            files[replace(address, file=None)].append((address, file))
        for resource, fields in self.source.resources.items():
            if self._below_refused(resource):
                continue
            if why := resource_label_problem(resource.resource or ""):
                self._refuse(resource, f"resource label {resource.resource!r}: {why}")
                continue
            decision = Decision.SAME if resource in self.there.resources else Decision.CREATE
            transport = _transport([file for _, file in files[resource]])
            self._add(Step(resource, decision, fields=fields, transport=transport))
            for address, file in files[resource]:
                self._file(address, file)

    def _add(self, step: Step) -> None:
        self.steps[step.address] = step

    def _refuse(self, address: Address, why: str) -> None:
        self.refused[address] = Refusal(str(address), (why,), Path(str(address)), address)

    def _below_refused(self, address: Address) -> bool:
        return any(above in self.refused for above in (address, *address.ancestors()))

    def _problem(self, address: Address, attributes: Attributes) -> str | None:
        """Why an object cannot be copied; None when it can."""
        label = getattr(address, address.level.value)
        check = scan_id_problem if address.level is Level.SCAN else label_problem
        if why := check(label):
            return f"{address.level} label {label!r}: {why}"
        if address.level is Level.SESSION:
            owner = self.there.subjects.get(address.session or "", address.subject)
            if owner != address.subject:
                return f"session {address.session} belongs to subject {owner} on the target; a copy would move it"
        held = self.there.objects.get(address)
        if held is not None and held.xsi_type != attributes.xsi_type:
            return f"has data type {held.xsi_type} on the target, and {attributes.xsi_type} on the source"
        return None

    def _object(self, address: Address, attributes: Attributes) -> Step:
        fields = self._carried(address, attributes)
        held = self.there.objects.get(address)
        # Fields of projects and subjects have a full path, others a path below their data type.
        prefix = f"{attributes.xsi_type}/" if address.level in {Level.PROJECT, Level.SUBJECT} else ""
        spelled = {prefix + path: value for path, value in fields.items()}
        if held is None:
            return Step(address, Decision.CREATE, "", attributes.xsi_type, spelled)
        changes = {
            prefix + path: (held.fields.get(path, ""), value)
            for path, value in fields.items()
            if held.fields.get(path) != value
        }
        decision = Decision.UPDATE if changes and self.update_fields else Decision.SAME
        return Step(address, decision, "", attributes.xsi_type, spelled, changes)

    def _carried(self, address: Address, attributes: Attributes) -> dict[str, str]:
        """The fields that can be copied: for types of XNAT's schema those in the schema, for types of plugins all."""
        known = data_type(attributes.xsi_type) is not None
        carried = {}
        for path, value in attributes.fields.items():
            if address.level is Level.PROJECT and path in _UNIQUE and self.project != self.from_project:
                continue
            if (name := custom_name(path)) is not None:
                carried[custom_path(name)] = value
            elif known and resolve(attributes.xsi_type, path) is None:
                self.skipped_fields[path].append(address)
            else:
                carried[path] = value
        for path in attributes.unsettable:
            self.skipped_fields[path].append(address)
        return carried

    def _file(self, address: Address, file: RemoteFile) -> None:
        if why := remote_name_problem(file.name):
            self._refuse(address, why)
            return
        if address in self.source.doubled:
            self._refuse(address, "is listed twice on the source")
            return
        held = self.there.files.get(address)
        decision, reason = _compared(file, held)
        if decision is Decision.DIFFERS:
            if self.on_conflict is OnConflict.OVERWRITE:
                decision = Decision.UPDATE
            elif self.on_conflict is OnConflict.SKIP:
                reason += "; not changed"
        origin = replace(address, project=self.from_project)
        local = LocalFile(
            path=Path(str(origin)),
            name=file.name,
            size_bytes=file.size_bytes,
            mtime_ns=0,
            digest=file.digest,
            opener=partial(self.relay, origin, file),
        )
        payload = Payload(local, held_digest=None if held is None else held.digest)
        fields = {word: text for word, text in (("format", file.format), ("content", file.content)) if text}
        self._add(Step(address, decision, reason, fields=fields, payload=payload))


def _compared(file: RemoteFile, held: RemoteFile | None) -> tuple[Decision, str]:
    if held is None:
        return Decision.CREATE, ""
    if held.size_bytes != file.size_bytes:
        return Decision.DIFFERS, f"{counted(held.size_bytes, 'byte')} on the target, {file.size_bytes:,} on the source"
    if file.digest is None or held.digest is None:
        which = "source" if file.digest is None else "target"
        return Decision.SAME, f"size equal; the {which} lists no MD5"
    if file.digest == held.digest:
        return Decision.SAME, ""
    return Decision.DIFFERS, "content differs"


def _transport(files: list[RemoteFile]) -> Transport:
    """One archive for many files with the same format and content, as its request has one of each."""
    kinds = {(file.format, file.content) for file in files}
    return Transport.PACKED if len(files) > PACK_ABOVE_FILES and len(kinds) == 1 else Transport.SINGLE


def _own_kind_last(steps: Iterable[Step]) -> Iterator[Step]:
    """In each resource, files with the format and content of the resource last.

    XNAT gives a resource the format and content of the last stored file (``ResourceModifierA.addFile``).
    """
    kind: dict[str, str] = {}
    own: list[Step] = []
    for step in steps:
        if step.payload is None:
            yield from own
            yield step
            own = []
            kind = {word: step.fields[word] for word in ("format", "content") if word in step.fields}
        elif dict(step.fields) == kind:
            own.append(step)
        else:
            yield step
    yield from own


def _findings(skipped_fields: Mapping[str, list[Address]]) -> Iterator[Finding]:
    for path, addresses in sorted(skipped_fields.items()):
        more = f" and {len(addresses) - 1} more" if len(addresses) > 1 else ""
        yield Finding(
            "CPY01",
            Severity.WARNING,
            f"{path} of {addresses[0]}{more} is not copied: it cannot be set, or is not in XNAT's schema",
        )
