"""Finds the session of a BIDS subject without sessions, if an earlier push gave it another label.

A subject without sessions gets ``01_MR1``, ``01_PET1`` ... by the kinds of its data. When kinds are added later, the
label would change; the session with the earlier files keeps its label and type.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.planning.placement import SESSION_TYPES, Placement, identifying_files

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xnatferry.planning.remote_state import RemoteState


def labels_by_type(subject: str) -> list[str]:
    """The possible labels of the only session of a subject."""
    return [f"{subject}_{kind}1" for kind in SESSION_TYPES]


def settle_sessions(placements: Iterable[Placement], remote: RemoteState) -> list[Placement]:
    """Use the existing session with most images and recordings of the same names.

    Results of a pipeline, which are not scans, use the only session of their subject.
    """
    placements = list(placements)
    named: dict[tuple[str, str], list[Placement]] = defaultdict(list)
    for item in placements:
        if item.by_type:
            named[item.subject, item.session].append(item)
    labels = {place: _label(place, items, remote) for place, items in named.items()}
    return [replace(item, session=labels[item.subject, item.session]) if item.by_type else item for item in placements]


def _label(place: tuple[str, str], items: Sequence[Placement], remote: RemoteState) -> str:
    subject, label = place
    names = {(item.resource, file.name) for item in items if item.on_scan for file in identifying_files(item.source)}
    held: dict[str, int] = {}
    for other in (label, *labels_by_type(subject)):
        there = remote.sessions.get(other)
        if there is not None and there.subject in {"", subject}:
            found = {(resource, name) for scan, resource, name in there.files if scan is not None}
            held.setdefault(other, len(names & found))
    if all(item.source.claims.pipeline for item in items) and label not in held and len(held) == 1:
        return next(iter(held))  # results use the only session of the subject, of any kind
    return max(held, key=lambda other: held[other]) if any(held.values()) else label
