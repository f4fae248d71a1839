"""Finds the session on the server of a result that names none; never guesses between two.

The data of a result often exist already, in a session whose label its folder does not contain. The first match is used:
the session whose label is the name of the folder; the session of the subject with the given date; its only MR session.
If there are several, none is used. No data go to a session of another date.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xnatferry.checks.finding_catalog import found
from xnatferry.planning.placement import names_session
from xnatferry.planning.plan import Refusal
from xnatferry.planning.session_dates import is_dated, with_held_date
from xnatferry.sources.model import Finding, Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xnatferry.planning.placement import MappedSources, MappingRules, Placement

_MR = frozenset({"xnat:mrSessionData", "xnat:petmrSessionData", ""})


@dataclass(frozen=True, slots=True)
class KnownSession:
    """A session on the server: labels, data type and date (``yyyy-mm-dd``, empty when unknown)."""

    subject: str
    label: str
    xsi_type: str = ""
    date: str = ""

    @property
    def shown(self) -> str:
        """Label and date for messages."""
        return f"{self.label} ({self.date})" if self.date else self.label


@dataclass(frozen=True, slots=True)
class Matched:
    """Placements with the sessions found, and findings about them."""

    mapped: MappedSources
    findings: tuple[Finding, ...] = ()


def is_matched(mapped: MappedSources, rules: MappingRules) -> bool:
    """Whether the sessions of the server are needed: for a source that names no session, or if none may be created."""
    return rules.existing_only or any(_names_none(item, rules) or is_dated(item, rules) for item in mapped.placements)


def match_sessions(
    mapped: MappedSources, held: Sequence[KnownSession], subjects: frozenset[str], rules: MappingRules
) -> Matched:
    """Assign results that name no session to one on the server.

    Args:
        mapped: The mapped sources.
        held: Sessions of the project.
        subjects: Labels of the subjects of the project.
        rules: Options of the user; a session or template given there is not changed.
    """
    placements: list[Placement] = []
    refused: list[Refusal] = []
    unclear: list[Refusal] = []
    findings: list[Finding] = []
    dates = {session.label: session.date for session in held}
    for item in mapped.placements:
        placed, candidates = _place(item, held, subjects, rules) if _names_none(item, rules) else (item, [])
        if not candidates and is_dated(placed, rules):
            placed = with_held_date(placed, dates)
        about = (placed.source.relative, placed.source.path)
        if candidates:
            shown = ", ".join(session.shown for session in candidates)
            why = (
                f"subject {item.subject} has {len(candidates)} possible sessions: {shown};"
                " select one with --session, --session-template, --template, --date or a mapping table"
            )
            unclear.append(Refusal(about[0], (why,), about[1]))
        elif rules.existing_only and (why := _missing(placed, held, subjects)):
            refused.append(Refusal(about[0], (why,), about[1]))
            continue
        elif _names_none(item, rules):
            findings += _new_session_findings(placed, held, rules)
        placements.append(placed)
    kept = replace(
        mapped,
        placements=tuple(placements),
        refusals=(*mapped.refusals, *refused),
        conflicting=(*mapped.conflicting, *unclear),
    )
    return Matched(kept, tuple(findings))


def _names_none(item: Placement, rules: MappingRules) -> bool:
    return item.source.kind is Kind.FREESURFER and bool(item.session) and not names_session(item.source, rules)


def _place(
    item: Placement, held: Sequence[KnownSession], subjects: frozenset[str], rules: MappingRules
) -> tuple[Placement, list[KnownSession]]:
    """The item with its session, or all possible sessions."""
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
        return f"subject {item.subject} does not exist on the server; without --existing-only it is created"
    if item.session and not any(session.label == item.session for session in held):
        return (
            f"subject {item.subject} has no session {item.session} on the server; without --existing-only it is"
            " created; to use another session, add --template, --session-template or a mapping table"
        )
    return ""


def _new_session_findings(item: Placement, held: Sequence[KnownSession], rules: MappingRules) -> list[Finding]:
    if any(session.label == item.session for session in held):
        return []
    why = (
        f"project {rules.project} has no session of subject {item.subject} for it, so {item.session} is created;"
        " to refuse it instead, add --existing-only"
    )
    return [found("FS25", why, item.source.path)]
