"""Carries out a plan: containers before files, one writer a resource, many resources at once.

Rules it follows (reasons in docs/design.md): one document creates a session with its scans; a resource is made before
its files; small results travel as one archive; a reply that says *kept* is no success; an upload whose reply was lost
is looked up before it is sent again; every session is listed again at the end and every file gets a verdict.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError, DataError, StoppedError, XnatferryError
from xnatferry.planning.plan import Decision, OnConflict, Plan, Step
from xnatferry.transfer.events import Event, Listener, Outcome, Receipt, Stage, Verdict
from xnatferry.transfer.sending import ResourceSender
from xnatferry.transfer.verify import verify_session
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.records import ScanDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xnatferry.transfer.destination import Destination

__all__ = ["PushResult", "carry_out"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PushResult:
    """What a push did and what can be sworn about it.

    Attributes:
        receipts: One for each step that was tried.
        verdicts: One for each file of the plan.
        stopped: Whether the user stopped it.
    """

    receipts: tuple[Receipt, ...]
    verdicts: tuple[Verdict, ...]
    stopped: bool = False

    @property
    def failures(self) -> tuple[Receipt, ...]:
        """Receipts of steps that did not succeed."""
        return tuple(r for r in self.receipts if r.outcome in {Outcome.FAILED, Outcome.STOPPED})

    @property
    def unproven(self) -> tuple[Verdict, ...]:
        """Verdicts that do not count as arrived."""
        return tuple(v for v in self.verdicts if not v.proof.good)


def carry_out(
    plan: Plan,
    destination: Destination,
    *,
    workers: int = 4,
    listener: Listener = lambda _: None,
    stop: threading.Event | None = None,
) -> PushResult:
    """Do what *plan* says and prove it.

    Args:
        plan: What to do; nothing else is done.
        destination: The server.
        workers: How many resources travel at the same time.
        listener: Told every event, from one thread at a time.
        stop: Set it to stop: files in flight are abandoned, nothing new begins.

    Raises:
        ConflictError: The plan holds conflicts and its policy is to fail; nothing has been sent.
        RemoteError: The project cannot be created or used.
    """
    if plan.conflicts and plan.on_conflict is OnConflict.FAIL:
        first = plan.conflicts[0]
        raise ConflictError(
            f"{len(plan.conflicts)} files differ on the server, the first is {first.address} ({first.reason}); "
            "nothing was sent; --on-conflict skip leaves them, --on-conflict overwrite replaces them"
        )
    if not plan.steps:
        raise DataError("nothing is left to push")
    return _Run(plan, destination, workers, listener, stop or threading.Event()).carry_out()


@dataclass(slots=True)
class _Session:
    """The steps of one session."""

    step: Step
    scans: list[Step] = field(default_factory=list)
    resources: dict[Address, tuple[Step, list[Step]]] = field(default_factory=dict)

    @property
    def files(self) -> list[Step]:
        return [step for _, files in self.resources.values() for step in files]


class _Run:
    def __init__(
        self, plan: Plan, destination: Destination, workers: int, listener: Listener, stop: threading.Event
    ) -> None:
        self._plan = plan
        self._destination = destination
        self._workers = workers
        self._listener = listener
        self._stop = stop
        self._lock = threading.Lock()
        self._receipts: list[Receipt] = []
        self._verdicts: list[Verdict] = []
        self._made_by_document: set[Address] = set()

    def carry_out(self) -> PushResult:
        sessions = self._sessions()
        self._tell(Stage("create", f"{len(sessions)} sessions"))
        try:
            self._containers()
        except StoppedError:
            return PushResult(tuple(self._receipts), (), stopped=True)
        with ThreadPoolExecutor(self._workers, thread_name_prefix="ferry") as pool:
            _Flow(pool, self._stop).run([partial(self._begin, session) for session in sessions])
        return PushResult(tuple(self._receipts), tuple(self._verdicts), stopped=self._stop.is_set())

    def _sessions(self) -> list[_Session]:
        found: dict[Address, _Session] = {}
        for step in self._plan.steps:
            address = step.address
            if address.session is None:
                continue
            session = Address(address.project, address.subject, address.session)
            if address.level is Level.SESSION:
                found[session] = _Session(step)
            elif address.level is Level.SCAN:
                found[session].scans.append(step)
            elif address.level is Level.RESOURCE:
                found[session].resources[address] = (step, [])
            elif address.parent is not None:
                found[session].resources[address.parent][1].append(step)
        return list(found.values())

    def _containers(self) -> None:
        """The project, and the subjects that more than one new session needs: two sessions must not race for them."""
        new_sessions: dict[str | None, int] = defaultdict(int)
        for step in self._plan.steps:
            if step.address.level is Level.SESSION and step.decision is Decision.CREATE:
                new_sessions[step.address.subject] += 1
        for step in self._plan.steps:
            if step.decision is not Decision.CREATE or self._stop.is_set():
                continue
            if step.address.level is Level.SUBJECT and new_sessions[step.address.subject] == 1:
                self._made_by_document.add(step.address)
            elif step.address.level is Level.PROJECT:
                made = self._destination.ensure_project(step.address.project)
                self._receive(Receipt(step.address, _outcome(made.created)))
            elif step.address.level is Level.SUBJECT:
                self._guard(step, partial(self._ensure_subject, step))

    def _begin(self, session: _Session) -> list[Callable[[], object]]:
        """Make one session ready; returns the work that may follow at once."""
        if self._containers_of(session):
            open_resources = [
                pair for pair in session.resources.values() if pair[0].sends or any(f.sends for f in pair[1])
            ]
            left = _Countdown(len(open_resources), partial(self._verify, session))
            work: list[Callable[[], object]] = [
                partial(self._resource, step, files, left) for step, files in open_resources
            ]
            return work or [partial(self._verify, session)]
        why = "its session could not be made ready"
        for step in session.files:
            if step.sends:
                self._receive(Receipt(step.address, Outcome.FAILED, message=why))
        return [partial(self._verify, session)]

    def _containers_of(self, session: _Session) -> bool:
        step = session.step
        if step.decision is Decision.CREATE:
            scans = [ScanDocument(s.address.scan or "", s.xsi_type, s.fields) for s in session.scans]

            def create() -> bool:
                made = self._destination.create_session_document(
                    step.address, xsi_type=step.xsi_type, fields=step.fields, scans=scans
                )
                return made.created

            if not self._guard(step, create):
                return False
            if step.address.parent in self._made_by_document:
                self._receive(Receipt(step.address.parent, Outcome.CREATED))
            for scan in session.scans:
                self._receive(Receipt(scan.address, Outcome.CREATED))
            return True
        new = [scan for scan in session.scans if scan.decision is Decision.CREATE]
        return all(self._guard(scan, partial(self._ensure_scan, scan)) for scan in new)

    def _ensure_subject(self, step: Step) -> bool:
        return self._destination.ensure_subject(step.address, fields=step.fields).created

    def _ensure_scan(self, step: Step) -> bool:
        return self._destination.ensure_scan(step.address, xsi_type=step.xsi_type, fields=step.fields).created

    def _resource(self, step: Step, files: Sequence[Step], left: _Countdown) -> list[Callable[[], object]]:
        if step.decision is Decision.CREATE:

            def create() -> bool:
                return self._destination.ensure_resource(
                    step.address,
                    format=step.fields.get("format", ""),
                    content=step.fields.get("content", ""),
                    tags=step.fields.get("tags", ""),
                ).created

            if not self._guard(step, create):
                for file in files:
                    self._receive(Receipt(file.address, Outcome.FAILED, message="its resource could not be created"))
                return left.one_less()
        sender = ResourceSender(self._destination, step, [f for f in files if f.sends], self._tell, self._stop)
        for receipt in sender.send():
            self._receive(receipt)
        return left.one_less()

    def _verify(self, session: _Session) -> list[Callable[[], object]]:
        with self._lock:
            sent = {r.address: r for r in self._receipts if r.address.file is not None}
        try:
            verdicts = verify_session(session.step.address, session.files, self._destination, sent)
        except XnatferryError as error:
            self._receive(Receipt(session.step.address, Outcome.FAILED, message=f"could not be verified: {error}"))
            return []
        for verdict in verdicts:
            with self._lock:
                self._verdicts.append(verdict)
            self._tell(verdict)
        return []

    def _guard(self, step: Step, act: Callable[[], bool]) -> bool:
        """Run *act* and write the receipt; a failure of one object leaves the others alone."""
        if self._stop.is_set():
            self._receive(Receipt(step.address, Outcome.STOPPED))
            return False
        try:
            created = act()
        except XnatferryError as error:
            self._receive(Receipt(step.address, Outcome.FAILED, message=str(error)))
            return False
        self._receive(Receipt(step.address, _outcome(created)))
        return True

    def _receive(self, receipt: Receipt) -> None:
        with self._lock:
            self._receipts.append(receipt)
        self._tell(receipt)

    def _tell(self, event: Event) -> None:
        with self._lock:
            try:
                self._listener(event)
            except Exception:  # a broken display must not stop a transfer
                log.exception("a listener failed on %r", event)


def _outcome(created: bool) -> Outcome:  # noqa: FBT001  # reads as a question
    return Outcome.CREATED if created else Outcome.FOUND


class _Countdown:
    """Gives out one follow-up when the last of several pieces of work is done."""

    def __init__(self, count: int, then: Callable[[], object]) -> None:
        self._count = count
        self._then = then
        self._lock = threading.Lock()

    def one_less(self) -> list[Callable[[], object]]:
        with self._lock:
            self._count -= 1
            return [self._then] if self._count == 0 else []


class _Flow:
    """Runs work whose results are more work, on a bounded pool, until none is left or the user stops."""

    def __init__(self, pool: ThreadPoolExecutor, stop: threading.Event) -> None:
        self._pool = pool
        self._stop = stop

    def run(self, work: Sequence[Callable[[], object]]) -> None:
        waiting: set[Future[object]] = {self._pool.submit(piece) for piece in work}
        try:
            while waiting:
                done, waiting = wait(waiting, timeout=0.2, return_when=FIRST_COMPLETED)
                for future in done:
                    if future.cancelled():
                        continue
                    more = future.result()
                    for piece in more if isinstance(more, list) else ():
                        waiting.add(self._pool.submit(piece))
        except KeyboardInterrupt:
            self._stop.set()
            for future in waiting:
                future.cancel()
            wait(waiting, timeout=10)
        except BaseException:
            self._stop.set()
            raise
