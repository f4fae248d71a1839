"""The end of a push or a verification: what failed, what is proven, and how."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from xnatferry.console.wording import counted, human_bytes, human_seconds
from xnatferry.transfer.events import Outcome, Proof, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from xnatferry.transfer.engine import PushResult
    from xnatferry.xnat.model import Address

__all__ = ["nothing_record", "proof_counts", "push_lines", "push_record", "verdict_counts", "verdict_lines"]

_STYLES = {Proof.DIGEST: "green", Proof.SIZE: "yellow"}


def push_lines(result: PushResult, seconds: float) -> Iterator[Text]:
    """The summary of a push."""
    sent = [r for r in result.receipts if r.outcome is Outcome.STORED]
    rate = sum(r.size_bytes for r in sent) / seconds if seconds > 0 else 0.0
    for receipt in result.receipts:
        if receipt.outcome is Outcome.KEPT:
            yield Text(f"kept    {receipt.address}  {receipt.message}", style="yellow")
    yield from verdict_lines(result.unproven)
    size = human_bytes(sum(r.size_bytes for r in sent))
    yield Text(f"{counted(len(sent), 'file')} sent, {size} in {human_seconds(seconds)} ({human_bytes(rate)}/s)")
    yield verdict_counts(result.verdicts)
    if result.left:
        yield Text(
            f"{counted(len(result.left), 'file')} differ on the server and were left as they are", style="yellow"
        )
    if result.failures:
        yield Text(f"{counted(len(result.failures), 'step')} failed", style="bold red")
    if result.stopped:
        yield Text("stopped; the same command goes on where this one ended", style="bold yellow")


def verdict_lines(verdicts: Iterable[Verdict]) -> Iterator[Text]:
    """One line for each file that did not arrive as it should."""
    for verdict in verdicts:
        line = Text.assemble(
            (f"{verdict.proof.value:<8}", _STYLES.get(verdict.proof, "bold red")), str(verdict.address)
        )
        if verdict.message:
            line.append(f"  {verdict.message}", style="dim")
        yield line


def verdict_counts(verdicts: Sequence[Verdict]) -> Text:
    """How many files have which proof."""
    return proof_counts(Counter(verdict.proof.value for verdict in verdicts))


def proof_counts(counts: Mapping[str, int]) -> Text:
    """How many files have which proof, from their number by proof."""
    line = Text("verified: ")
    parts = [(proof, counts[proof.value]) for proof in Proof if counts.get(proof.value)]
    for index, (proof, number) in enumerate(parts):
        line.append(", " if index else "")
        line.append(f"{number:,} {proof.value}", style=_STYLES.get(proof, "bold red"))
    if not parts:
        line.append("nothing")
    return line


def nothing_record(verdicts: Sequence[Verdict], left: set[Address], exit_code: int) -> dict[str, object]:
    """The summary of a push that had nothing to do, as a JSON record."""
    return {
        "record": "result",
        "exit_code": exit_code,
        "sent_files": 0,
        "sent_bytes": 0,
        "files": len(verdicts),
        "verdicts": {proof.value: n for proof, n in Counter(v.proof for v in verdicts).items()},
        "left": len(left),
    }


def push_record(result: PushResult, seconds: float, exit_code: int, run: str) -> dict[str, object]:
    """The summary of a push as a JSON record."""
    return {
        "record": "result",
        "run": run,
        "exit_code": exit_code,
        "seconds": round(seconds, 3),
        "sent_files": sum(1 for r in result.receipts if r.outcome is Outcome.STORED),
        "sent_bytes": sum(r.size_bytes for r in result.receipts if r.outcome is Outcome.STORED),
        "verdicts": {proof.value: n for proof, n in Counter(v.proof for v in result.verdicts).items()},
        "failed": len(result.failures),
        "left": len(result.left),
        "stopped": result.stopped,
    }
