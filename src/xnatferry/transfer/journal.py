"""The journal of a run: a folder with what is needed to show, verify and undo the run.

    RUNS/20260131-120000-push-BRAIN/
      plan.json       the plan, as ``plan -o`` writes it
      run.json        who, what, where; with it the folder is a run to others, so everything before it is written first
      journal.jsonl   one line for every step begun, every receipt, every verdict; the last line is the end, with counts
      run.log         the same as text: what was created, errors, repeated requests
      backup/         old bytes of replaced files, with ``--backup``

A line that says *began* is on the disk (fsync) before the request leaves: whatever a killed run made on the server is
named in its journal. Threads that wait for the disk at the same time share one flush, and none waits to write a line.
The journal is locked as long as its process lives, so that others tell a run that goes on from one that was killed.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from errno import ENOSPC
from typing import TYPE_CHECKING, Any, Self

from xnatferry import __version__
from xnatferry.durable import flush_files, flush_folders, replacing, try_lock
from xnatferry.errors import JournalError
from xnatferry.planning.plan_file import write_plan
from xnatferry.transfer.earlier_runs import EarlierRuns
from xnatferry.transfer.events import Began, BytesSent, Event, Receipt, Stage, Verdict
from xnatferry.transfer.log_file import RunLogFile, log_event
from xnatferry.transfer.runs import read_run
from xnatferry.transfer.step_counts import Counts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from xnatferry.planning.plan import Plan

_encode = json.JSONEncoder(ensure_ascii=False).encode


class Journal:
    """Writes the journal of one run; call it with events. Safe for any number of threads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._written = 0
        self._durable = 0
        self._stream = (folder / "journal.jsonl").open("ab", buffering=0)
        with suppress(OSError):  # a file system without locks
            try_lock(self._stream.fileno())
        self._log = RunLogFile(folder)
        self._counts = Counts()

    @classmethod
    def begin(cls, runs: Path, verb: str, about: Mapping[str, Any], *, plan: Plan | None = None) -> Self:
        """Make the folder of a new run.

        Args:
            runs: The folder that holds all runs.
            verb: What the run does: ``push``, ``undo`` ...
            about: Attributes of the run: source, server, project; no secrets.
            plan: What it is going to do.

        Raises:
            JournalError: The folder cannot be made.
        """
        now = datetime.now(UTC)
        name = f"{now:%Y%m%d-%H%M%S}-{verb}-{about.get('project', '')}".rstrip("-")
        try:
            folder = _new_folder(runs, name)
            attributes = {
                "version": 1,
                "run": folder.name,
                "verb": verb,
                "started": _stamp(now),
                "xnatferry": __version__,
            }
            if plan is not None:
                write_plan(plan, folder / "plan.json", made=_stamp(now))
            journal = cls(folder)
            with ExitStack() as undone:
                undone.callback(journal.close)
                with replacing(folder / "run.json") as part:
                    part.write_text(json.dumps({**attributes, **about}, indent=1) + "\n", encoding="utf-8")
                flush_files([folder / "journal.jsonl"], folder)
                flush_folders([folder, runs])
                undone.pop_all()
        except OSError as error:
            raise _unwritable(runs, error) from error
        return journal

    @property
    def name(self) -> str:
        """Name of the run, as other commands take it."""
        return self.folder.name

    @property
    def earlier(self) -> EarlierRuns:
        """Earlier runs to the same project."""
        about = read_run(self.folder).attributes
        server, project = str(about.get("server", "")), str(about.get("project", ""))
        return EarlierRuns(self.folder.parent, server, project, bool(about.get("local")), before=self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __call__(self, event: Event) -> None:
        """Write one event, except `BytesSent`.

        Raises:
            JournalError: It cannot be written; the run must stop.
        """
        if not isinstance(event, BytesSent):
            log_event(event)
            self._write(event_to_dict(event), durable=isinstance(event, Began))
            with self._lock:
                self._counts.take(event)

    def note(self, record: Mapping[str, Any]) -> None:
        """Write another record, flushed to the disk."""
        self._write(dict(record), durable=True)

    def end(self, exit_code: int, **more: Any) -> None:
        """Write the last line: the exit code, and the counts for the list of runs."""
        self._write({"record": "end", "exit_code": exit_code, **more, "counts": self._counts.to_dict()}, durable=True)

    def close(self) -> None:
        """Close the file."""
        with self._flushing, self._lock:
            if not self._stream.closed:
                self._stream.close()
                self._log.close()

    def _write(self, record: dict[str, Any], *, durable: bool) -> None:
        line = (_encode({"at": _stamp(datetime.now(UTC)), **record}) + "\n").encode(errors="surrogatepass")
        with self._lock:
            self._check_open()
            try:
                if self._stream.write(line) != len(line):  # the disk is full
                    raise OSError(ENOSPC, os.strerror(ENOSPC))  # noqa: TRY301  # as the next write would
            except OSError as error:
                raise _unwritable(self.folder, error) from error
            self._written += 1
            number = self._written
        if durable:
            self._flush_to(number)

    def _flush_to(self, number: int) -> None:
        """Return when line *number* is on the disk; one flush serves all waiting threads."""
        with self._flushing:
            if self._durable >= number:
                return
            self._check_open()
            with self._lock:
                newest = self._written
            try:
                os.fsync(self._stream.fileno())
            except OSError as error:
                # A second fsync may succeed although lines are lost, so the run must stop.
                with self._lock:
                    self._stream.close()
                raise _unwritable(self.folder, error) from error
            self._durable = newest

    def _check_open(self) -> None:
        if self._stream.closed:
            raise JournalError(f"{self.folder}: the run has ended; its journal cannot be continued")


def event_to_dict(event: Began | Receipt | Verdict | Stage) -> dict[str, Any]:
    """An event as JSON members; `xnatferry.transfer.runs` reads them back."""
    if isinstance(event, Began):
        return {"record": "began", "addresses": [str(address) for address in event.addresses]}
    if isinstance(event, Receipt):
        unsure = {"may_have_acted": event.may_have_acted} if event.exit_code else {}
        return {
            "record": "receipt",
            "address": str(event.address),
            "outcome": event.outcome.value,
            "size_bytes": event.size_bytes,
            "digest": event.digest,
            "message": event.message,
            "exit_code": event.exit_code,
            **unsure,
        }
    if isinstance(event, Verdict):
        return {
            "record": "verdict",
            "address": str(event.address),
            "proof": event.proof.value,
            "good": event.proof.good,
            "size_bytes": event.size_bytes,
            "message": event.message,
        }
    return {"record": "stage", "name": event.name, "detail": event.detail}


def _new_folder(runs: Path, name: str) -> Path:
    runs.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in range(1, 1000):
        folder = runs / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder
    raise FileExistsError(name)


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"{path}: cannot write the journal ({error.strerror or error}); the run was stopped")
