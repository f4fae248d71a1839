"""Carries out a plan on the workers of a Dask cluster, with one journal, which this process writes.

Before a task is submitted, the journal records as begun what it may create, flushed to the disk: so an undo is possible
whichever worker dies. A task returns its receipts and verdicts, which go into the same journal. At most *workers* tasks
run at the same time, each with one connection to the server.
"""

from __future__ import annotations

import secrets
import time
from asyncio import CancelledError
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from distributed import KilledWorker, wait

from xnatferry.cluster.plan_parts import split, subject_of
from xnatferry.cluster.tasks import ClusterTask, TaskReport, failed, run_task, running_tasks
from xnatferry.errors import StoppedError, TransferError, UnavailableError, XnatferryError
from xnatferry.transfer.engine import carry_out, check_sendable
from xnatferry.transfer.events import (
    Began,
    BytesSent,
    Listener,
    Outcome,
    PushResult,
    Receipt,
    Stage,
    Verdict,
    emitter,
    guarded,
)
from xnatferry.transfer.run_context import Outage
from xnatferry.wording import counted

if TYPE_CHECKING:
    from distributed import Client, Future

    from xnatferry.client.remote import Remote
    from xnatferry.planning.plan import Plan
    from xnatferry.xnat.model import Address

#: Seconds between two checks of the tasks.
_POLL_S = 0.5
#: Seconds that cancelled tasks have to stop.
_GRACE_S = 10.0
#: Exit code of a task that found the server unavailable.
_UNAVAILABLE = UnavailableError.exit_code


def push_on_cluster(
    plan: Plan,
    remote: Remote,
    client: Client,
    *,
    workers: int,
    listener: Listener,
    journal: Listener,
    bytes_per_s: float | None = None,
    max_body: int | None = None,
) -> PushResult:
    """Carry out *plan* and verify it, as `xnatferry.transfer.engine.carry_out` does.

    Args:
        plan: What to do.
        remote: The server; workers log in there as the same user.
        client: The cluster.
        workers: How many tasks run at once, each with one connection to the server.
        listener: Called with every event.
        journal: Called with every event first; its failure ends the run.
        bytes_per_s: A limit on bytes a second for all of them together.
        max_body: The most bytes of files in one request.

    Raises:
        DataError: Sources have no unique address, or all are refused; nothing has been sent.
        ConflictError: The plan holds conflicts and its policy is to fail; nothing has been sent.
        RemoteError: The project cannot be created or used.
    """
    check_sendable(plan)
    return _Dispatch(
        remote, client, workers, (journal, listener), bytes_per_s=bytes_per_s, max_body=max_body
    ).carry_out(plan)


