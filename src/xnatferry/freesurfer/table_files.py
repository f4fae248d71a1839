"""Finds the files of a table."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from xnatferry.freesurfer.stats_file import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xnatferry.freesurfer.measurements import Table

#: Folders of recon-all that hold no results.
_SCRATCH: Final = frozenset({"trash", "tmp", "src"})
_HEMISPHERES: Final = {"lh": "left", "rh": "right"}
#: `segment_subregions` (FreeSurfer 7.3 and later) writes no version: newer than those that are numbered.
_UNNUMBERED: Final = 1000


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one table of one run.

    Attributes:
        top: Name of the folder that holds the run; empty when the files lie flat.
        by_side: Names as given, by ``left`` and ``right``, or by ``""`` for a table of one file.
        missing: Names of the files of the other hemisphere, without their folder.
        older: Files of other segmentations, which are not used.
        instead: Whether the files are read instead of those of the table, which do not exist.
    """

    top: str
    by_side: dict[str, str]
    missing: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    instead: bool = False


class _Variant(NamedTuple):
    """One segmentation; the greatest is read."""

    order: int  # of the pattern, negative
    cross_sectional: bool
    of_t1: bool  # only
    version: int
    analysis: str


def locate(table: Table, names: Iterable[str]) -> TableFiles | None:
    """Find the files of *table* among *names* (paths with ``/``); None when there is none.

    A longitudinal run (``.long.`` in its folder's name) is taken only where there is no other; where there are several
    segmentations, that of both hemispheres, then that of the T1 image alone, then the newest version.

    Raises:
        StatisticsError: They are of several subjects.
    """
    names = tuple(names)
    tops = _matches(table.files, names)
    instead = not tops
    tops = tops or _matches(table.instead, names)
    plain = {top: variants for top, variants in tops.items() if ".long." not in top} or tops
    if not plain:
        return None
    if len(plain) > 1:
        shown = ", ".join(sorted(top.rstrip("/") or "." for top in plain)[:3])
        raise StatisticsError(f"files of {len(plain)} subjects are in one folder ({shown}); name one subject")
    ((top, variants),) = plain.items()
    newest = max(variants, key=lambda variant: ("" in variants[variant] or len(variants[variant]) == 2, variant))
    chosen = variants[newest]
    missing = []
    if len(chosen) == 1 and "" not in chosen:
        (name,) = chosen.values()
        here, other = ("lh", "rh") if "left" in chosen else ("rh", "lh")
        missing = [re.sub(rf"\b{here}\b", other, name.rpartition("/")[2], count=1)]
    # The copies of a segmentation in another folder are no other one.
    older = sorted(
        name
        for variant, named in variants.items()
        if variant != newest and variant.order == newest.order
        for name in named.values()
    )
    by_side = dict(sorted(chosen.items()))
    return TableFiles(top.rstrip("/").rpartition("/")[2], by_side, tuple(missing), tuple(older), instead)


def _matches(patterns: Sequence[re.Pattern[str]], names: Sequence[str]) -> dict[str, dict[_Variant, dict[str, str]]]:
    """The files of each run, by segmentation and side."""
    tops: dict[str, dict[_Variant, dict[str, str]]] = {}
    for name in names:
        for order, pattern in enumerate(patterns):
            if (match := pattern.fullmatch(name)) is None:
                continue
            groups = match.groupdict()
            if _SCRATCH & set(groups["top"].split("/")):
                continue
            side = _HEMISPHERES.get(groups.get("hemi") or "", "")
            analysis = ".".join(filter(None, (groups.get("a"), groups.get("id"))))
            version = int(groups.get("v") or _UNNUMBERED)
            variant = _Variant(-order, not groups.get("long"), analysis in {"", "T1"}, version, analysis)
            tops.setdefault(groups["top"], {}).setdefault(variant, {})[side] = name
    return tops
