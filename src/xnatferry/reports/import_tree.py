"""The tree of an import: each object and file of the plan, and its result."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xnatferry.planning.plan import Decision, Transport
from xnatferry.transfer.events import Outcome, Proof
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xnatferry.planning.plan import Plan, Step
    from xnatferry.transfer.events import Receipt, Verdict
    from xnatferry.xnat.model import Address

#: Files of one resource that are listed; those that went wrong always are.
_LISTED: Final = 12
_SIGNS: Final = {
    Decision.CREATE: ("+", "created"),
    Decision.SAME: ("=", "unchanged"),
    Decision.UPDATE: ("~", "changed"),
    Decision.DIFFERS: ("*", "differs, not changed"),
    Decision.REFUSED: ("!", "refused"),
}


@dataclass(frozen=True, slots=True)
class State:
    """Result of one step.

    Attributes:
        word: The result in one or two words.
        mood: Colour: ``good``, ``warning``, ``error``, or ``faint``.
        note: Why.
    """

    word: str = ""
    mood: str = "faint"
    note: str = ""

    @property
    def troubled(self) -> bool:
        """Whether it needs attention."""
        return self.mood in {"warning", "error"}


@dataclass(slots=True)
class Branch:
    """One object of the tree, with what is below it.

    Attributes:
        address: Where it is.
        sign: The plan's sign.
        meaning: The sign in words.
        detail: Data type or kind.
        state: Its result.
        files: Files at and below it.
        size_bytes: Their bytes: as they arrived, else as they are here.
        verified: How many of them have a good verdict.
        troubled: How many steps at and below it need attention.
        branches: What is below it.
        hidden: Files that are not listed.
    """

    address: Address
    sign: str
    meaning: str
    detail: str
    state: State
    files: int = 0
    size_bytes: int = 0
    verified: int = 0
    troubled: int = 0
    branches: list[Branch] = field(default_factory=list)
    hidden: int = 0

    @property
    def label(self) -> str:
        """Its name; of a scan with the word before it."""
        level = self.address.level
        name = getattr(self.address, level.value) or ""
        return f"{level} {name}" if level in {Level.SCAN, Level.ASSESSOR} else name

    @property
    def is_file(self) -> bool:
        """Whether it is a file."""
        return self.address.level is Level.FILE


def outline(
    plan: Plan, receipts: Mapping[Address, Receipt], verdicts: Mapping[Address, Verdict], *, ran: bool
) -> list[Branch]:
    """The roots of the tree: the project, or the highest objects of the plan.

    Args:
        plan: What was to be done.
        receipts: What was done, by address.
        verdicts: What is verified, by address.
        ran: Whether anything was done at all; a plan alone has no states.
    """
    roots: list[Branch] = []
    found: dict[Address, Branch] = {}
    for step in plan.steps:
        state = _state(step, receipts.get(step.address), verdicts.get(step.address)) if ran else _planned(step)
        verdict = verdicts.get(step.address)
        branch = _branch(step, state, verified=verdict is not None and verdict.proof.good)
        receipt = receipts.get(step.address)
        if receipt is not None and receipt.outcome is Outcome.STORED:
            branch.size_bytes = receipt.size_bytes  # of pictures and of what was compressed on the way
        found[step.address] = branch
        above = [found[address] for address in step.address.ancestors() if address in found]
        (max(above, key=lambda one: len(one.address.ancestors())).branches if above else roots).append(branch)
        for one in above:
            one.files += branch.files
            one.size_bytes += branch.size_bytes
            one.verified += branch.verified
            one.troubled += branch.troubled
    _thin_out(found.values())
    return roots


def _branch(step: Step, state: State, *, verified: bool) -> Branch:
    sign, meaning = _SIGNS[step.decision]
    level, is_file = step.address.level, step.payload is not None
    detail = step.xsi_type if level in {Level.SESSION, Level.ASSESSOR} else ""
    if level is Level.SCAN:
        detail = step.fields.get("type", "")
    elif level is Level.RESOURCE and step.transport is not Transport.SINGLE:
        detail = "sent as one archive"
    changed = "; ".join(f"{path}: {there} \u2192 {wanted}" for path, (there, wanted) in step.changes.items())
    detail = ", ".join(part for part in (detail, changed) if part)
    return Branch(
        step.address, sign, meaning, detail, state, int(is_file), step.size_bytes, int(verified), int(state.troubled)
    )


def _planned(step: Step) -> State:
    if step.decision is Decision.DIFFERS:
        return State("differs", "warning", step.reason)
    if step.decision is Decision.UPDATE:
        return State("", "faint", step.reason or "replaced" if step.payload else step.reason)
    return State(note=step.reason)


def _state(step: Step, receipt: Receipt | None, verdict: Verdict | None) -> State:
    """The result of verification has priority over the outcome of the transfer."""
    if receipt is not None and receipt.outcome in {Outcome.FAILED, Outcome.STOPPED}:
        return State(
            receipt.outcome.value, "error" if receipt.outcome is Outcome.FAILED else "warning", receipt.message
        )
    if verdict is not None:
        if step.decision is Decision.DIFFERS and not verdict.proof.good:
            return State("differs, not changed", "warning", step.reason or verdict.message)
        if verdict.proof is Proof.DIGEST:
            return State(verdict.proof.value, "good")
        return State(verdict.proof.value, "good" if verdict.proof.good else "error", verdict.message)
    if receipt is not None:
        return State(receipt.outcome.value, "faint", receipt.message)
    if step.sends and step.payload is not None:
        return State("not sent", "warning", "the run ended before")
    return State(note=step.reason)


def _thin_out(branches: Iterable[Branch]) -> None:
    """Keep the first files of a large resource, and all that went wrong."""
    for branch in branches:
        files = [one for one in branch.branches if one.is_file]
        if len(files) > _LISTED:
            kept = [one for place, one in enumerate(files) if place < _LISTED or one.state.mood == "error"]
            branch.hidden = len(files) - len(kept)
            branch.branches = [one for one in branch.branches if not one.is_file] + kept


def decisions(plan: Plan) -> list[tuple[str, str, int, int, int]]:
    """Rows of sign, meaning, objects, files and local bytes of the files, for decisions that the plan holds."""
    objects = plan.count() - plan.count(Level.FILE)
    files = plan.count(Level.FILE)
    sizes: Counter[Decision] = Counter()
    for step in plan.files:
        sizes[step.decision] += step.size_bytes
    return [(*_SIGNS[one], objects[one], files[one], sizes[one]) for one in _SIGNS if objects[one] or files[one]]
