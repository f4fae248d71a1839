"""A plan as a tree of text lines, and as JSON records."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING

from rich.text import Text

from xnatferry.planning.plan import Decision, Plan, Refusal, Step, Transport
from xnatferry.wording import EXAMPLES, counted, human_bytes, human_seconds, shortened
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

STYLES = {
    Decision.CREATE: "green",
    Decision.SAME: "dim",
    Decision.UPDATE: "yellow",
    Decision.DIFFERS: "magenta",
    Decision.REFUSED: "red",
}

#: More sessions than this are counted and not listed, unless everything is asked for.
DRAWN_SESSIONS = 25
_INDENT = {Level.PROJECT: 0, Level.SUBJECT: 1, Level.SESSION: 2, Level.SCAN: 3, Level.ASSESSOR: 3}


def plan_lines(plan: Plan, *, everything: bool = False, depth: int | None = None) -> Iterator[Text]:
    """The tree of a plan, one line an object with the files and bytes in it.

    Args:
        plan: What is shown.
        everything: Name every file, and count no sessions instead of listing them.
        depth: Levels below the project that are shown; None shows what needs a look.
    """
    deepest = len(_INDENT) + 2 if depth is None else depth
    sessions = folded_files = folded_bytes = 0
    hidden: Counter[Decision] = Counter()
    hiding = False
    for index, step in enumerate(plan.steps):
        level = step.address.level
        if level is Level.SESSION:
            sessions += 1
            hiding = sessions > DRAWN_SESSIONS and not everything
            if hiding:
                hidden[step.decision] += 1
                folded = _files_in(plan.steps, index)
                folded_files += len(folded)
                folded_bytes += sum(file.size_bytes for file in folded)
        if level is Level.FILE or (hiding and level is not Level.SUBJECT):
            continue
        if level is Level.SUBJECT and sessions >= DRAWN_SESSIONS and not everything:
            continue
        indent = _indent(step.address)
        if indent > deepest:
            continue
        files = _files_in(plan.steps, index)
        yield _object_line(step, files)
        if level is Level.RESOURCE and indent < deepest:
            yield from _file_lines(step, files, everything=everything or depth is not None)
    if hidden and deepest >= _INDENT[Level.SUBJECT]:
        held = f"{counted(folded_files, 'file')}, {human_bytes(folded_bytes)}"
        counts = ", ".join(f"{number} {decision.value}" for decision, number in hidden.items())
        yield Text(
            f"    … {counted(sum(hidden.values()), 'more session')} ({counts}), {held}; -v shows all", style="dim"
        )


def _files_in(steps: Sequence[Step], index: int) -> list[Step]:
    """The files of the object at *index*: what it holds follows it, as plans are in the order of the tree."""
    found: list[Step] = []
    for place in range(index + 1, len(steps)):
        if not steps[index].address.holds(steps[place].address):
            break
        if steps[place].payload is not None:
            found.append(steps[place])
    return found


def _indent(address: Address) -> int:
    return _INDENT.get(address.level, _INDENT[address.container.level] + 1)


def _object_line(step: Step, files: Sequence[Step]) -> Text:
    address = step.address
    depth = _indent(address)
    sign, label = step.decision, getattr(address, address.level.value)
    detail = ""
    if address.level is Level.SCAN:
        words = (step.fields.get(name, "") for name in ("type", "series_description"))
        detail = ", ".join(dict.fromkeys(word for word in words if word))
    elif address.level in {Level.SESSION, Level.ASSESSOR}:
        detail = step.xsi_type
    if address.level is not Level.RESOURCE and files:
        held = f"{counted(len(files), 'file')}, {human_bytes(sum(f.size_bytes for f in files))}"
        detail = f"{detail}  {held}" if detail else held
    elif address.level is Level.RESOURCE:
        sign = _sign_of(step, files)
        detail = f"{counted(len(files), 'file')}, {human_bytes(sum(f.size_bytes for f in files))}"
        if any(file.sends and file.payload is not None and file.payload.local.made for file in files):
            detail = f"{counted(len(files), 'file')}, snapshots are made during the push"
        if step.transport is not Transport.SINGLE and any(file.sends for file in files):
            detail += ", sent as one archive"
    line = Text.assemble(("  " * depth + sign.value, STYLES[sign]), " ", label or "")
    if detail:
        line.append(f"  {detail}", style="dim")
    for path, (there, wanted) in step.changes.items():
        action = "" if step.decision is Decision.UPDATE else " (not changed)"
        line.append(f"  {path}: {there!r} -> {wanted!r}{action}", style="yellow")
    if step.reason and address.level is not Level.FILE:
        line.append(f"  ({step.reason})", style="yellow")
    return line


def _sign_of(step: Step, files: Sequence[Step]) -> Decision:
    """A resource shows the most important decision of its files."""
    found = {file.decision for file in files}
    for decision in (Decision.DIFFERS, Decision.UPDATE, Decision.CREATE):
        if decision in found:
            return decision
    return step.decision


def _file_lines(resource: Step, files: Sequence[Step], *, everything: bool) -> Iterator[Text]:
    """Files that need a look are always named; the others when everything is asked for."""
    depth = _INDENT[resource.address.container.level] + 2
    for step in files:
        if not everything and step.decision in {Decision.CREATE, Decision.SAME}:
            continue
        line = Text.assemble(("  " * depth + step.decision.value, STYLES[step.decision]), " ", step.address.file or "")
        line.append(f"  {human_bytes(step.size_bytes)}", style="dim")
        if step.reason:
            line.append(f"  ({step.reason})", style=STYLES[step.decision])
        if step.payload is not None and step.payload.local.scrub is not None:
            line.append(f"  ({step.payload.local.scrub})", style="yellow")
        yield line


def refusal_lines(refusals: Sequence[Refusal], *, everything: bool = False) -> Iterator[Text]:
    """Sources that are not uploaded, and why: three examples of each kind of reason, unless *everything* is wanted."""
    kinds: dict[str, list[Refusal]] = {}
    for refusal in refusals:
        kinds.setdefault(_KEYS.sub("", refusal.reasons[0] if refusal.reasons else ""), []).append(refusal)
    for alike in kinds.values():
        for refusal in alike if everything else alike[:EXAMPLES]:
            head = Text.assemble(
                (Decision.REFUSED.value, STYLES[Decision.REFUSED]), " ", shortened(refusal.relative, 150)
            )
            reasons = refusal.reasons if everything else refusal.reasons[:EXAMPLES]
            more = len(refusal.reasons) - len(reasons)
            text = "; ".join(reasons) + (f"; and {counted(more, 'more reason')}" if more else "")
            yield Text.assemble(head, (f"  {shortened(text, len(head) + 2)}", "red"))
        if not everything and len(alike) > EXAMPLES:
            sign = (Decision.REFUSED.value, STYLES[Decision.REFUSED])
            yield Text.assemble(sign, (f" {len(alike) - EXAMPLES:,} more for such reasons; -v lists all", "dim"))


#: What differs from source to source in a reason of one kind.
_KEYS = re.compile(r"'[^']*'|\S*[/\d.]\S*|\([^)]*\)")


def plan_counts(plan: Plan) -> Text:
    """One line of counts: objects and files by decision, bytes to send, refusals."""
    objects = plan.count() - plan.count(Level.FILE)
    line = Text()
    for decision in (Decision.CREATE, Decision.UPDATE, Decision.SAME, Decision.DIFFERS):
        number, of_files = objects[decision], plan.count(Level.FILE)[decision]
        if number or of_files:
            line.append(f"{decision.value} ", style=STYLES[decision])
            line.append(f"{counted(number, 'object')}, {counted(of_files, 'file')}   ")
    if refused := len(plan.refusals) + len(plan.blocked):
        line.append(f"{Decision.REFUSED.value} ", style=STYLES[Decision.REFUSED])
        line.append(f"{counted(refused, 'source')} refused   ")
    line.append(f"{human_bytes(plan.sends_bytes)} to send")
    return line


def compared_line(plan: Plan, seconds: float) -> str:
    """One sentence: which server was compared, how long that took, how many sessions exist there."""
    sessions = plan.count(Level.SESSION)
    total = sum(sessions.values())
    there = total - sessions[Decision.CREATE]
    exist = f"{there:,} of {counted(total, 'session', 'exist')}"
    return f"Compared with {plan.server} in {human_seconds(seconds)}: {exist} there"


def plan_records(plan: Plan) -> Iterator[dict[str, object]]:
    """The plan as JSON records: its steps, its refusals, its findings, its counts."""
    for step in plan.steps:
        yield step_record(step)
    for refusal in plan.refusals:
        yield _refusal_record(refusal, blocks=False)
    for refusal in plan.blocked:
        yield _refusal_record(refusal, blocks=True)
    for finding in plan.findings:
        yield {"record": "finding", **finding.to_dict()}
    counts = {decision.name.lower(): number for decision, number in plan.count().items()}
    yield {
        "record": "plan",
        "server": plan.server,
        "project": plan.project,
        "steps": len(plan.steps),
        "files": len(plan.files),
        "decisions": counts,
        "refused": len(plan.refusals) + len(plan.blocked),
        "size_bytes": plan.sends_bytes,
        "nothing_to_do": plan.nothing_to_do,
    }


def step_record(step: Step) -> dict[str, object]:
    """One step as a JSON record."""
    record: dict[str, object] = {
        "record": "step",
        "address": str(step.address),
        "level": step.address.level.value,
        "decision": step.decision.name.lower(),
    }
    if step.reason:
        record["reason"] = step.reason
    if step.xsi_type:
        record["xsi_type"] = step.xsi_type
    if step.fields:
        record["fields"] = dict(step.fields)
    if step.changes:
        record["changes"] = {path: list(pair) for path, pair in step.changes.items()}
    if step.payload is not None:
        record["path"] = str(step.payload.local.path)
        record["size_bytes"] = step.size_bytes
        if step.payload.local.digest is not None:
            record["digest"] = step.payload.local.digest
        if (scrub := step.payload.local.scrub) is not None:
            record["scrubbed"] = list(scrub.removed)
    return record


def _refusal_record(refusal: Refusal, *, blocks: bool) -> dict[str, object]:
    return {
        "record": "refused",
        "source": refusal.relative,
        "path": str(refusal.path),
        "reasons": list(refusal.reasons),
        "blocks_push": blocks,
    }
