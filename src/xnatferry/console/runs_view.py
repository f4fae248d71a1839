"""Past runs and undo plans, as text and as JSON records."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from xnatferry.console.result_view import proof_counts, verdict_lines
from xnatferry.planning.undo_plan import UndoAction
from xnatferry.transfer.events import Outcome
from xnatferry.wording import counted, human_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xnatferry.planning.undo_plan import UndoPlan
    from xnatferry.transfer.events import Receipt
    from xnatferry.transfer.runs import Run

_STYLES = {UndoAction.REMOVE: "red", UndoAction.RESTORE: "yellow", UndoAction.STAY: "dim", UndoAction.GONE: "dim"}
_VERDICTS = {
    "done": "green",
    "interrupted": "yellow",
    "running": "yellow",
    "stopped": "yellow",
    "partly refused": "yellow",
}


def runs_lines(runs: Sequence[Run]) -> Iterator[Text]:
    """One line a run: name, command, project, server, counts, result."""
    for run in runs:
        line = Text(run.name)
        line.append(f"  {_where(run)}", style="dim")
        if "share" in run.attributes:
            line.append(f"  share {run.attributes['share']}")
        line.append(f"  {_counts(run)}")
        line.append(f"  {run.verdict}", style=_VERDICTS.get(run.verdict, "bold red"))
        yield line


def run_lines(run: Run, *, everything: bool) -> Iterator[Text]:
    """One run: its attributes, what failed, its verdicts."""
    yield from (Text(f"{name:<10} {value}") for name, value in run.attributes.items() if name != "version")
    yield Text(f"{'verdict':<10} {run.verdict}", style=_VERDICTS.get(run.verdict, "bold red"))
    for receipt in run.receipts():
        if everything or receipt.exit_code:
            message = f"  {receipt.message}" if receipt.message else ""
            yield Text(
                f"{receipt.outcome.value:<9}{receipt.address}{message}", style="red" if receipt.exit_code else ""
            )
    yield from verdict_lines(verdict for verdict in run.verdicts() if everything or not verdict.proof.good)
    yield Text(_counts(run))
    if proofs := run.counts.proofs:
        yield proof_counts(proofs)


def _where(run: Run) -> str:
    server = "local archive" if run.attributes.get("local") else str(run.attributes.get("server", ""))
    return f"{run.attributes.get('verb')} {run.attributes.get('project', '')} -> {server}"


def _counts(run: Run) -> str:
    counts = run.counts
    stored, removed = counts.outcomes[Outcome.STORED.value], counts.outcomes[Outcome.REMOVED.value]
    parts = [f"{counted(stored, 'file')}, {human_bytes(counts.stored_bytes)}"]
    if run.attributes.get("verb") == "undo":
        parts = [f"{counted(removed, 'object')} removed"]
    if counts.failed:
        parts.append(f"{counts.failed} failed")
    return ", ".join(parts)


def run_record(run: Run) -> dict[str, object]:
    """A run as one JSON record."""
    counts, end = run.counts, run.end
    return {
        "record": "run",
        **run.attributes,
        "run": run.name,
        "outcomes": dict(counts.outcomes),
        "verdicts": dict(counts.proofs),
        "verdict": run.verdict,
        "exit_code": None if end is None else end.get("exit_code"),
    }


def undo_lines(plan: UndoPlan) -> Iterator[Text]:
    """One line a step: what is removed or restored; what is not changed, and why."""
    for step in plan.steps:
        line = Text.assemble((step.action.value, _STYLES[step.action]), f" {step.address.level} {step.address}")
        if step.fields:
            back = ", ".join(f"{path} = {value!r}" for path, value in step.fields.items())
            line.append(f"  restore {back}", style="yellow")
        if step.reason:
            line.append(f"  {step.reason}", style="dim")
        yield line
    counts = Counter(step.action for step in plan.steps)
    yield Text(
        f"{counts[UndoAction.REMOVE]:,} to remove, {counts[UndoAction.RESTORE]:,} to restore, "
        f"{counts[UndoAction.STAY]:,} unchanged"
    )


def undo_records(plan: UndoPlan) -> Iterator[dict[str, object]]:
    """One record a step."""
    for step in plan.steps:
        yield {
            "record": "undo",
            "address": str(step.address),
            "level": step.address.level.value,
            "fate": step.action.name.lower(),
            "reason": step.reason,
        }


def undo_result_lines(receipts: Sequence[Receipt], plan: UndoPlan) -> Iterator[Text]:
    """The result of an undo."""
    for receipt in receipts:
        if receipt.exit_code:
            yield Text(f"failed   {receipt.address}  {receipt.message}", style="bold red")
    restored = sum(receipt.outcome is Outcome.RESTORED for receipt in receipts)
    removed = sum(receipt.exit_code == 0 for receipt in receipts) - restored
    parts = [f"{counted(removed, 'object')} removed"]
    parts += [f"{restored:,} restored"] if restored else []
    parts += [f"{len(plan.stays):,} unchanged (reasons above)"] if plan.stays else []
    yield Text(f"Undone: {', '.join(parts)}")


def undone_record(run: str, receipts: Sequence[Receipt], plan: UndoPlan, exit_code: int) -> dict[str, object]:
    """The result of an undo as a JSON record."""
    return {
        "record": "result",
        "run": run,
        "removed": sum(receipt.exit_code == 0 for receipt in receipts),
        "failed": sum(receipt.exit_code != 0 for receipt in receipts),
        "stayed": len(plan.stays),
        "exit_code": exit_code,
    }
