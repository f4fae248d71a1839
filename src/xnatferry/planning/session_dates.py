"""One session for each date: data of two days never share a session, in a push or on the server.

A session has one date. Without a session label, the data of a second date get the session ``SUBJECT_MR_2024-05-01``;
with one, they are refused.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.planning.placement import default_session, names_session, short_type
from xnatferry.planning.plan import Refusal
from xnatferry.sources.model import Kind
from xnatferry.wording import counted
from xnatferry.xnat.labels import label_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xnatferry.planning.placement import MappingRules, Placement


def sessions_by_date(placements: Sequence[Placement], rules: MappingRules) -> tuple[list[Placement], list[Refusal]]:
    """Separate sessions with several dates; sessions that the source or the user names are refused.

    Data without a date are refused as well: they may belong to any of these sessions.
    """
    dates: dict[str, dict[str, str]] = defaultdict(dict)
    for item in placements:
        if item.session and item.source.kind is not Kind.BIDS and (day := item.session_fields.get("date")):
            dates[item.session].setdefault(day, item.source.relative)
    kept: list[Placement] = []
    refused: list[Refusal] = []
    for item in placements:
        days = dates.get(item.session, {})
        if len(days) < 2:
            kept.append(item)
        elif why := _problem(item, days, rules):
            refused.append(Refusal(item.source.relative, (why,), item.source.path))
        else:
            kept.append(replace(item, session=_dated_label(item)))
    return kept, refused


def _problem(item: Placement, days: Mapping[str, str], rules: MappingRules) -> str:
    shown = ", ".join(f"{day} ({relative})" for day, relative in sorted(days.items())[:3])
    if names_session(item.source, rules):
        return f"session {item.session} has {counted(len(days), 'date')}: {shown}; name a session for each date"
    if "date" not in item.session_fields:
        return f"subject {item.subject} has {counted(len(days), 'date')}: {shown}; this file has none, add its date"
    label = _dated_label(item)
    problem = label_problem(label)
    return f"session label {label!r}: {problem}; name the session" if problem else ""


def is_dated(item: Placement, rules: MappingRules) -> bool:
    """Whether nothing names the session of *item*, but its date is known."""
    return item.source.kind is not Kind.BIDS and "date" in item.session_fields and not names_session(item.source, rules)


def with_held_date(item: Placement, held: Mapping[str, str]) -> Placement:
    """The same dated placement in a session that is not of another date.

    Args:
        item: A placement whose session is not named.
        held: Date of each session of the project by label, empty when unknown.
    """
    dated = _dated_label(item)
    usual = default_session(item.subject, item.session_type) if item.session == dated else item.session
    if held.get(usual) == item.session_fields["date"]:
        return replace(item, session=usual)
    return replace(item, session=dated) if dated in held or held.get(usual) else item


def _dated_label(item: Placement) -> str:
    """A session label with the date, and the type: an MR and a PET session may be of one day."""
    return f"{item.subject}_{short_type(item.session_type)}_{item.session_fields.get('date', '')}"
