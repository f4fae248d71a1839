"""Carries out a plan: containers before files, one writer a resource, many resources at once.

Rules (reasons in docs/design.md): one document creates a session with its scans; a resource is created before its
files, or by the first of them if nobody else can be creating it; many small files are sent as one archive; a reply that
says *kept* is not a success; after a lost reply, the listing is read before an upload is repeated; every session is
listed again at the end, and every file gets a verdict.
"""

from __future__ import annotations

import logging
import threading
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError, DataError, StoppedError, UnavailableError, XnatferryError
from xnatferry.planning.plan import Decision, OnConflict, Plan, Step
from xnatferry.transfer.batching import BodySizeLimit
from xnatferry.transfer.events import Began, Listener, Outcome, Proof, PushResult, Receipt, Stage, Verdict, emitter
from xnatferry.transfer.grouping import SessionSteps, by_session, subjects_of_documents
from xnatferry.transfer.journal import Journal
from xnatferry.transfer.resource_sender import ResourceSender
from xnatferry.transfer.run_context import RunContext
from xnatferry.transfer.snapshot_pool import SnapshotPool
from xnatferry.transfer.task_pool import CompletionLatch, TaskPool, Work
from xnatferry.transfer.verify import Verifier
from xnatferry.wording import counted
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.records import ScanDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from xnatferry.transfer.destination import Destination
    from xnatferry.transfer.grouping import Resources
    from xnatferry.transfer.rate_limit import RateLimit
    from xnatferry.xnat.records import Ensured, FieldChange

log = logging.getLogger(__name__)


def carry_out(
    plan: Plan,
    destination: Destination,
    *,
    workers: int = 4,
    listener: Listener = lambda _: None,
    journal: Listener = lambda _: None,
    stop: threading.Event | None = None,
    rate_limit: RateLimit | None = None,
    max_body: int | None = None,
) -> PushResult:
    """Carry out *plan* and verify it.

    Args:
        plan: The steps.
        destination: The server.
        workers: How many resources are sent at the same time.
        listener: Called with every event, from one thread at a time; its errors are logged and ignored.
        journal: Called with every event first; its failure ends the run. If it is a `Journal`, uploads
            that earlier runs in its folder did not finish are finished.
        stop: Set it to stop: running uploads are abandoned, no new ones start.
        rate_limit: A limit on bytes a second for all of them together.
        max_body: Limit of one request in bytes; a lower limit of the server is detected.

    Raises:
        DataError: Sources have no unique address, or all are refused; nothing has been sent.
        ConflictError: The plan has conflicts and its policy is to fail; nothing has been sent.
        RemoteError: The project cannot be created or used.
    """
    check_sendable(plan)
    pictures = [step.payload.local for step in plan.files if step.sends and step.payload and step.payload.local.made]
    with SnapshotPool(pictures) if pictures else nullcontext() as snapshot_pool:
        context = RunContext(
            stop=stop or threading.Event(),
            rate_limit=rate_limit,
            body_size_limit=BodySizeLimit(max_body),
            snapshot_pool=snapshot_pool,
            earlier=journal.earlier if isinstance(journal, Journal) else None,
        )
        return _Run(plan, destination, context, workers=workers, listener=listener, journal=journal).carry_out()


def check_sendable(plan: Plan) -> None:
    """Check that a plan can be carried out.

    Raises:
        DataError: Sources have no unique address, or all are refused.
        ConflictError: Files differ on the server and the policy is to fail.
    """
    if plan.blocked:
        blocked = plan.blocked[0]
        more = f" (and {len(plan.blocked) - 1} more)" if len(plan.blocked) > 1 else ""
        raise DataError(f"{blocked.relative}: {blocked.reasons[0]}{more}; nothing was sent")
    if plan.conflicts and plan.on_conflict is OnConflict.FAIL:
        first = plan.conflicts[0]
        raise ConflictError(
            f"{counted(len(plan.conflicts), 'file', 'differ')} on the server (first: {first.address}: {first.reason}); "
            "nothing was sent; use --on-conflict skip, overwrite or keep-both"
        )
    if not plan.steps:
        raise DataError("nothing to push: every source is refused")