class _Dispatch:
    def __init__(
        self,
        remote: Remote,
        client: Client,
        workers: int,
        listeners: tuple[Listener, Listener],
        *,
        bytes_per_s: float | None,
        max_body: int | None,
    ) -> None:
        self._remote = remote
        self._client = client
        self._workers = workers
        self._journal, listener = listeners
        self._listener = guarded(listener)
        self._emit = emitter(self._journal, self._listener)
        self._max_body = max_body
        self._bytes_per_s = None if bytes_per_s is None else bytes_per_s / workers
        self._run = f"xnatferry-{secrets.token_hex(4)}"
        self._outage = Outage()
        self._running: dict[Future, Plan] = {}
        self._receipts: list[Receipt] = []
        self._verdicts: list[Verdict] = []
        self._stopped = False

    def carry_out(self, plan: Plan) -> PushResult:
        parts = split(plan)
        files = sum(step.sends for step in plan.files)
        self._emit(Stage("push", f"{counted(len(parts.subjects), 'subject')} on a cluster, {counted(files, 'file')}"))
        if parts.before is not None:
            self._run_here(parts.before)
        if not self._stopped:
            self._run_on_workers(parts.subjects)
        if parts.here is not None and not self._stopped:
            self._run_here(parts.here)
        left = frozenset(step.address for step in plan.conflicts)
        return PushResult(tuple(self._receipts), tuple(self._verdicts), left, stopped=self._stopped)

    def _run_here(self, part: Plan) -> None:
        """Carry out one part in this process."""
        result = carry_out(
            part,
            self._remote,
            workers=1,
            max_body=self._max_body,
            listener=self._listener,
            journal=self._journal,
        )
        self._receipts += result.receipts
        self._verdicts += result.verdicts
        self._stopped = result.stopped

    def _run_on_workers(self, parts: tuple[Plan, ...]) -> None:
        """Carry out all of *parts* on workers; Ctrl-C stops it."""
        waiting = deque(enumerate(parts, start=1))
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self._workers:
                    self._submit(*waiting.popleft())
                self._collect()
        except KeyboardInterrupt:
            self._stop()
        finally:
            with suppress(OSError, TimeoutError, CancelledError):
                self._client.set_metadata([self._run], {})

    def _submit(self, number: int, part: Plan) -> None:
        try:
            self._outage.check()
        except UnavailableError as error:
            self._accept(part, failed(part, error))
            return
        self._emit(Began(tuple(step.address for step in part.steps if step.sends)))
        name = f"{self._run}-{number}"
        cluster_task = ClusterTask(part, self._remote.connection, self._bytes_per_s, self._max_body)
        future = self._client.submit(run_task, cluster_task, name, key=name, pure=False)
        self._running[future] = part

    def _collect(self) -> None:
        """Wait a moment, and process the reports of finished tasks."""
        with suppress(TimeoutError, CancelledError):
            wait(list(self._running), timeout=_POLL_S, return_when="FIRST_COMPLETED")
        for future in [future for future in self._running if future.done()]:
            part = self._running.pop(future)
            self._accept(part, self._report_of(future, part))

    def _report_of(self, future: Future, part: Plan) -> TaskReport:
        if future.status == "finished":
            found = future.result()
            assert isinstance(found, TaskReport)  # noqa: S101  # it is our own task
            if found.tries > 1:
                what = f"{subject_of(part)}: its worker was lost; pushed by {found.worker} in try {found.tries}"
                self._emit(Stage("again", what))
            return found
        if future.status == "error":
            error = future.exception()
            if isinstance(error, XnatferryError):
                return failed(part, error)
            return failed(part, TransferError(_words(error)))
        return failed(
            part, UnavailableError("connection to the Dask scheduler lost; run the same command again to continue")
        )

    def _accept(self, part: Plan, report: TaskReport) -> None:
        codes = {receipt.exit_code for receipt in report.receipts}
        if codes == {_UNAVAILABLE} and report.worker:
            self._outage.failed(UnavailableError(next(r.message for r in report.receipts if r.exit_code)))
        elif report.worker:
            self._outage.succeeded()
        sizes = {step.address: step.size_bytes for step in part.files}
        for receipt in report.receipts:
            if receipt.outcome is Outcome.STORED:
                self._listener(BytesSent(receipt.address, sizes.get(receipt.address, 0)))
            self._receipts.append(receipt)
            self._emit(receipt)
        for verdict in report.verdicts:
            self._verdicts.append(verdict)
            self._emit(verdict)

    def _stop(self) -> None:
        """Submit no more tasks, cancel the running ones, and wait until they have stopped."""
        self._stopped = True
        self._client.cancel(list(self._running))
        for part in self._running.values():
            addresses = (step.address for step in part.steps if step.sends)
            self._accept(part, TaskReport(tuple(map(_stopped, addresses)), ()))
        self._running.clear()
        deadline = time.monotonic() + _GRACE_S
        while time.monotonic() < deadline:
            busy = self._client.run(running_tasks, on_error="return").values()
            if not any(isinstance(number, int) and number for number in busy):
                return
            time.sleep(_POLL_S)


def _stopped(address: Address) -> Receipt:
    return Receipt.failed(address, StoppedError("Stopped by the user"))


def _words(error: BaseException | None) -> str:
    if isinstance(error, KilledWorker):
        return "all workers that ran this task were lost; check that they have enough memory"
    return f"the task failed: {type(error).__name__}: {error}"
