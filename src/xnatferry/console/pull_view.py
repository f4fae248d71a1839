"""Output of a pull: its plan, its progress, its result."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from xnatferry.console.plan_view import STYLES, refusal_lines
from xnatferry.console.result_view import verdict_counts, verdict_lines
from xnatferry.planning.plan import Decision
from xnatferry.transfer.events import BytesSent, Event, Outcome, Receipt
from xnatferry.wording import counted, human_bytes, human_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from rich.console import Console

    from xnatferry.results.pull_plan import PullFile, PullPlan
    from xnatferry.results.pull_run import PullResult
    from xnatferry.xnat.model import Address

#: Missing files that are named one by one; the others are counted.
_NAMED = 10


class PullProgress:
    """A bar on *console*, when that is a terminal. Use it as a context manager and call it with events."""

    def __init__(self, console: Console, plan: PullPlan) -> None:
        columns = (TaskProgressColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *columns,
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("fetching", total=plan.fetched_bytes or None)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, BytesSent):
            self._bar.advance(self._task, event.size_bytes)
        elif isinstance(event, Receipt) and event.outcome is Outcome.FAILED:
            self._bar.console.print(Text.assemble(("failed ", "red"), f"{event.address}: {event.message}"))


def pull_plan_lines(plan: PullPlan, *, everything: bool) -> Iterator[Text]:
    """One line a resource, the files that need a look, refusals, warnings, counts."""
    groups: dict[Address | None, list[PullFile]] = {}
    for file in plan.files:
        groups.setdefault(file.address.parent, []).append(file)
    for resource, files in groups.items():
        yield _resource_line(resource, files)
        for file in files:
            if everything or file.decision in {Decision.UPDATE, Decision.DIFFERS}:
                yield _file_line(file)
    yield from refusal_lines(plan.refusals)
    yield from (Text.assemble(("warning ", "yellow"), warning) for warning in plan.warnings)
    yield _counts(plan)


def _resource_line(resource: Address | None, files: Sequence[PullFile]) -> Text:
    decisions = {file.decision for file in files}
    order = (Decision.DIFFERS, Decision.UPDATE, Decision.CREATE, Decision.SAME)
    sign = next(decision for decision in order if decision in decisions)
    size = sum(file.held.size_bytes for file in files)
    line = Text.assemble((sign.value, STYLES[sign]), f" {resource}")
    return line.append(f"  {counted(len(files), 'file')}, {human_bytes(size)}", style="dim")


def _file_line(file: PullFile) -> Text:
    style = STYLES[file.decision]
    line = Text.assemble((f"  {file.decision.value}", style), f" {file.address.file}")
    line.append(f"  {human_bytes(file.held.size_bytes)}", style="dim")
    if file.decision is Decision.SAME:
        line.append(f"  exists here{f' ({file.reason})' if file.reason else ''}", style="dim")
    elif file.reason:
        line.append(f"  ({file.reason})", style=style)
    return line


def _counts(plan: PullPlan) -> Text:
    counts = Counter(file.decision for file in plan.files)
    line = Text()
    for decision in (Decision.CREATE, Decision.UPDATE, Decision.SAME, Decision.DIFFERS):
        if counts[decision]:
            line.append(f"{decision.value} ", style=STYLES[decision]).append(f"{counted(counts[decision], 'file')}   ")
    if plan.refusals:
        line.append("! ", style=STYLES[Decision.REFUSED]).append(f"{counted(len(plan.refusals), 'file')} refused   ")
    return line.append(f"{human_bytes(plan.fetched_bytes)} to fetch into {plan.folder}")


def pull_plan_records(plan: PullPlan) -> Iterator[dict[str, object]]:
    """One record a file, one a refusal, one for all."""
    for file in plan.files:
        record: dict[str, object] = {
            "record": "file",
            "address": str(file.address),
            "path": str(file.target),
            "decision": file.decision.name.lower(),
            "size_bytes": file.held.size_bytes,
            "digest": file.held.digest,
        }
        yield {**record, "reason": file.reason} if file.reason else record
    for refusal in plan.refusals:
        yield {"record": "refused", "address": refusal.relative, "reasons": list(refusal.reasons)}
    yield {
        "record": "plan",
        "server": plan.server,
        "address": str(plan.address),
        "level": plan.address.level.value,
        "folder": str(plan.folder),
        "files": len(plan.files),
        "decisions": {d.name.lower(): n for d, n in Counter(file.decision for file in plan.files).items()},
        "refused": len(plan.refusals),
        "size_bytes": plan.fetched_bytes,
        "warnings": list(plan.warnings),
    }


def pull_lines(result: PullResult, plan: PullPlan, seconds: float) -> Iterator[Text]:
    """The summary of a pull: what was fetched, what is verified, what is missing."""
    fetched = [receipt for receipt in result.receipts if receipt.outcome is Outcome.STORED]
    size = sum(receipt.size_bytes for receipt in fetched)
    rate = size / seconds if seconds > 0 else 0.0
    messages = {receipt.address: receipt.message for receipt in result.failures}
    for file in result.missing[:_NAMED]:
        why = messages.get(file.address, "")
        yield Text.assemble(("missing ", "bold red"), str(file.address), (f"  {why}", "dim"))
    if len(result.missing) > _NAMED:
        yield Text(f"… and {counted(len(result.missing) - _NAMED, 'more file')}", style="dim")
    yield from verdict_lines([v for v in result.verdicts if v.proof.value == "differs" and not v.message])
    yield Text(
        f"{counted(len(fetched), 'file')} fetched, "
        f"{human_bytes(size)} in {human_seconds(seconds)} ({human_bytes(rate)}/s)"
    )
    yield verdict_counts(result.verdicts, where="")
    missing_bytes = sum(file.held.size_bytes for file in result.missing)
    if result.disk_full:
        yield Text(
            f"Disk full: {plan.folder}: {counted(len(result.missing), 'file', 'are')} missing "
            f"({human_bytes(missing_bytes)}). Free some space and run the same command again.",
            style="bold red",
        )
    elif result.stopped:
        yield Text("Stopped. Run the same command again to continue.", style="bold yellow")
    elif result.missing:
        yield Text(
            f"{counted(len(result.missing), 'file', 'are')} missing. Run the same command again.", style="bold red"
        )
    yield from unchanged_lines(plan)


def unchanged_lines(plan: PullPlan) -> Iterator[Text]:
    """Local files that a pull does not change, and files that it does not fetch."""
    if plan.conflicts:
        yield Text(
            f"{counted(len(plan.conflicts), 'local file', 'differ')} from the server; not changed", style="yellow"
        )
    if plan.refusals:
        yield Text(f"{counted(len(plan.refusals), 'file')} refused and not fetched (reasons above)", style="red")


def pull_record(result: PullResult, plan: PullPlan, seconds: float, run: str) -> dict[str, object]:
    """The result of a pull as a JSON record."""
    fetched = [receipt for receipt in result.receipts if receipt.outcome is Outcome.STORED]
    return {
        "record": "result",
        "run": run,
        "exit_code": result.exit_code,
        "seconds": round(seconds, 3),
        "fetched_files": len(fetched),
        "fetched_bytes": sum(receipt.size_bytes for receipt in fetched),
        "verdicts": {proof.value: n for proof, n in Counter(v.proof for v in result.verdicts).items()},
        "missing": [str(file.address) for file in result.missing],
        "refused": len(plan.refusals),
        "left": len(plan.conflicts),
        "disk_full": result.disk_full,
        "stopped": result.stopped,
    }
