"""Events of a running push: receipts, verdicts and progress."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from xnatferry.errors import StoppedError, VerifyError, joint_exit_code

if TYPE_CHECKING:
    from xnatferry.errors import XnatferryError
    from xnatferry.xnat.model import Address

log = logging.getLogger(__name__)


class Outcome(StrEnum):
    """The result of a step."""

    CREATED = "created"
    FOUND = "found"
    CHANGED = "changed"
    STORED = "stored"
    REMOVED = "removed"
    RESTORED = "restored"
    KEPT = "kept"
    """The server did not replace a file that it already had."""
    FAILED = "failed"
    STOPPED = "stopped"


class Proof(StrEnum):
    """What is known about a file on the server."""

    DIGEST = "digest matched"
    SIZE = "size matched only"
    MISSING = "missing"
    DIFFERS = "differs"
    UNKNOWN = "unknown"

    @property
    def good(self) -> bool:
        """Whether the file counts as verified."""
        return self in {Proof.DIGEST, Proof.SIZE}


@dataclass(frozen=True, slots=True)
class Receipt:
    """The result of one step.

    Attributes:
        size_bytes: Bytes of a stored file; 0 for an object.
        digest: MD5 of what was sent, for a file.
        message: Why it failed, the answer of the server, what was scrubbed from a file, or which fields of an object
            the server stored differently.
        exit_code: Exit code if only this step failed; 0 when it did not.
        may_have_acted: Whether a failed step may have been carried out.
    """

    address: Address
    outcome: Outcome
    size_bytes: int = 0
    digest: str | None = None
    message: str = ""
    exit_code: int = 0
    may_have_acted: bool = False

    @classmethod
    def failed(cls, address: Address, error: XnatferryError) -> Receipt:
        """The receipt of a step that failed with *error*."""
        outcome = Outcome.STOPPED if isinstance(error, StoppedError) else Outcome.FAILED
        message = "" if outcome is Outcome.STOPPED else str(error)
        return cls(address, outcome, message=message, exit_code=error.exit_code, may_have_acted=error.may_have_acted)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the verification found for one file."""

    address: Address
    proof: Proof
    size_bytes: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True)
class PushResult:
    """Receipts and verdicts of a push.

    Attributes:
        receipts: One for each step that was tried.
        verdicts: One for each file of the plan.
        left: Files that differ on the server and were not changed, by the policy.
        stopped: Whether the user stopped it.
    """

    receipts: tuple[Receipt, ...]
    verdicts: tuple[Verdict, ...]
    left: frozenset[Address] = frozenset()
    stopped: bool = False

    @property
    def exit_code(self) -> int:
        """Exit code: the common one of all failed steps, else 1; 8 when a file is not verified."""
        if self.stopped:
            return StoppedError.exit_code
        if self.failures:
            return joint_exit_code(receipt.exit_code for receipt in self.failures)
        return VerifyError.exit_code if self.unproven else 0

    @property
    def failures(self) -> tuple[Receipt, ...]:
        """Receipts of steps that did not succeed."""
        return tuple(r for r in self.receipts if r.outcome in {Outcome.FAILED, Outcome.STOPPED})

    @property
    def changed_fields(self) -> tuple[Receipt, ...]:
        """Receipts of objects with fields that the server stored differently; the message names the fields."""
        return tuple(r for r in self.receipts if r.message and not r.exit_code and r.address.file is None)

    @property
    def unproven(self) -> tuple[Verdict, ...]:
        """Verdicts of files that are not verified, without files that the policy did not change."""
        return tuple(v for v in self.verdicts if not v.proof.good and v.address not in self.left)


@dataclass(frozen=True, slots=True)
class Began:
    """Requests for *addresses* are about to be sent."""

    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class BytesSent:
    """Progress: *size_bytes* more bytes of *address* were sent.

    Negative when a try failed and its bytes are sent again; all events of a finished file add up to its size.
    """

    address: Address
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A named stage of the run starts."""

    name: str
    detail: str = ""


Event = Began | Receipt | Verdict | BytesSent | Stage
Listener = Callable[[Event], None]


def guarded(listener: Listener) -> Listener:
    """*listener* for several threads, called from one at a time; its errors are logged and stop nothing."""
    lock = threading.Lock()

    def call(event: Event) -> None:
        with lock:
            try:
                listener(event)
            except Exception:  # an error in a display must not stop a run
                log.exception("listener failed on %r", event)

    return call


def emitter(journal: Listener, listener: Listener) -> Listener:
    """Calls *journal* first, whose errors are raised, as what cannot be recorded must not happen; then *listener*."""
    show = guarded(listener)

    def emit(event: Event) -> None:
        journal(event)
        show(event)

    return emit
