"""Number of steps of a run by result: counted while it runs, stored in the last line of its journal."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from xnatferry.transfer.events import Outcome, Receipt, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xnatferry.transfer.events import Event


@dataclass(slots=True)
class Counts:
    """The numbers that a list of runs shows.

    Attributes:
        outcomes: Receipts by outcome.
        proofs: Verdicts by proof.
        stored_bytes: Bytes of all files that were stored.
        failed: Receipts of failed steps.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    proofs: Counter[str] = field(default_factory=Counter)
    stored_bytes: int = 0
    failed: int = 0

    def take(self, event: Event) -> None:
        """Count one event; only receipts and verdicts count."""
        if isinstance(event, Receipt):
            self.outcomes[event.outcome.value] += 1
            self.failed += event.exit_code != 0
            if event.outcome is Outcome.STORED:
                self.stored_bytes += event.size_bytes
        elif isinstance(event, Verdict):
            self.proofs[event.proof.value] += 1

    @classmethod
    def together(cls, parts: Iterable[Counts]) -> Self:
        """The counts of several runs as those of one."""
        whole = cls()
        for part in parts:
            whole.outcomes += part.outcomes
            whole.proofs += part.proofs
            whole.stored_bytes += part.stored_bytes
            whole.failed += part.failed
        return whole

    def to_dict(self) -> dict[str, Any]:
        """The counts as JSON members."""
        return {
            "outcomes": dict(self.outcomes),
            "verdicts": dict(self.proofs),
            "stored_bytes": self.stored_bytes,
            "failed": self.failed,
        }

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Self:
        """The counts that `to_dict` gave.

        Raises:
            KeyError: One of them is missing.
        """
        return cls(Counter(found["outcomes"]), Counter(found["verdicts"]), found["stored_bytes"], found["failed"])
