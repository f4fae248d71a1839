"""Past runs, read from their journals.

A journal has several lines per file, so it is not kept in memory: every access reads it again. The last line has the
exit code and the counts; a list of runs reads only this line.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xnatferry.durable import try_lock
from xnatferry.errors import ConflictError, JournalError, TransferError
from xnatferry.planning.plan import Decision, Plan, Step
from xnatferry.planning.plan_file import read_plan
from xnatferry.planning.remote_state import Fingerprint
from xnatferry.planning.undo_plan import RunEffects
from xnatferry.transfer.events import Outcome, Proof, Receipt, Verdict
from xnatferry.transfer.payload import fingerprint
from xnatferry.transfer.step_counts import Counts
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

#: Exit codes of steps that did nothing, in old journals: not permitted, not found, conflict, bad data.
_REFUSED = {0, 3, 4, 6, 7}
#: Bytes at the end of a journal that are read first to find its last line.
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Run:
    """One past run.

    Attributes:
        folder: Its journal's folder; the name is the run's.
        facts: ``run.json``: verb, started, server, project, source.
    """

    folder: Path
    attributes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    def records(self) -> Iterator[Mapping[str, Any]]:
        """The lines of the journal, in order; a line that was cut off by a crash is skipped.

        Raises:
            JournalError: It cannot be read.
        """
        try:
            with self._journal.open(encoding="utf-8", errors="replace", newline="\n") as lines:
                for line in lines:
                    if (record := _record(line)) is not None:
                        yield record
        except FileNotFoundError:
            return  # the run was killed before it wrote a journal
        except OSError as error:
            raise _unreadable(self.folder, error) from error

    @property
    def _journal(self) -> Path:
        return self.folder / "journal.jsonl"

    @property
    def undoable(self) -> bool:
        """Whether it can be undone: it is a push or a copy."""
        return self.attributes.get("verb") in {"push", "copy"}

    @property
    def end(self) -> Mapping[str, Any] | None:
        """The last line of a finished run; None for one that was killed or is still running.

        Raises:
            JournalError: It cannot be read.
        """
        try:
            last = _record(_last_line(self._journal))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(self.folder, error) from error
        return last if last is not None and last.get("record") == "end" else None

    @property
    def counts(self) -> Counts:
        """Number of steps by result: from the last line, else counted."""
        try:
            return Counts.from_dict((self.end or {})["counts"])
        except (KeyError, TypeError, AttributeError):  # killed, or written by an older version
            counted = Counts()
            for record in self.records():
                if (event := _event(record)) is not None:
                    counted.take(event)
            return counted

    @property
    def running(self) -> bool:
        """Whether the process that carries it out is alive; False also where the file system has no locks."""
        try:
            with self._journal.open("rb") as stream:
                return not try_lock(stream.fileno(), shared=True)
        except OSError:
            return False

    @property
    def unended(self) -> str:
        """What is said in place of a verdict as long as there is no end."""
        return "running" if self.running else "interrupted"

    @property
    def verdict(self) -> str:
        """The result of the run in one or two words."""
        end = self.end
        if end is None:
            return self.unended
        code = end.get("exit_code")
        words = {0: "done", 6: "conflict", 7: "partly refused", 8: "unproven", 130: "stopped"}
        return words.get(code, "failed") if isinstance(code, int) else "failed"

    @property
    def has_plan(self) -> bool:
        """Whether it has a plan, without reading it."""
        return (self.folder / "plan.json").exists()

    @property
    def plan(self) -> Plan | None:
        """Its plan, read at each access; None for runs without a plan."""
        return read_plan(self.folder / "plan.json") if self.has_plan else None

    def receipts(self) -> Iterator[Receipt]:
        """What was done, in order."""
        return (event for record in self.records() if isinstance(event := _event(record), Receipt))

    def verdicts(self) -> Iterator[Verdict]:
        """The verdicts of its files."""
        return (event for record in self.records() if isinstance(event := _event(record), Verdict))

    def effects(self) -> RunEffects:
        """What it made, stored, replaced and changed; a step that was begun and has no receipt counts as done.

        Raises:
            ConflictError: It is still running.
        """
        if self.running:
            raise ConflictError(f"{self.name}: is still running; wait for its end, or stop it first")
        plan = self.plan
        steps = {} if plan is None else {step.address: step for step in plan.steps}
        done = {receipt.address: receipt for receipt in self.receipts()}
        begun = self._begun(done)
        created: dict[Address, Mapping[str, str]] = {}
        stored: dict[Address, Fingerprint] = {}
        replaced: dict[Address, Fingerprint] = {}
        changed: dict[Address, Mapping[str, tuple[str, str]]] = {}
        uncertain: set[Address] = set()
        for address in begun | set(done):
            step, receipt = steps.get(address), done.get(address)
            if receipt is not None and _did_nothing(receipt, begun=address in begun):
                continue
            if step is None:  # the uploaded receipt of the run, which is not in the plan
                if receipt is not None and receipt.outcome is Outcome.CREATED:
                    created[address] = {}
                elif receipt is not None and receipt.digest is not None:
                    stored[address] = Fingerprint(receipt.size_bytes, receipt.digest)
                continue
            if not step.sends:
                continue
            if step.payload is None:
                if step.decision is Decision.CREATE:
                    created[address] = step.fields
                else:
                    changed[address] = step.changes
                continue
            sent = _sent(step, receipt)
            if sent is None:
                uncertain.add(address)
            elif step.decision is Decision.CREATE:
                stored[address] = sent
            else:
                replaced[address] = sent
        kept = {Address.parse(record["address"]): self.folder / record["path"] for record in self._records("backup")}
        return RunEffects(created, stored, replaced, changed, kept, frozenset(uncertain))

    def _begun(self, done: Mapping[Address, Receipt]) -> set[Address]:
        """Addresses of sent requests, without those in one request with an object that the server refused."""
        found: set[Address] = set()
        for record in self._records("began"):
            addresses = {Address.parse(text) for text in record["addresses"]}
            refused = [one for one in addresses & done.keys() if _is_refused(done[one])]
            found |= {
                one
                for one in addresses
                if one in done or not any(one.holds(other) or other.holds(one) for other in refused)
            }
        return found

    def _records(self, kind: str) -> Iterator[Mapping[str, Any]]:
        return (record for record in self.records() if record.get("record") == kind)


def _did_nothing(receipt: Receipt, *, begun: bool) -> bool:
    if receipt.outcome in {Outcome.FAILED, Outcome.STOPPED}:
        return not begun or _is_refused(receipt)
    return receipt.outcome in {Outcome.FOUND, Outcome.KEPT}


def _is_refused(receipt: Receipt) -> bool:
    return receipt.outcome in {Outcome.FAILED, Outcome.STOPPED} and not receipt.may_have_acted


def _sent(step: Step, receipt: Receipt | None) -> Fingerprint | None:
    """Size and MD5 of a file that was sent, or that was being sent when the run was killed."""
    payload = step.payload
    assert payload is not None  # noqa: S101  # file steps have one
    if receipt is not None and receipt.digest is not None:
        return Fingerprint(receipt.size_bytes, receipt.digest)
    if payload.local.digest is not None and not payload.gzip:
        return Fingerprint(step.size_bytes, payload.local.digest)
    try:
        return fingerprint(payload.local, gzip=payload.gzip)
    except TransferError:
        return None


def list_runs(runs: Path) -> list[Run]:
    """All runs below *runs*, newest first; other folders are skipped."""
    if not runs.is_dir():
        return []
    found = [read_run(folder) for folder in runs.iterdir() if (folder / "run.json").is_file()]
    return sorted(found, key=lambda run: (str(run.attributes.get("started")), run.name), reverse=True)


def read_run(folder: Path) -> Run:
    """The run that is kept in *folder*.

    Raises:
        JournalError: It cannot be read.
    """
    try:
        attributes = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error
    return Run(folder, attributes)


def _unreadable(folder: Path, error: Exception) -> JournalError:
    return JournalError(f"{folder}: cannot read the journal of this run ({error})")


def _record(line: str) -> dict[str, Any] | None:
    """The record of one line; None for an incomplete line."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _event(record: Mapping[str, Any]) -> Receipt | Verdict | None:
    """The receipt or verdict that a record holds; None for other records."""
    if record.get("record") == "receipt":
        return Receipt(
            Address.parse(record["address"]),
            Outcome(record["outcome"]),
            record["size_bytes"],
            record["digest"],
            record["message"],
            code := record.get("exit_code", 0),
            record.get("may_have_acted", code not in _REFUSED),
        )
    if record.get("record") == "verdict":
        proof = Proof(record["proof"])
        return Verdict(Address.parse(record["address"]), proof, record["size_bytes"], record["message"])
    return None


def _last_line(path: Path) -> str:
    """The last line of a file, read from its end; what follows the last line feed counts when there is anything."""
    with path.open("rb") as stream:
        place = stream.seek(0, os.SEEK_END)
        tail = b""
        while place and b"\n" not in tail.rstrip(b"\n"):
            place, upto = max(0, place - _TAIL_BYTES), place
            stream.seek(place)
            tail = stream.read(upto - place) + tail
    return tail.rstrip(b"\n").rpartition(b"\n")[2].decode("utf-8", "replace")
