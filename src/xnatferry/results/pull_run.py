"""Carries out a pull: parallel downloads, each verified before it gets its final name."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from xnatferry.client.downloads import WantedFile
from xnatferry.errors import (
    DiskFullError,
    NotFoundError,
    RefusedError,
    StoppedError,
    TransferError,
    VerifyError,
    XnatferryError,
    joint_exit_code,
)
from xnatferry.planning.plan import Decision
from xnatferry.results.pull_plan import check_pullable
from xnatferry.results.zip_batches import resource_batches, zip_batches
from xnatferry.transfer.events import BytesSent, Listener, Outcome, Proof, Receipt, Stage, Verdict, emitter
from xnatferry.transfer.task_pool import TaskPool, Work
from xnatferry.wording import counted
from xnatferry.xnat.labels import is_encoded, is_plain_name
from xnatferry.xnat.model import quote_name

if TYPE_CHECKING:
    from xnatferry.client.remote import Remote
    from xnatferry.results.pull_plan import PullFile, PullPlan
    from xnatferry.results.zip_batches import ZipBatch

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PullResult:
    """Receipts and verdicts of a pull.

    Attributes:
        receipts: One for each file to download.
        verdicts: One for each file of the plan.
        missing: Files that were not downloaded.
        disk_full: Whether the disk was full.
        stopped: Whether the user stopped it.
        refused: Exit code of files that cannot be stored on this disk or have no address; 0 if there are none.
    """

    receipts: tuple[Receipt, ...]
    verdicts: tuple[Verdict, ...]
    missing: tuple[PullFile, ...] = ()
    disk_full: bool = False
    stopped: bool = False
    refused: int = 0

    @property
    def failures(self) -> tuple[Receipt, ...]:
        """Receipts of failed downloads."""
        return tuple(receipt for receipt in self.receipts if receipt.exit_code)

    @property
    def exit_code(self) -> int:
        """Exit code of the command line."""
        if self.stopped:
            return StoppedError.exit_code
        code = joint_exit_code(receipt.exit_code for receipt in self.receipts)
        return code or self.refused


def fetch_all(
    plan: PullPlan,
    remote: Remote,
    *,
    workers: int = 4,
    listener: Listener = lambda _: None,
    journal: Listener = lambda _: None,
    stop: threading.Event | None = None,
) -> PullResult:
    """Carry out *plan*.

    Args:
        plan: The files to download.
        remote: The server.
        workers: How many files are downloaded at the same time.
        listener: Called with every event, from one thread at a time; its errors are logged and ignored.
        journal: Called with every event; its failure ends the run.
        stop: Set it to stop: unfinished downloads are deleted.

    Raises:
        ConflictError: Local files differ and the policy is to fail; nothing has been written.
    """
    check_pullable(plan)
    return _Fetch(plan, remote, listener, journal, stop or threading.Event()).run(workers)


class _Fetch:
    def __init__(
        self, plan: PullPlan, remote: Remote, listener: Listener, journal: Listener, stop: threading.Event
    ) -> None:
        self._plan = plan
        self._remote = remote
        self._emit = emitter(journal, listener)
        self._stop = stop
        self._full = threading.Event()
        self._lock = threading.Lock()
        self._receipts: dict[PullFile, Receipt] = {}
        self._unserved: dict[PullFile, XnatferryError] = {}
        #: XNAT searches a name as it is in the URL first, so the escaped URL of another name finds these files.
        self._encoded = {file.address for file in plan.files if is_encoded(file.address.file or "")}

    def run(self, workers: int) -> PullResult:
        files = self._plan.fetched
        self._emit(Stage("fetch", counted(len(files), "file")))
        batches = zip_batches(self._plan, workers, self._remote.url_path)
        together = {file for batch in batches for file in batch.files}
        alone = [partial(self._fetch, file) for file in files if file not in together]
        TaskPool(workers, self._stop).run([*(partial(self._fetch_zip, batch) for batch in batches), *alone])
        if self._unserved and not self._stop.is_set():
            last = resource_batches(self._unserved, self._remote.url_path)
            TaskPool(workers, self._stop).run([partial(self._fetch_zip, batch, last=True) for batch in last])
        return self._result()

    def _fetch_zip(self, batch: ZipBatch, *, last: bool = False) -> list[Work]:
        """Download a zip; returns the downloads of files that it lacked, unless they failed before (*last*)."""
        index, left = batch.index(), set(batch.files)

        def choose(member: str) -> WantedFile | None:
            self._check_stop()
            file = index.find(member)
            return self._wanted(file) if file in left else None

        def done(wanted: WantedFile, digest: str) -> None:
            file = by_address[wanted.address]
            left.discard(file)
            self._receive(file, Receipt(file.address, Outcome.STORED, file.held.size_bytes, digest))

        by_address = {file.address: file for file in batch.files}
        try:
            self._check_usable()
            self._remote.fetch_zip(batch.path, choose, done)
        except XnatferryError as error:
            log.info("%s: zip download failed: %s", batch.path, error)
            if isinstance(error, DiskFullError):
                self._full.set()
        if not last:
            return [partial(self._fetch, file) for file in batch.files if file in left]
        for file in left:
            self._receive(file, Receipt.failed(file.address, self._unserved[file]))
        return []

    def _fetch(self, file: PullFile) -> None:
        try:
            self._check_usable()
            wanted = self._wanted(file)
            if (
                not is_encoded(file.address.file or "")
                and (other := replace(file.address, file=quote_name(file.address.file or ""))) in self._encoded
            ):
                raise VerifyError(f"{file.address}: its URL is that of {other.file}")
            digest = self._remote.fetch(file.address, file.held, file.target, replace=wanted.replace, seen=wanted.seen)
        except XnatferryError as error:
            if isinstance(error, DiskFullError):
                self._full.set()
            if _is_unserved(error, file):
                self._unserved[file] = error
            else:
                self._receive(file, Receipt.failed(file.address, error))
            return
        self._receive(file, Receipt(file.address, Outcome.STORED, file.held.size_bytes, digest))

    def _wanted(self, file: PullFile) -> WantedFile:
        return WantedFile(
            file.address,
            file.held,
            file.target,
            replace=file.decision is Decision.UPDATE,
            seen=lambda size: self._seen(file, size),
        )

    def _receive(self, file: PullFile, receipt: Receipt) -> None:
        with self._lock:
            self._receipts[file] = receipt
        self._emit(receipt)

    def _check_usable(self) -> None:
        self._check_stop()
        if self._full.is_set():
            raise TransferError("not downloaded: the disk is full")

    def _seen(self, file: PullFile, size_bytes: int) -> None:
        self._check_stop()
        self._emit(BytesSent(file.address, size_bytes))

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError("Stopped by the user")

    def _result(self) -> PullResult:
        verdicts = tuple(_verdict(file, self._receipts.get(file)) for file in self._plan.files)
        for verdict in verdicts:
            self._emit(verdict)
        done = {file for file, receipt in self._receipts.items() if not receipt.exit_code}
        return PullResult(
            tuple(self._receipts.values()),
            verdicts,
            missing=tuple(file for file in self._plan.fetched if file not in done),
            disk_full=self._full.is_set(),
            stopped=self._stop.is_set(),
            refused=self._plan.refused,
        )


def _is_unserved(error: XnatferryError, file: PullFile) -> bool:
    """Whether the server may have the file, but not under its URL.

    XNAT 1.8.11 answers 500 for names with "%" or ";", and can return another file for a name that needs escapes.
    """
    if isinstance(error, (NotFoundError, RefusedError)):
        return error.status is not None
    return isinstance(error, VerifyError) and not is_plain_name(file.address.file or "")


def _verdict(file: PullFile, receipt: Receipt | None) -> Verdict:
    """The verdict of a local file."""
    if receipt is not None and receipt.outcome is Outcome.STORED:
        return Verdict(file.address, _proof(file), receipt.size_bytes)
    if receipt is not None or file.decision is Decision.CREATE:
        proof = Proof.DIFFERS if receipt is not None and receipt.exit_code == VerifyError.exit_code else Proof.MISSING
        return Verdict(file.address, proof, message="" if receipt is None else receipt.message)
    if file.decision is Decision.SAME:
        return Verdict(file.address, _proof(file), file.held.size_bytes, file.reason)
    return Verdict(file.address, Proof.DIFFERS, file.held.size_bytes, file.reason)


def _proof(file: PullFile) -> Proof:
    return Proof.DIGEST if (file.held.digest or file.held.content_digest) is not None else Proof.SIZE
