"""Parts of a plan for the jobs of a job array (Slurm, SGE, PBS): ``--shard I/N``.

A part is a set of whole subjects, selected by the MD5 of project and subject. So the jobs need no communication, a part
is the same in every run, and new subjects do not change the parts of others. No two jobs create the same subject, which
XNAT answers with 409 or 500 (its label check and its insert are two steps).
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

_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """Part *number* of *of*.

    Attributes:
        number: From 1.
        of: How many there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``3/8``.

        >>> Shard.parse("3/8")
        Shard(number=3, of=8)

        Raises:
            ValueError: It is not I/N.
        """
        found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text.strip(), re.ASCII)
        number, of = (int(part) for part in found.groups()) if found else (0, 0)
        if not 1 <= number <= of <= _MOST:
            raise ValueError(f"{text!r}: not I/N; write 1/8 for the first and 8/8 for the last of eight parts")
        return cls(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, project: str, subject: str | None) -> bool:
        """Whether a subject belongs to it; what belongs to no subject is in the first part."""
        if subject is None:
            return self.number == 1
        digest = hashlib.md5(f"{project}/{subject}".encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()
        return int.from_bytes(digest[:8], "big") % self.of == self.number - 1

    def of_plan(self, plan: Plan) -> Plan:
        """The steps of *plan* for this part. Every part contains the step of the project itself."""
        steps = (step for step in plan.steps if step.address.level is Level.PROJECT or self._holds(step.address))
        return replace(plan, steps=tuple(steps), refusals=tuple(r for r in plan.refusals if self._holds(r.address)))

    def _holds(self, address: Address | None) -> bool:
        return self.number == 1 if address is None else self.holds(address.project, address.subject)