class _Run:
    def __init__(
        self,
        plan: Plan,
        destination: Destination,
        context: RunContext,
        *,
        workers: int,
        listener: Listener,
        journal: Listener,
    ) -> None:
        self._plan = plan
        self._destination = destination
        self._workers = workers
        self._emit = emitter(journal, listener)
        self._context = context
        self._verifier = Verifier(destination)
        self._lock = threading.Lock()
        self._receipts: list[Receipt] = []
        self._verdicts: list[Verdict] = []
        self._sent: dict[Address, Receipt] = {}
        self._failed: dict[Address, Receipt] = {}
        self._failed_sessions: dict[Address, dict[Address, Receipt]] = {}
        self._made_by_document: frozenset[Address] = frozenset()
        self._created_here: set[Address] = set()
        self._lost: set[Address] = set()
        self._ids: dict[Address, str] = {}
        self._remade: set[Address] = set()

    def carry_out(self) -> PushResult:
        sessions = by_session(self._plan)
        files = sum(step.sends for step in self._plan.files)
        self._emit(Stage("push", f"{counted(len(sessions), 'session')}, {counted(files, 'file')}"))
        try:
            self._containers()
        except StoppedError:
            return PushResult(tuple(self._receipts), (), stopped=True)
        TaskPool(self._workers, self._context.stop).run([partial(self._start_session, session) for session in sessions])
        if (drawn := [session for session in sessions if session.pictures]) and not self._context.stop.is_set():
            self._emit(Stage("snapshots", f"snapshots of {counted(len(drawn), 'session')}"))
            TaskPool(self._workers, self._context.stop).run(
                [partial(self._resource_work, session, session.pictures) for session in drawn]
            )
        left = frozenset(step.address for step in self._plan.conflicts)
        return PushResult(tuple(self._receipts), tuple(self._verdicts), left, stopped=self._context.stop.is_set())

    def _containers(self) -> None:
        """Create the project, and the subjects that no session document creates."""
        self._made_by_document = subjects_of_documents(self._plan)
        for step in self._plan.steps:
            if not step.sends or self._context.stop.is_set():
                continue
            if step.decision is Decision.UPDATE:
                if step.address.level in {Level.PROJECT, Level.SUBJECT}:
                    self._guard(step, partial(self._change_fields, step))
            elif step.address in self._made_by_document:
                continue
            elif step.address.level is Level.PROJECT:
                self._emit(Began((step.address,)))
                made = self._destination.ensure_project(step.address.project, fields=step.fields)
                self._receive(_made(step, made))
            elif step.address.level is Level.SUBJECT:
                self._guard(step, partial(self._ensure_subject, step))

    def _start_session(self, session: SessionSteps) -> list[Work]:
        """Create one session; returns the tasks that send its files."""
        if failed := self._make_ready(session):
            self._failed_sessions[session.step.address] = failed
        return self._resource_work(session, session.resources)

    def _resource_work(self, session: SessionSteps, resources: Resources) -> list[Work]:
        """The tasks that send and verify some resources of an existing session."""
        failed = self._failed_sessions.get(session.step.address, {})
        files = [file for _, found in resources.values() for file in found]
        if (cause := failed.get(session.step.address)) is not None:
            why = f"not sent: {cause.address} could not be created"
            self._fail_dependent(cause, [file for file in files if file.sends], why)
            self._record_verdicts(Verdict(file.address, Proof.UNKNOWN, message=why) for file in files)
            return []
        work: list[tuple[Step, list[Step], bool]] = []
        for step, own in resources.values():
            sends = [file for file in own if file.sends]
            cause = failed.get(step.address.container)
            if cause is not None:
                self._fail_dependent(cause, sends, f"not sent: {cause.address} could not be created")
            elif step.sends or sends:
                work.append((step, sends, len(sends) == len(own)))
        verify = partial(self._verify, session, files)
        left = CompletionLatch(len(work), verify)
        remake = partial(self._remake, session)
        more: list[Work] = [
            partial(self._resource, step, sends, left, remake, complete=complete) for step, sends, complete in work
        ]
        return more or [verify]

    def _remake(self, session: SessionSteps) -> None:
        """Create a session of this run once more.

        If clients create one session at the same time, several get 201 and XNAT keeps the session of one (recorded:
        1.8.11); what the others stored in theirs is lost.
        """
        if session.step.decision is Decision.CREATE and session.step.address.session is not None:
            self._created_here -= {session.step.address, *(scan.address for scan in session.scans)}
            self._remade.add(session.step.address)
            self._create_session(session)

    def _make_ready(self, session: SessionSteps) -> dict[Address, Receipt]:
        """Create a session with its scans, or the new scans of one that is there; returns what failed."""
        step = session.step
        if step.address.session is None:
            cause = self._failed.get(step.address)
            return {} if cause is None else {step.address: cause}
        if step.decision is not Decision.CREATE:
            return self._make_parts((step, *session.scans, *session.assessors))
        made = (step.address, *(scan.address for scan in session.scans))
        if step.address.parent in self._made_by_document:
            made = (step.address.parent, *made)
        receipt = self._guard(step, partial(self._create_session, session), made)
        if receipt.exit_code:
            return {step.address: receipt}
        if step.address.parent in self._made_by_document:
            self._receive(Receipt(step.address.parent, receipt.outcome))
        if receipt.outcome is Outcome.CREATED:
            self._created_here |= {step.address, *(scan.address for scan in session.scans)}
        # If another push created the session first, an undo must not remove it.
        for scan in session.scans:
            self._receive(Receipt(scan.address, receipt.outcome))
        return self._make_parts(session.assessors)

    def _make_parts(self, steps: Iterable[Step]) -> dict[Address, Receipt]:
        """Create the new ones of some scans and assessors, and change the fields of others; returns what failed."""
        made = {Level.SCAN: self._ensure_scan, Level.ASSESSOR: self._ensure_assessor}
        acts = [
            (s, self._change_fields if s.decision is Decision.UPDATE else made[s.address.level])
            for s in steps
            if s.sends
        ]
        receipts = [self._guard(step, partial(act, step)) for step, act in acts]
        return {receipt.address: receipt for receipt in receipts if receipt.exit_code}

    def _create_session(self, session: SessionSteps) -> Receipt:
        step = session.step
        scans = [ScanDocument(s.address.scan or "", s.xsi_type, s.fields) for s in session.scans]
        made = self._destination.create_session_document(
            step.address, xsi_type=step.xsi_type, fields=step.fields, scans=scans
        )
        self._ids[step.address] = made.id
        return _made(step, made)

    def _ensure_subject(self, step: Step) -> Receipt:
        return _made(step, self._destination.ensure_subject(step.address, fields=step.fields))

    def _ensure_scan(self, step: Step) -> Receipt:
        return _made(step, self._destination.ensure_scan(step.address, xsi_type=step.xsi_type, fields=step.fields))

    def _ensure_assessor(self, step: Step) -> Receipt:
        return _made(step, self._destination.ensure_assessor(step.address, xsi_type=step.xsi_type, fields=step.fields))

    def _change_fields(self, step: Step) -> Receipt:
        wanted = {path: value for path, (_, value) in step.changes.items()}
        return _receipt(step, Outcome.CHANGED, self._destination.set_fields(step.address, wanted))

    def _ensure_resource(self, step: Step) -> Receipt:
        fields = {word: step.fields.get(word, "") for word in ("format", "content", "tags")}
        return _made(step, self._destination.ensure_resource(step.address, **fields))

    def _resource(
        self, step: Step, files: Sequence[Step], left: CompletionLatch, remake: Callable[[], None], *, complete: bool
    ) -> list[Work]:
        sender = ResourceSender(
            self._destination,
            step,
            files,
            self._emit,
            self._context,
            remake=remake,
            complete=complete,
            overwrite=any(file.address in self._lost for file in files),
        )
        comes_with_files = (
            step.decision is Decision.CREATE
            and step.address.container in self._created_here
            and sender.sets_resource_fields
        )
        if comes_with_files:
            self._emit(Began((step.address,)))
        elif step.decision is Decision.CREATE:
            receipt = self._guard(step, partial(self._ensure_resource, step))
            if receipt.exit_code:
                self._fail_dependent(receipt, files, f"not sent: {step.address} could not be created")
                return left.count_down()
        stored = 0
        for receipt in sender.send():
            if comes_with_files and receipt.outcome is Outcome.STORED:
                comes_with_files = False
                self._receive(Receipt(step.address, Outcome.CREATED))
            self._receive(receipt)
            stored += receipt.outcome is Outcome.STORED
        if files:
            log.info("stored %d of %d files in %s", stored, len(files), step.address)
        return left.count_down()

    def _verify(self, session: SessionSteps, files: Sequence[Step]) -> list[Work]:
        try:
            verdicts = self._verifier.session(session.step.address, files, self._sent)
            if lost := self._newly_lost(session, verdicts):
                self._remake(session)
                files = [file for file in files if file.address not in lost]
                verdicts = [verdict for verdict in verdicts if verdict.address not in lost]
        except XnatferryError as error:
            self._receive(Receipt.failed(session.step.address, error))
            lost = set()
            verdicts = [Verdict(file.address, Proof.UNKNOWN, message=str(error)) for file in files]
        for file in files:
            self._sent.pop(file.address, None)
        self._record_verdicts(verdicts)
        good = sum(verdict.proof.good for verdict in verdicts)
        log.info("verified %d of %d files of %s", good, len(files), session.step.address)
        again = {
            address: (step, found)
            for address, (step, own) in (session.resources | session.pictures).items()
            if (found := [file for file in own if file.address in lost])
        }
        return self._resource_work(session, again) if again else []

    def _newly_lost(self, session: SessionSteps, verdicts: Iterable[Verdict]) -> set[Address]:
        """Files that this run stored and that are missing, as XNAT kept the session of another client."""
        address = session.step.address
        missing = {verdict.address for verdict in verdicts if verdict.proof is Proof.MISSING} - self._lost
        lost = {one for one in missing if one in self._sent and self._sent[one].outcome is Outcome.STORED}
        if not lost or address not in self._ids:
            return set()
        if address not in self._remade:
            held = self._destination.item(address)
            if held is not None and held.get("ID") in {None, "", self._ids[address]}:
                return set()
        self._lost |= lost
        return lost

    def _record_verdicts(self, verdicts: Iterable[Verdict]) -> None:
        for verdict in verdicts:
            with self._lock:
                self._verdicts.append(verdict)
            self._emit(verdict)

    def _guard(self, step: Step, act: Callable[[], Receipt], made_with: tuple[Address, ...] = ()) -> Receipt:
        """Run *act* and write the receipt; an error of one object does not stop the others."""
        try:
            self._context.check()
            self._emit(Began(made_with or (step.address,)))
            receipt = act()
            self._context.outage.succeeded()
        except XnatferryError as error:
            if isinstance(error, UnavailableError):
                self._context.outage.failed(error)
            receipt = Receipt.failed(step.address, error)
        self._receive(receipt)
        return receipt

    def _fail_dependent(self, cause: Receipt, files: Sequence[Step], why: str) -> None:
        """Receipts of files that were not sent because of *cause*."""
        for file in files:
            self._receive(Receipt(file.address, cause.outcome, message=why, exit_code=cause.exit_code))

    def _receive(self, receipt: Receipt) -> None:
        with self._lock:
            self._receipts.append(receipt)
            if receipt.address.file is not None:
                self._sent[receipt.address] = receipt
            elif receipt.exit_code:
                self._failed[receipt.address] = receipt
        self._emit(receipt)


def _made(step: Step, made: Ensured) -> Receipt:
    return _receipt(step, Outcome.CREATED if made.created else Outcome.FOUND, made.changes)


def _receipt(step: Step, outcome: Outcome, changes: Iterable[FieldChange]) -> Receipt:
    return Receipt(step.address, outcome, message="; ".join(map(str, changes)))
