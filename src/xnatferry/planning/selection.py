"""Selects subjects and sessions of a source: ``--only``, ``--exclude``, ``--max-sessions``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from xnatferry.errors import DataError
from xnatferry.sources.model import Kind
from xnatferry.sources.path_layouts import entities_of
from xnatferry.xnat.labels import clean_label
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xnatferry.planning.placement import MappedSources, Placement
    from xnatferry.planning.plan import Plan
    from xnatferry.sources.model import Source


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

    def of(self, mapped: MappedSources, sources: Sequence[Source] = ()) -> MappedSources:
        """The selected part of *mapped*; sources without a unique address still stop the push.

        Resources of the project are selected, without files that name others, and those of a subject with any selected
        session.

        Args:
            mapped: Everything that was mapped.
            sources: What it was mapped from; refused sources are known here only.

        Raises:
            DataError: A pattern of *only* matches no subject or session.
        """
        if not self.only and not self.exclude:
            return mapped
        found = [name for item in mapped.placements if item.subject for name in _names_of(item)]
        found += [(claims.subject, claims.session or "") for one in sources if (claims := one.claims).subject]
        if not any(item.source.kind is Kind.BIDS for item in mapped.placements) and (why := self.unmatched(found)):
            raise DataError(why)
        subjects = {w.subject for w in mapped.placements if w.session and self._takes(w)}
        kept = (w for w in mapped.placements if not w.subject or w.subject in subjects or self._takes(w))
        selected = (w if w.subject else self._of_project(w) for w in kept if not w.session or self._takes(w))
        return replace(mapped, placements=tuple(item for item in selected if item.source.files))

    def of_sources(self, sources: Sequence[Source]) -> list[Source]:
        """The sources without those that are left out by their own labels, whatever is wrong with them."""
        if not self.only and not self.exclude:
            return list(sources)
        return [source for source in sources if source.kind is Kind.BIDS or not self._leaves_out(source)]

    def _leaves_out(self, source: Source) -> bool:
        subject, session = source.claims.subject, source.claims.session
        if subject is None:
            return False
        names = [(subject, session or ""), (clean_label(subject), clean_label(session or ""))]
        if any(_matches(pattern, *name) for pattern in self.exclude for name in names):
            return True
        # A label that is not known yet may match, and only what cannot be pushed matters here.
        open_end = session is None and any(pattern.startswith(name[0]) for pattern in self.only for name in names)
        wanted = open_end or any(_matches(pattern, *name) for pattern in self.only for name in names)
        return source.refused and bool(self.only) and not wanted

    def unmatched(self, names: Iterable[tuple[str, str | None]]) -> str:
        """Why *only* cannot be used: a pattern that matches none of some subjects and sessions; empty otherwise."""
        labels = sorted({(subject, session or "") for subject, session in names})
        for pattern in self.only:
            if not any(_matches(pattern, *name) for name in labels):
                known = dict.fromkeys(
                    f"{a}/{b}" if "/" in pattern else part for a, b in labels for part in (a, b) if part
                )
                near = get_close_matches(pattern, known, 3, 0.5) or list(known)[:3]
                shown = f"; the nearest are {', '.join(near)}" if near else ""
                return f"--only {pattern}: no subject or session matches{shown}"
        return ""

    def unmatched_parts(self, parts: Iterable[tuple[str, str | None]]) -> str:
        """The same for the parts of a BIDS dataset, by their labels."""
        return self.unmatched(name for part in parts for name in _names_of_part(*part))

    def _of_project(self, item: Placement) -> Placement:
        files = tuple(file for file in item.source.files if file.member is not None or self._takes_file(file.name))
        return item if item.source.kind is Kind.BIDS else replace(item, source=replace(item.source, files=files))

    def _takes_file(self, name: str) -> bool:
        named = entities_of(name)
        return "sub" not in named or self.takes_part(named["sub"], named.get("ses"))

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
        names = _names_of_part(subject, session)
        if self.only and not any(_matches(pattern, *name) for pattern in self.only for name in names):
            return False
        return not any(_matches(pattern, *name) for pattern in self.exclude for name in names)


def _names_of(item: Placement) -> tuple[tuple[str, str], ...]:
    claims = item.source.claims
    bids = item.source.kind is Kind.BIDS
    return _names_of_part(claims.subject or "", claims.session) if bids else ((item.subject, item.session),)


def _names_of_part(subject: str, session: str | None) -> tuple[tuple[str, str], ...]:
    return (subject, session or ""), (f"sub-{subject}", f"ses-{session}" if session else "")


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
