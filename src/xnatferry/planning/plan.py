"""`Plan`: what a push would do, as steps with decisions, before anything is sent."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from xnatferry.xnat.interning import no_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from xnatferry.sources.model import Finding, LocalFile
    from xnatferry.xnat.model import Address, Level


class Decision(StrEnum):
    """What happens to one object or file; the value is the sign in the printed plan."""

    CREATE = "+"
    SAME = "="
    UPDATE = "~"
    DIFFERS = "*"
    REFUSED = "!"


class OnConflict(StrEnum):
    """What to do with a file that differs on the server: ``--on-conflict``."""

    FAIL = "fail"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    KEEP_BOTH = "keep-both"


class Transport(StrEnum):
    """How the files of one resource are sent."""

    SINGLE = "single"
    """One request per file."""
    PACKED = "packed"
    """One zip stream, made while it is sent and extracted by the server."""
    READY = "ready"
    """The archive of the user, sent unchanged and extracted by the server."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The content of one file step: a path, which every attempt opens again.

    Attributes:
        local: The file (or archive member) on disk.
        gzip: Whether it is compressed while it is sent: then *local* has size and digest of what it unpacks to, and
            those of what arrives depend on who compresses it.
        held_digest: MD5 that the server lists for this file now, when it holds one.
    """

    local: LocalFile
    gzip: bool = False
    held_digest: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One object to create, or one file to store.

    Attributes:
        address: What it is about; unique within a plan.
        decision: What a push does with it.
        reason: Why, if the decision alone does not tell.
        xsi_type: XNAT data type of a session or scan to create.
        fields: Its fields by XNAT path; of a resource ``format``, ``content``, ``tags``; of a file ``format`` and
            ``content`` of its catalog entry.
        changes: Fields of an existing object that differ: XNAT path to (current, new). They are changed only when the
            decision is UPDATE.
        transport: How the files of a resource are sent.
        payload: The content of a file.
    """

    address: Address
    decision: Decision
    reason: str = ""
    xsi_type: str = ""
    fields: Mapping[str, str] = field(default_factory=no_fields)
    changes: Mapping[str, tuple[str, str]] = field(default_factory=no_fields)
    transport: Transport = Transport.SINGLE
    payload: Payload | None = None

    @property
    def size_bytes(self) -> int:
        """Local size of a file; 0 for an object."""
        return 0 if self.payload is None else self.payload.local.size_bytes

    @property
    def sends(self) -> bool:
        """Whether a push changes something for it."""
        return self.decision in {Decision.CREATE, Decision.UPDATE}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that is not uploaded, and why.

    Attributes:
        relative: Path of the source, for messages.
        reasons: One sentence each.
        address: Its address, if known.
        path: Its path on the disk.
        exit_code: Exit code of the command: 7 for refused data, 8 for files that cannot be verified.
    """

    relative: str
    reasons: tuple[str, ...]
    path: Path
    address: Address | None = None
    exit_code: int = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps of one push, containers before their content.

    Attributes:
        server: Address of the server, without credentials.
        project: Project ID.
        steps: In address order: a container before its content.
        refusals: Sources that are not uploaded.
        findings: Warnings about sources that are uploaded.
        local: Whether the server is the local archive, whose port changes with every start.
        blocked: Sources without a unique address; while there is one, nothing is sent.
        on_conflict: What happens to files that differ.
    """

    server: str
    project: str
    steps: tuple[Step, ...]
    refusals: tuple[Refusal, ...] = ()
    findings: tuple[Finding, ...] = ()
    on_conflict: OnConflict = OnConflict.FAIL
    blocked: tuple[Refusal, ...] = ()
    local: bool = False

    @property
    def files(self) -> tuple[Step, ...]:
        """The steps of files."""
        return tuple(step for step in self.steps if step.payload is not None)

    @property
    def conflicts(self) -> tuple[Step, ...]:
        """Files and objects that differ on the server and are not changed."""
        return tuple(step for step in self.steps if step.decision is Decision.DIFFERS)

    @property
    def sends_bytes(self) -> int:
        """Local size of all files to send."""
        return sum(step.size_bytes for step in self.files if step.sends)

    @property
    def nothing_to_do(self) -> bool:
        """Whether the server already has everything."""
        return not any(step.sends for step in self.steps)

    def blocked_by(self, more: Iterable[Refusal]) -> Plan:
        """The same plan with *more* sources without a unique address."""
        return replace(self, blocked=(*self.blocked, *more))

    def count(self, level: Level | None = None) -> Counter[Decision]:
        """How many steps have which decision, at one level or at all."""
        return Counter(step.decision for step in self.steps if level is None or step.address.level is level)

    def below(self, address: Address) -> tuple[Step, ...]:
        """The steps at and below *address*."""
        return tuple(step for step in self.steps if step.address == address or address.holds(step.address))


def in_tree_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Sort steps: containers before their content, numbers by value."""
    sessions: defaultdict[tuple[str, str | None, str | None], list[Step]] = defaultdict(list)
    for step in steps:
        sessions[step.address.project, step.address.subject, step.address.session].append(step)
    # Session by session, to limit the memory for sort keys.
    ordered = sorted(sessions, key=lambda place: (place[0], _natural(place[1]), _natural(place[2])))
    return tuple(step for place in ordered for step in sorted(sessions[place], key=_key_in_session))


def _key_in_session(step: Step) -> tuple[object, ...]:
    address = step.address
    return tuple(map(_natural, (address.scan, address.assessor, address.resource, address.file)))


def _natural(label: str | None) -> tuple[int, int, str]:
    if label is None:
        return (0, 0, "")
    return (1, int(label), label) if label.isdecimal() and label.isascii() else (2, 0, label)
