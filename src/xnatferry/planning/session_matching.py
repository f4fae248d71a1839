"""To which session of the server a result belongs that names none: never a guess between two.

A result is of data that are often there already, under a label that its folder does not tell. First found wins: the
session whose label the folder bears; the subject's session of the date given; the subject's only MR session. Where
there are several, none is taken.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xnatferry.checks.finding_catalog import found
from xnatferry.planning.plan import Refusal
from xnatferry.sources.model import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xnatferry.planning.placement import MappedSources, MappingRules, Placement

__all__ = ["KnownSession", "Matched", "is_matched", "match_sessions"]

_MR = frozenset({"xnat:mrSessionData", "xnat:petmrSessionData", ""})


@dataclass(frozen=True, slots=True)
class KnownSession:
    """A session on the server: labels, data type and date (``yyyy-mm-dd``, empty when unknown)."""

    subject: str
    label: str
    xsi_type: str = ""
    date: str = ""

    @property
    def told(self) -> str:
        """Label and date for people."""
        return f"{self.label} ({self.date})" if self.date else self.label


@dataclass(frozen=True, slots=True)
class Matched:
    """What is wanted, with sessions found, and what is to be said about it."""

    mapped: MappedSources
    findings: tuple[Finding, ...] = ()


def is_matched(mapped: MappedSources, rules: MappingRules) -> bool:
    """Whether the sessions of the server matter: something names no session, or nothing may be made."""
    return rules.existing_only or any(_names_none(item, rules) for item in mapped.placements)


def match_sessions(
    mapped: MappedSources, held: Sequence[KnownSession], subjects: frozenset[str], rules: MappingRules
) -> Matched:
    """Give results that name no session the one of the server they belong to.

    Args:
        mapped: What is wanted.
        held: Sessions of the project.
        subjects: Labels of the subjects of the project.
        rules: What the user said; a session or template from there is never changed.
    """
    placements: list[Placement] = []
    refused: list[Refusal] = []
    unclear: list[Refusal] = []
    findings: list[Finding] = []
    for item in mapped.placements:
        placed, candidates = _place(item, held, subjects, rules) if _names_none(item, rules) else (item, [])
        about = (placed.source.relative, placed.source.path)
        if candidates:
            shown = ", ".join(session.told for session in candidates)
            why = (
                f"subject {item.subject} has {len(candidates)} sessions it may belong to: {shown};"
                " say which with --session, --session-template, --template, --date or a table"
            )
            unclear.append(Refusal(about[0], (why,), about[1]))
        elif rules.existing_only and (why := _missing(placed, held, subjects)):
            refused.append(Refusal(about[0], (why,), about[1]))
            continue
        elif _names_none(item, rules):
            findings += _said(placed, held, rules)
        placements.append(placed)
    kept = replace(
        mapped,
        placements=tuple(placements),
        refusals=(*mapped.refusals, *refused),
        conflicting=(*mapped.conflicting, *unclear),
    )
    return Matched(kept, tuple(findings))


def _names_none(item: Placement, rules: MappingRules) -> bool:
    if item.source.kind is not Kind.FREESURFER or not item.session:
        return False
    return rules.session is None and rules.session_template is None and item.source.claims.session is None


def _place(
    item: Placement, held: Sequence[KnownSession], subjects: frozenset[str], rules: MappingRules
) -> tuple[Placement, list[KnownSession]]:
    """The item in its session, or the sessions among which nothing decides."""
    if item.subject not in subjects and rules.subject is None:
        named = [session for session in held if session.label == item.subject]
        if named:
            return replace(item, subject=named[0].subject, session=named[0].label), []
    candidates = [s for s in held if s.subject == item.subject and s.xsi_type in _MR]
    day = item.session_fields.get("date")
    of_day = [session for session in candidates if session.date == day] if day else []
    candidates = of_day or [session for session in candidates if not day or not session.date]
    if len(candidates) > 1:
        return item, candidates
    return (replace(item, session=candidates[0].label), []) if candidates else (item, [])


def _missing(item: Placement, held: Sequence[KnownSession], subjects: frozenset[str]) -> str:
    if item.subject and item.subject not in subjects:
        return f"subject {item.subject} is not on the server; without --existing-only it would be made"
    if item.session and not any(session.label == item.session for session in held):
        return (
            f"subject {item.subject} has no session {item.session} on the server; without --existing-only it would be"
            " made, and --template, --session-template or a table say another"
        )
    return ""


def _said(item: Placement, held: Sequence[KnownSession], rules: MappingRules) -> list[Finding]:
    if any(session.label == item.session for session in held):
        return []
    why = (
        f"project {rules.project} has no session of subject {item.subject} for it, so {item.session} is made;"
        " --existing-only keeps it back"
    )
    return [found("FS25", why, item.source.path)]
