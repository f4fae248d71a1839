"""Refuses sources that would be merged by mistake."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

from xnatferry.planning.plan import Refusal
from xnatferry.sources.model import Kind
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xnatferry.planning.placement import MappingRules, Placement
    from xnatferry.sources.model import Claims


def without_label_collisions(placements: list[Placement], rules: MappingRules) -> tuple[list[Placement], list[Refusal]]:
    """Refuse sources with different names and equal labels (after cleaning, or except for case).

    XNAT compares labels exactly, but its disks and people may not. With ``--subject`` the user requests the merge.
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
                what = f"would get the same label {min(labels)}" if len(labels) == 1 else "differ only in case"
                for index in indexes:
                    # Subjects come first: labels of sessions follow from them.
                    refused.setdefault(index, f"{level} labels {names} {what}; rename one, or use a mapping table")
    kept = [item for index, item in enumerate(placements) if index not in refused]
    return kept, [
        Refusal(placements[i].source.relative, (why,), placements[i].source.path) for i, why in sorted(refused.items())
    ]


_LEVELS: Sequence[tuple[str, Callable[[Claims], str | None], Callable[[Placement], str]]] = (
    ("subject", lambda claims: claims.subject, lambda item: item.subject),
    ("session", lambda claims: claims.session, lambda item: item.session),
)


def _folded(name: str) -> str:
    """Equal text for names that are equal on some disks: they differ in case or in Unicode normalization."""
    return unicodedata.normalize("NFC", name).casefold()


def same_place(placements: Sequence[Placement], rules: MappingRules) -> tuple[Refusal, ...]:
    """Sources that have the same file in a resource, the same numbered scan, or the same session for two subjects."""
    claimed: dict[tuple[str, ...], list[Placement]] = defaultdict(list)
    for item in placements:
        for name in {_folded(item.name_of(file, gzip=rules.gzip)) for file in item.source.files}:
            claimed["file", *item.owner, item.scan or "", item.resource.casefold(), name].append(item)
        if item.on_scan and item.numbered and item.source.kind is Kind.NIFTI:
            claimed["scan", *item.owner, item.scan or "", item.resource.casefold()].append(item)
    conflicting: dict[str, Refusal] = {}
    for (what, subject, session, scan, *_), items in claimed.items():
        one_series = what == "scan" and len({item.group or item.source.relative for item in items}) == 1
        if len(items) > 1 and not one_series:
            place = f"scan {scan} of {session}" if scan else session or subject or rules.project
            others = ", ".join(sorted({item.source.relative for item in items}))
            why = f"{counted(len(items), 'source', 'have')} the same address ({place}): {others}"
            if what == "scan":
                why += "; every image needs its own scan"
            for item in items:
                conflicting.setdefault(item.source.relative, Refusal(item.source.relative, (why,), item.source.path))
    subjects: dict[str, set[str]] = defaultdict(set)
    for item in placements:
        if item.session:
            subjects[item.session].add(item.subject)
    for item in placements:
        if len(subjects[item.session]) > 1:
            whose = ", ".join(sorted(subjects[item.session]))
            why = f"session {item.session} has several subjects ({whose}); session labels are unique in an XNAT project"
            conflicting.setdefault(item.source.relative, Refusal(item.source.relative, (why,), item.source.path))
    return tuple(conflicting.values())
