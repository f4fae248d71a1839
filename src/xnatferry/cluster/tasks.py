"""The task of a worker: pushes one subject of a plan over one connection to the server.

The scheduler runs a task again on another worker when its worker is lost. So a task first reads what the server has of
its subject, and sends only what is missing.
"""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from distributed import get_worker
from distributed.utils import sync

from xnatferry import __version__
from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.cluster.plan_parts import first_file, subject_of
from xnatferry.errors import UsageError, XnatferryError
from xnatferry.pipeline import recheck
from xnatferry.planning.plan import Decision, Plan, Step
from xnatferry.planning.plan_file import plan_from_lines, plan_to_lines
from xnatferry.transfer.engine import carry_out
from xnatferry.transfer.events import Outcome, Proof, Receipt, Verdict
from xnatferry.transfer.payload import fingerprint
from xnatferry.transfer.rate_limit import RateLimit
from xnatferry.xnat.records import ProjectListing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xnatferry.transfer.events import PushResult
    from xnatferry.xnat.model import Address
    from xnatferry.xnat.result_set import Row

#: Seconds between two checks whether the task was cancelled.
_POLL_S = 0.2
#: Seconds before each further try of a task whose worker was lost: the server may still process the last request of
#: that worker, and lists its result only afterwards.
_PAUSES_S = (1.0, 2.0, 4.0)

_running: set[str] = set()


