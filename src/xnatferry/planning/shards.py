"""Shares of a plan, for the jobs of an array (Slurm, SGE, PBS) that carry it out together: ``--shard I/N``.

A share is a set of whole subjects, told by the MD5 of project and subject alone. So it needs no word between the jobs,
is the same in every run whatever the server holds meanwhile, and a subject that comes later moves no other one. No two
jobs ever make the same subject, which XNAT answers with a 409 or a 500 (its label check and its insert are two steps).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from xnatferry.planning.plan import Plan
    from xnatferry.xnat.model import Address

__all__ = ["Shard"]

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """The *number*-th of *of* shares.

    Attributes:
        number: From 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``3/8``.

        >>> Share.parse("3/8")
        Share(number=3, of=8)

        Raises:
            ValueError: It is no share; the message says what one looks like.
        """
        found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text.strip(), re.ASCII)
        number, of = (int(part) for part in found.groups()) if found else (0, 0)
        if not 1 <= number <= of <= _MOST:
            raise ValueError(f"{text!r} is no share: the third of eight is 3/8, the first 1/8 and the last 8/8")
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, project: str, subject: str | None) -> bool:
        """Whether a subject belongs to it; what belongs to no subject is in the first share."""
        if subject is None:
            return self.number == 1
        digest = hashlib.md5(f"{project}/{subject}".encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def of_plan(self, plan: Plan) -> Plan:
        """What *plan* does for this share. The project itself is everybody's: whoever comes first makes it."""
        steps = (step for step in plan.steps if step.address.level is Level.PROJECT or self._holds(step.address))
        return replace(plan, steps=tuple(steps), refusals=tuple(r for r in plan.refusals if self._holds(r.address)))

    def _holds(self, address: Address | None) -> bool:
        return self.number == 1 if address is None else self.holds(address.project, address.subject)
