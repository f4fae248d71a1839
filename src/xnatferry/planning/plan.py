"""What a push would do: steps with decisions, printable and comparable before anything moves."""

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

__all__ = ["Decision", "OnConflict", "Payload", "Plan", "Refusal", "Step", "Transport", "in_tree_order"]


class Decision(StrEnum):
    """What happens to one object or file; the value is the sign that people see."""

    CREATE = "+"
    SAME = "="
    UPDATE = "~"
    DIFFERS = "*"
    REFUSED = "!"


class OnConflict(StrEnum):
    """What to do with a file that the server holds with other bytes: ``--on-conflict``."""

    FAIL = "fail"
    SKIP = "skip"
    OVERWRITE = "overwrite"
    KEEP_BOTH = "keep-both"


class Transport(StrEnum):
    """How the files of one resource travel."""

    SINGLE = "single"
    """One request a file."""
    PACKED = "packed"
    """One zip stream, made while it is sent and extracted by the server."""
    READY = "ready"
    """The user's own archive, sent as it is and extracted by the server."""


@dataclass(frozen=True, slots=True)
class Payload:
    """The bytes of one file step. A path, never an open handle: every attempt opens it again.

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
    """One object to be there, or one file to be stored.

    Attributes:
        address: What it is about; unique within a plan.
        decision: What a push does with it.
        reason: Why, where that is not plain from the decision.
        xsi_type: XNAT data type of a session or scan to create.
        fields: Its fields by XNAT path; of a resource ``format``, ``content``, ``tags``; of a file ``format`` and
            ``content`` of its catalog entry.
        changes: Fields of an object that is there and differs: XNAT path to (there, wanted). They are changed when the
            decision is to update, else only shown.
        transport: How the files of a resource travel.
        payload: The bytes of a file.
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
        """Whether a push does something for it."""
        return self.decision in {Decision.CREATE, Decision.UPDATE}


@dataclass(frozen=True, slots=True)
class Refusal:
    """A source that stays behind, and why.

    Attributes:
        relative: The source as people know it.
        reasons: One sentence each.
        address: Where it would have gone, when that is known.
        path: Where it is on disk.
    """

    relative: str
    reasons: tuple[str, ...]
    path: Path
    address: Address | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps of one push, containers before what they hold.

    Attributes:
        server: Address of the server, without credentials.
        project: Project ID.
        steps: In address order: a container stands before its content.
        refusals: Sources that are not carried over.
        findings: Warnings about what is carried over.
        local: Whether the server is the archive of this computer, whose port changes from start to start.
        blocked: Sources whose place is unclear; as long as there is one, nothing moves.
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
        """The steps that carry bytes."""
        return tuple(step for step in self.steps if step.payload is not None)

    @property
    def conflicts(self) -> tuple[Step, ...]:
        """Files and objects that differ on the server and are not to be changed."""
        return tuple(step for step in self.steps if step.decision is Decision.DIFFERS)

    @property
    def sends_bytes(self) -> int:
        """Local bytes of all files that would travel."""
        return sum(step.size_bytes for step in self.files if step.sends)

    @property
    def nothing_to_do(self) -> bool:
        """Whether the server already holds everything."""
        return not any(step.sends for step in self.steps)

    def blocked_by(self, more: Iterable[Refusal]) -> Plan:
        """The same plan, held back by *more* sources without a clear place."""
        return replace(self, blocked=(*self.blocked, *more))

    def count(self, level: Level | None = None) -> Counter[Decision]:
        """How many steps have which decision, at one level or at all."""
        return Counter(step.decision for step in self.steps if level is None or step.address.level is level)

    def below(self, address: Address) -> tuple[Step, ...]:
        """The steps at and below *address*."""
        return tuple(step for step in self.steps if step.address == address or address.holds(step.address))


def in_tree_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Sort steps so that a container stands before its content and numbers count as numbers."""
    sessions: defaultdict[tuple[str, str | None, str | None], list[Step]] = defaultdict(list)
    for step in steps:
        sessions[step.address.project, step.address.subject, step.address.session].append(step)
    # Session by session, as all keys of a sort are in memory at once.
    ordered = sorted(sessions, key=lambda place: (place[0], _natural(place[1]), _natural(place[2])))
    return tuple(step for place in ordered for step in sorted(sessions[place], key=_key_in_session))


def _key_in_session(step: Step) -> tuple[object, ...]:
    address = step.address
    return tuple(map(_natural, (address.scan, address.assessor, address.resource, address.file)))


def _natural(label: str | None) -> tuple[int, int, str]:
    if label is None:
        return (0, 0, "")
    return (1, int(label), label) if label.isdecimal() and label.isascii() else (2, 0, label)
