"""Warns before a push creates sessions of a type that the site has not set up."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.planning.plan import Decision
from xnatferry.wording import counted
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from xnatferry.planning.plan import Plan
    from xnatferry.sources.model import Finding

#: Types that every stock site has set up (``init_security_000.sql``); for these the server is not asked.
_STOCK: Final = frozenset(f"xnat:{kind}SessionData" for kind in ("mr", "pet", "ct", "petmr", "cr"))


def type_findings(plan: Plan, set_up_types: Callable[[], Collection[str] | None]) -> Iterator[Finding]:
    """One warning for each type of new sessions that the site has not set up.

    Args:
        plan: The plan of a push or copy.
        set_up_types: Reads the types from the server, None if it does not tell; called only if the plan has others
            than the stock types.
    """
    new = Counter(
        step.xsi_type
        for step in plan.steps
        if step.address.level is Level.SESSION and step.decision is Decision.CREATE and step.xsi_type
    )
    others = sorted(set(new) - _STOCK)
    set_up = set_up_types() if others else None
    for xsi_type in others:
        if set_up is not None and xsi_type not in set_up:
            yield found("TYP01", f"{counted(new[xsi_type], 'new session')} of type {xsi_type}: {_WHY}")


_WHY: Final = (
    "the site has not set up this type: XNAT stores such sessions, but lists them nowhere in their project; nobody can "
    "delete them except with the project, and any account that knows their ID can read and delete their files; ask an "
    "administrator to set up the type first (Administer > Data Types), or choose another type with --session-type"
)
