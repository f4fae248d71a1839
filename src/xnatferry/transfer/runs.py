"""Past runs, read from their journals."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xnatferry.errors import JournalError, TransferError
from xnatferry.planning.plan import Decision, Plan, Step
from xnatferry.planning.reconcile import Fingerprint
from xnatferry.planning.stored import read_plan
from xnatferry.planning.undo import Deeds
from xnatferry.transfer.content import fingerprint
from xnatferry.transfer.events import Outcome, Proof, Receipt, Verdict
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Run", "list_runs", "read_run"]


@dataclass(frozen=True, slots=True)
class Run:
    """One past run.

    Attributes:
        folder: Its journal's folder; the name is the run's.
        facts: ``run.json``: verb, started, server, project, source.
        records: The journal's lines, in order; a line that a crash cut off is left out.
    """

    folder: Path
    facts: Mapping[str, Any]
    records: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name

    @property
    def undoable(self) -> bool:
        """Whether it is of a kind that can be taken back: a push or a copy."""
        return self.facts.get("verb") in {"push", "copy"}

    @property
    def end(self) -> Mapping[str, Any] | None:
        """The last line of a run that came to its end; None for one that was killed, or is still running."""
        return self.records[-1] if self.records and self.records[-1].get("record") == "end" else None

    @property
    def verdict(self) -> str:
        """One word or two on how it ended."""
        if self.end is None:
            return "interrupted"
        code = self.end.get("exit_code")
        words = {0: "done", 6: "conflict", 7: "partly refused", 8: "unproven", 130: "stopped"}
        return words.get(code, "failed") if isinstance(code, int) else "failed"

    @property
    def plan(self) -> Plan | None:
        """Its plan; None for runs that have none."""
        path = self.folder / "plan.json"
        return read_plan(path) if path.exists() else None

    def receipts(self) -> Iterator[Receipt]:
        """What was done, in order."""
        for record in self.records:
            if record.get("record") == "receipt":
                yield Receipt(
                    Address.parse(record["address"]),
                    Outcome(record["outcome"]),
                    record["size_bytes"],
                    record["digest"],
                    record["message"],
                    record.get("exit_code", 0),
                )

    def verdicts(self) -> Iterator[Verdict]:
        """The proofs of its files."""
        for record in self.records:
            if record.get("record") == "verdict":
                proof = Proof(record["proof"])
                yield Verdict(Address.parse(record["address"]), proof, record["size_bytes"], record["message"])

    def deeds(self) -> Deeds:
        """What it made, stored, replaced and changed; a step that was begun and has no receipt counts as done."""
        plan = self.plan
        steps = {} if plan is None else {step.address: step for step in plan.steps}
        done = {receipt.address: receipt for receipt in self.receipts()}
        begun = {
            Address.parse(text)
            for record in self.records
            if record.get("record") == "began"
            for text in record["addresses"]
        }
        created: dict[Address, Mapping[str, str]] = {}
        stored: dict[Address, Fingerprint] = {}
        replaced: dict[Address, Fingerprint] = {}
        changed: dict[Address, Mapping[str, tuple[str, str]]] = {}
        uncertain: set[Address] = set()
        for address in begun | set(done):
            step, receipt = steps.get(address), done.get(address)
            if receipt is not None and receipt.outcome in _DID_NOTHING:
                continue
            if receipt is not None and receipt.outcome is Outcome.STOPPED and address not in begun:
                continue
            if step is None:  # the receipt of the run itself, which is in no plan
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
        backups = {
            Address.parse(record["address"]): self.folder / record["path"]
            for record in self.records
            if record.get("record") == "backup"
        }
        return Deeds(created, stored, replaced, changed, backups, frozenset(uncertain))


_DID_NOTHING = {Outcome.FOUND, Outcome.KEPT}


def _sent(step: Step, receipt: Receipt | None) -> Fingerprint | None:
    """Size and MD5 of a file as it was sent; of one that was on its way when the run was killed, as it would be."""
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
    """All runs below *runs*, newest first; folders that are none are left out."""
    if not runs.is_dir():
        return []
    found = [read_run(folder) for folder in runs.iterdir() if (folder / "run.json").is_file()]
    return sorted(found, key=lambda run: (str(run.facts.get("started")), run.name), reverse=True)


def read_run(folder: Path) -> Run:
    """The run that is kept in *folder*.

    Raises:
        JournalError: It cannot be read.
    """
    try:
        facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        journal = folder / "journal.jsonl"
        lines = journal.read_text(encoding="utf-8", errors="replace").splitlines() if journal.exists() else []
    except (OSError, ValueError) as error:
        raise JournalError(f"{folder}: the journal of this run cannot be read ({error})") from error
    return Run(folder, facts, tuple(_records(lines)))


def _records(lines: list[str]) -> Iterator[Mapping[str, Any]]:
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the machine went down while it was written
        if isinstance(record, dict):
            yield record
