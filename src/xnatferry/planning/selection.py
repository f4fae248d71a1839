"""Selects subjects and sessions of a source: ``--only``, ``--exclude``, ``--max-sessions``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from xnatferry.sources.model import Kind
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from xnatferry.planning.placement import MappedSources, Placement
    from xnatferry.planning.plan import Plan

__all__ = ["Selection", "first_sessions"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Patterns of labels, with ``*``, ``?`` and ``[...]``.

    A pattern with a slash is matched with ``SUBJECT/SESSION``; one without, with the subject and with the session.

    Attributes:
        only: What is selected; empty selects everything.
        exclude: What is left out, also of *only*.
    """

    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def takes(self, subject: str, session: str) -> bool:
        """Whether a session is selected.

        >>> Selection(only=("sub-0*",), exclude=("*/ses-2",)).takes("sub-01", "ses-1")
        True
        """
        if self.only and not any(_matches(pattern, subject, session) for pattern in self.only):
            return False
        return not any(_matches(pattern, subject, session) for pattern in self.exclude)

    def of(self, mapped: MappedSources) -> MappedSources:
        """The selected part of *mapped*; sources without a unique address still stop the push.

        Resources of the project are selected, and those of a subject with any selected session.
        """
        if not self.only and not self.exclude:
            return mapped
        subjects = {w.subject for w in mapped.placements if w.session and self._takes(w)}
        kept = (w for w in mapped.placements if not w.subject or w.subject in subjects or self._takes(w))
        return replace(mapped, placements=tuple(w for w in kept if not w.session or self._takes(w)))

    def _takes(self, placements: Placement) -> bool:
        claims = placements.source.claims
        if placements.source.kind is Kind.BIDS:
            return self.takes_part(claims.subject or "", claims.session)
        return self.takes(placements.subject, placements.session)

    def takes_part(self, subject: str, session: str | None) -> bool:
        """Whether a part of a BIDS dataset is selected, by its labels: as ``01/02`` or as ``sub-01/ses-02``.

        >>> Selection(only=("sub-01/ses-0*",)).takes_part("01", "02")
        True
        """
        names = ((subject, session or ""), (f"sub-{subject}", f"ses-{session}" if session else ""))
        if self.only and not any(_matches(pattern, *name) for pattern in self.only for name in names):
            return False
        return not any(_matches(pattern, *name) for pattern in self.exclude for name in names)


def _matches(pattern: str, subject: str, session: str) -> bool:
    if "/" in pattern:
        return fnmatchcase(f"{subject}/{session}", pattern)
    return fnmatchcase(subject, pattern) or fnmatchcase(session, pattern)


def first_sessions(plan: Plan, most: int) -> Plan:
    """The same plan with the first *most* sessions that have changes.

    Sessions without changes do not count, so the same push again takes the next ones.
    """
    kept: dict[Address, None] = {}
    for step in plan.steps:
        session = _session_of(step.address)
        if session is not None and step.sends and len(kept) < most:
            kept.setdefault(session)
    subjects = {session.parent for session in kept}
    idle = {s for step in plan.steps if (s := _session_of(step.address)) is not None} - _busy(plan)
    subjects |= {session.parent for session in idle}
    steps = (
        step
        for step in plan.steps
        if step.address.subject is None
        or (step.address.session is None and Address(step.address.project, step.address.subject) in subjects)
        or _session_of(step.address) in kept
        or _session_of(step.address) in idle
    )
    return replace(plan, steps=tuple(steps))


def _session_of(address: Address) -> Address | None:
    return None if address.session is None else Address(address.project, address.subject, address.session)


def _busy(plan: Plan) -> set[Address]:
    return {s for step in plan.steps if step.sends and (s := _session_of(step.address)) is not None}