class ClusterTask:
    """A task as it is sent to a worker. Its repr shows no credentials, as Dask may print it anywhere.

    Args:
        part: One subject of a plan.
        connection: Server and account.
        bytes_per_s: Its part of the limit on bytes a second.
        max_body: The most bytes of files in one request.
    """

    __slots__ = ("_access", "_plan", "bytes_per_s", "max_body", "version")

    def __init__(
        self, part: Plan, connection: Connection, bytes_per_s: float | None = None, max_body: int | None = None
    ) -> None:
        self._plan = tuple(plan_to_lines(part))
        self._access = connection
        self.bytes_per_s = bytes_per_s
        self.max_body = max_body
        self.version = __version__

    def __repr__(self) -> str:
        return "ClusterTask(***)"

    def __getstate__(self) -> dict[str, Any]:
        site = self._access
        access = (site.url, site.user, site.password.reveal(), site.verify_tls, site.alias)
        return {
            "plan": self._plan,
            "access": access,
            "limits": (self.bytes_per_s, self.max_body),
            "version": self.version,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        url, user, password, verify_tls, alias = state["access"]
        self._access = Connection(url, user, Secret(password), verify_tls, alias=alias)
        self._plan = state["plan"]
        self.bytes_per_s, self.max_body = state["limits"]
        self.version = state["version"]

    @property
    def connection(self) -> Connection:
        """Server and account."""
        return self._access

    @property
    def part(self) -> Plan:
        """One subject of a plan."""
        return plan_from_lines(self._plan)


@dataclass(frozen=True, slots=True)
class TaskReport:
    """The result of a task.

    Attributes:
        receipts: One for each step that sends.
        verdicts: One for each file.
        left: Files that differ on the server and were not changed.
        tries: How many workers have started it.
        worker: The worker that finished it.
    """

    receipts: tuple[Receipt, ...]
    verdicts: tuple[Verdict, ...]
    left: frozenset[Address] = frozenset()
    tries: int = 1
    worker: str = ""


def run_task(cluster_task: ClusterTask, name: str) -> TaskReport:
    """Push one subject; errors are returned as receipts. *name* is the key of the task."""
    part, tries = cluster_task.part, _tries(name)
    with _cancel_event(name) as stop:
        try:
            _check_worker(cluster_task.version, part)
            with _OneSubject(cluster_task.connection, part) as remote:
                rate_limit = None if cluster_task.bytes_per_s is None else RateLimit(cluster_task.bytes_per_s)
                report = _push_subject(part, remote, tries, stop, rate_limit=rate_limit, max_body=cluster_task.max_body)
        except XnatferryError as error:
            report = failed(part, error)
    return replace(report, tries=tries, worker=get_worker().address)


def _push_subject(
    part: Plan, remote: Remote, tries: int, stop: threading.Event, *, rate_limit: RateLimit | None, max_body: int | None
) -> TaskReport:
    pauses = _PAUSES_S if tries > 1 else ()
    for pause in (0.0, *pauses):
        stop.wait(pause)
        left = recheck(part, remote, workers=1)
        result = carry_out(left, remote, workers=1, stop=stop, rate_limit=rate_limit, max_body=max_body)
        kept = any(receipt.outcome is Outcome.KEPT for receipt in result.receipts)
        if result.stopped or not (result.failures or result.unproven or kept):
            break
    return _report(part, left, result, by_lost_worker=tries > 1)


def _report(part: Plan, left: Plan, result: PushResult, *, by_lost_worker: bool) -> TaskReport:
    """Receipts of this try, and of what existed before it: made by the lost worker (*by_lost_worker*), or by others.

    The last request of a lost worker may be processed during this try: then its object is found, and counts as ours.
    """
    known = {receipt.address for receipt in result.receipts}
    there = {step.address: step for step in left.steps if step.decision is Decision.SAME and step.address not in known}
    sizes = {verdict.address: verdict.size_bytes for verdict in result.verdicts}
    found = [
        _receipt_of(step, there[step.address], sizes.get(step.address, 0), ours=by_lost_worker)
        for step in part.steps
        if step.sends and step.address in there
    ]
    done = result.receipts
    if by_lost_worker:
        done = tuple(replace(r, outcome=Outcome.CREATED) if r.outcome is Outcome.FOUND else r for r in done)
    return TaskReport((*found, *done), result.verdicts, result.left)


def _receipt_of(step: Step, found: Step, size_bytes: int, *, ours: bool) -> Receipt:
    """The receipt of *step*, *found* there with *size_bytes*."""
    if not ours:
        return Receipt(step.address, Outcome.FOUND)
    if step.payload is None:
        return Receipt(step.address, Outcome.CREATED if step.decision is Decision.CREATE else Outcome.CHANGED)
    held = found.payload.held_digest if found.payload is not None else None
    if held is not None:  # as it was compressed by the lost worker
        return Receipt(step.address, Outcome.STORED, size_bytes, held)
    sent = fingerprint(step.payload.local, gzip=step.payload.gzip)
    return Receipt(step.address, Outcome.STORED, sent.size_bytes, sent.digest)


def failed(part: Plan, error: XnatferryError) -> TaskReport:
    """The report of a part that could not be pushed; it is unknown what lost workers did."""
    subject, message = subject_of(part), str(error)
    first = replace(Receipt.failed(subject, error), may_have_acted=True)
    why = f"not sent: {subject} could not be pushed"
    others = [s.address for s in part.steps if s.sends and s.address != subject]
    receipts = [replace(first, address=address, message=why) for address in others]
    verdicts = [Verdict(step.address, Proof.UNKNOWN, message=message) for step in part.files]
    return TaskReport((first, *receipts), tuple(verdicts))


def running_tasks() -> int:
    """How many of our tasks this worker still runs, cancelled or not."""
    return len(_running)


def run_of(name: str) -> str:
    """The push that a task belongs to, by the key of the task: ``PUSH-7``."""
    return name.rpartition("-")[0]


def _tries(name: str) -> int:
    """How many workers have started this task, including this one. The scheduler stores the number."""
    worker, where = get_worker(), [run_of(name), name]
    tries = int(sync(worker.loop, worker.scheduler.get_metadata, keys=where, default=0)) + 1
    sync(worker.loop, worker.scheduler.set_metadata, keys=where, value=tries)
    return tries


@contextmanager
def _cancel_event(name: str) -> Iterator[threading.Event]:
    """An event that is set when the task is cancelled, or the push itself was killed.

    Dask cannot stop a thread: it marks a cancelled task and lets it run.
    """
    worker, stop, over = get_worker(), threading.Event(), threading.Event()

    def watch() -> None:
        while not over.wait(_POLL_S):
            task = worker.state.tasks.get(name)
            if task is None or task.state == "cancelled":
                stop.set()
                return

    watcher = threading.Thread(target=watch, name=f"watch-{name}", daemon=True)
    _running.add(name)
    watcher.start()
    try:
        yield stop
    finally:
        over.set()
        watcher.join()
        _running.discard(name)


def _check_worker(version: str, part: Plan) -> None:
    """Look whether this worker is like the others: it may have come after they were asked.

    Raises:
        UsageError: It has another xnatferry, or does not see the files.
    """
    if version != __version__:
        raise UsageError(f"the worker on {socket.gethostname()} has xnatferry {__version__}, the push has {version}")
    path = first_file(part)
    if path is not None and not path.exists():
        raise UsageError(f"the worker on {socket.gethostname()} does not see {path}")


class _OneSubject(Remote):
    """A site that is asked for one subject only: listings of a whole project, fetched by each task, grow as its square.

    The project is known to be there.
    """

    def __init__(self, connection: Connection, part: Plan) -> None:
        super().__init__(connection)
        self._subject = subject_of(part)
        sessions = {step.address.session: step.address.session for step in part.steps}
        self._sessions = [session for session in sessions if session is not None]

    def project_exists(self, project: str) -> bool:  # noqa: ARG002  # the shape of a destination
        return True

    def read_project(self, project: str, **_: object) -> ProjectListing:  # noqa: ARG002
        held = self.item(self._subject)
        subjects = [] if held is None else [{"ID": held.get("ID", ""), "label": self._subject.subject or ""}]
        labels = {row["ID"]: row["label"] for row in subjects}
        sessions: list[Row] = []
        for label in self._sessions:
            held = self.item(replace(self._subject, session=label))
            if held is not None:
                # A session is found by its label anywhere in the project: its own field says whose it is.
                owner = held.get("subject_ID", "")
                known = labels.get(owner, owner)
                sessions.append({"label": label, "subject_label": known, "xsiType": held.get("xsi:type", "")})
        return ProjectListing(tuple(subjects), tuple(sessions))
