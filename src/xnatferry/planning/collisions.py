"""Sources that would become one: refused, as a merge must never be silent."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

from xnatferry.planning.plan import Refusal
from xnatferry.sources.model import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xnatferry.planning.placement import MappingRules, Placement
    from xnatferry.sources.model import Claims

__all__ = ["same_place", "without_label_collisions"]


def without_label_collisions(placements: list[Placement], rules: MappingRules) -> tuple[list[Placement], list[Refusal]]:
    """Refuse sources whose labels become one although what was found differs (by cleaning, or by case alone).

    XNAT compares labels exactly but its disks and people may not; a merge of two subjects must never be silent. A label
    that the user gave to everything (``--subject``) is a merge by order.
    """
    refused: dict[int, str] = {}
    ordered = {"subject": rules.subject is not None, "session": rules.session is not None}
    for level, found_of, label_of in _LEVELS:
        if ordered[level]:
            continue
        by_folded: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, item in enumerate(placements):
            found = found_of(item.source.claims) or label_of(item)
            by_folded[label_of(item).casefold()][found].append(index)
        for origins in by_folded.values():
            if len(origins) > 1:
                names = ", ".join(repr(name) for name in sorted(origins))
                indexes = [index for same in origins.values() for index in same]
                labels = {label_of(placements[index]) for index in indexes}
                what = f"would become one ({min(labels)})" if len(labels) == 1 else "differ in case alone"
                for index in indexes:
                    # The subject comes first: its sessions are called after it, and only follow.
                    refused.setdefault(index, f"{level} labels {names} {what}; rename one, or name them by a table")
    kept = [item for index, item in enumerate(placements) if index not in refused]
    return kept, [
        Refusal(placements[i].source.relative, (why,), placements[i].source.path) for i, why in sorted(refused.items())
    ]


_LEVELS: Sequence[tuple[str, Callable[[Claims], str | None], Callable[[Placement], str]]] = (
    ("subject", lambda claims: claims.subject, lambda item: item.subject),
    ("session", lambda claims: claims.session, lambda item: item.session),
)


def _folded(name: str) -> str:
    """One text for names that are one on some disks: they differ in case, or in how an accent is spelled."""
    return unicodedata.normalize("NFC", name).casefold()


def same_place(placements: Sequence[Placement], rules: MappingRules) -> tuple[Refusal, ...]:
    """Sources of which two claim one file in a resource, one numbered scan, or one session for two subjects."""
    claimed: dict[tuple[str, ...], list[Placement]] = defaultdict(list)
    for item in placements:
        for name in {_folded(item.name_of(file, gzip=rules.gzip)) for file in item.source.files}:
            claimed["file", *item.root_lock, item.scan or "", item.resource.casefold(), name].append(item)
        if item.on_scan and item.numbered and item.source.kind is Kind.NIFTI:
            claimed["scan", *item.root_lock, item.scan or "", item.resource.casefold()].append(item)
    conflicting: dict[str, Refusal] = {}
    for (what, subject, session, scan, *_), items in claimed.items():
        if len(items) > 1:
            place = f"scan {scan} of {session}" if scan else session or subject or rules.project
            others = ", ".join(sorted({item.source.relative for item in items}))
            why = f"{len(items)} sources claim one place ({place}): {others}"
            if what == "scan":
                why += "; an image has a scan of its own"
            for item in items:
                conflicting.setdefault(item.source.relative, Refusal(item.source.relative, (why,), item.source.path))
    subjects: dict[str, set[str]] = defaultdict(set)
    for item in placements:
        if item.session:
            subjects[item.session].add(item.subject)
    for item in placements:
        if len(subjects[item.session]) > 1:
            whose = ", ".join(sorted(subjects[item.session]))
            why = (
                f"session {item.session} is claimed for several subjects ({whose}); "
                "XNAT's session labels are unique in a project"
            )
            conflicting.setdefault(item.source.relative, Refusal(item.source.relative, (why,), item.source.path))
    return tuple(conflicting.values())
