"""The result of a push or a verification: what failed, what is verified, and how."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from xnatferry.transfer.events import Outcome, Proof, Verdict
from xnatferry.wording import EXAMPLES, counted, human_bytes, human_seconds, shortened

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from xnatferry.transfer.events import PushResult, Receipt
    from xnatferry.xnat.model import Address

_STYLES = {Proof.DIGEST: "green", Proof.SIZE: "yellow"}
#: Words for people; JSON records hold the values of `Proof`.
_WORDS = {
    Proof.DIGEST: "MD5 equal",
    Proof.SIZE: "size equal",
    Proof.MISSING: "missing",
    Proof.DIFFERS: "differs",
    Proof.UNKNOWN: "unknown",
}


def push_lines(result: PushResult, seconds: float) -> Iterator[Text]:
    """The summary of a push."""
    sent = [r for r in result.receipts if r.outcome is Outcome.STORED]
    rate = sum(r.size_bytes for r in sent) / seconds if seconds > 0 else 0.0
    for receipt in result.receipts:
        if receipt.outcome is Outcome.KEPT:
            yield Text(f"not replaced  {receipt.address}  {receipt.message}", style="yellow")
    yield from _changed_field_lines(result.changed_fields)
    yield from verdict_lines(result.unproven)
    size = human_bytes(sum(r.size_bytes for r in sent))
    yield Text(f"{counted(len(sent), 'file')} sent, {size} in {human_seconds(seconds)} ({human_bytes(rate)}/s)")
    yield verdict_counts([verdict for verdict in result.verdicts if verdict.address not in result.left])
    if result.left:
        yield Text(f"{counted(len(result.left), 'file', 'differ')} on the server; not changed", style="yellow")
    if result.failures:
        yield Text(f"{counted(len(result.failures), 'step')} failed", style="bold red")
    if result.stopped:
        yield Text("Stopped. Run the same command again to continue.", style="bold yellow")


def _changed_field_lines(changed: Sequence[Receipt]) -> Iterator[Text]:
    """Fields that the server stored differently; objects with the same changes share one line."""
    alike: dict[str, list[Receipt]] = {}
    for receipt in changed:
        alike.setdefault(receipt.message, []).append(receipt)
    for message, receipts in alike.items():
        more = f" and {len(receipts) - 1} more" if len(receipts) > 1 else ""
        yield Text(f"warning: {receipts[0].address}{more}: {message}", style="yellow")


def verdict_lines(verdicts: Iterable[Verdict], *, everything: bool = False) -> Iterator[Text]:
    """Verdict, address and reason of files: three of each kind, unless *everything* is wanted."""
    kinds: dict[tuple[Proof, str], list[Verdict]] = {}
    for verdict in verdicts:
        kinds.setdefault((verdict.proof, verdict.message), []).append(verdict)
    for (proof, message), alike in kinds.items():
        word = (f"{_WORDS[proof]:<12}", _STYLES.get(proof, "bold red"))
        for verdict in alike if everything else alike[:EXAMPLES]:
            address = str(verdict.address)
            why = shortened(message, len(address) + 14) if message else ""
            yield Text.assemble(word, address, (f"  {why}" if why else "", "dim"))
        if not everything and (more := len(alike) - EXAMPLES) > 0:
            yield Text.assemble(
                word, (f"{counted(more, 'more file')} of this kind; xnatferry verify -v lists all", "dim")
            )


def verdict_counts(verdicts: Sequence[Verdict], *, where: str = "on the server") -> Text:
    """One sentence: how many files are verified, and by what."""
    return proof_counts(Counter(verdict.proof.value for verdict in verdicts), where=where)


def proof_counts(counts: Mapping[str, int], *, where: str = "on the server") -> Text:
    """One sentence: how many files are verified, and by what.

    Args:
        counts: Number of files by value of `Proof`.
        where: Where files are missing or differ.
    """
    number = {proof: counts.get(proof.value, 0) for proof in Proof}
    good, by_size = number[Proof.DIGEST] + number[Proof.SIZE], number[Proof.SIZE]
    how = "MD5 equal" if not by_size else "size only" if by_size == good else f"{by_size:,} of them by size only"
    verified = f"{counted(good, 'file')} verified ({how})"
    at = f" {where}" if where else ""
    bad = [
        (number[Proof.MISSING], "are", f" missing{at}"),
        (number[Proof.DIFFERS], "differ", at),
        (number[Proof.UNKNOWN], "are", " not checked"),
    ]
    problems = [counted(count, "file", verb) + rest for count, verb, rest in bad if count]
    if problems:
        more = f"; {verified}" if good else ""
        return Text.assemble(("NOT verified: ", "bold red"), ", ".join(problems), more)
    if not good:
        return Text("No files to verify")
    return Text(verified, style="yellow" if by_size else "green")


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
        "changed_fields": [
            {"address": str(receipt.address), "changes": receipt.message} for receipt in result.changed_fields
        ],
        "left": len(result.left),
        "stopped": result.stopped,
    }
