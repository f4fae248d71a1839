"""Finds the files of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.freesurfer.stats_file import StatisticsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xnatferry.freesurfer.measurements import Table

#: Folders of recon-all that hold no results.
_SCRATCH: Final = frozenset({"trash", "tmp", "src"})
_HEMISPHERES: Final = {"lh": "left", "rh": "right"}


@dataclass(frozen=True, slots=True)
class TableFiles:
    """The files of one table of one run.

    Attributes:
        top: Name of the folder that holds the run; empty when the files lie flat.
        by_side: Names as given, by ``left`` and ``right``, or by ``""`` for a table of one file.
        missing: Sides that have no file.
        older: Files of older segmentations, which are not used.
    """

    top: str
    by_side: dict[str, str]
    missing: tuple[str, ...] = ()
    older: tuple[str, ...] = ()


def locate(table: Table, names: Iterable[str]) -> TableFiles | None:
    """Find the files of *table* among *names* (paths with ``/``); None when there is none.

    A longitudinal run (``.long.`` in its folder's name) is taken only where there is no other; the newest version of a
    segmentation, where there are several.

    Raises:
        StatisticsError: They are of several subjects.
    """
    tops: dict[str, dict[tuple[int, int], dict[str, str]]] = {}
    for name in names:
        for order, pattern in enumerate(table.files):
            if (match := pattern.fullmatch(name)) is None:
                continue
            groups = match.groupdict()
            if _SCRATCH & set(groups["top"].split("/")):
                continue
            side = _HEMISPHERES.get(groups.get("hemi") or "", "")
            variant = (-order, int(groups.get("v") or 0))
            tops.setdefault(groups["top"], {}).setdefault(variant, {})[side] = name
    plain = {top: variants for top, variants in tops.items() if ".long." not in top} or tops
    if not plain:
        return None
    if len(plain) > 1:
        shown = ", ".join(sorted(top.rstrip("/") or "." for top in plain)[:3])
        raise StatisticsError(f"files of {len(plain)} subjects are in one folder ({shown}); name one subject")
    ((top, variants),) = plain.items()
    newest = max(variants, key=lambda variant: (len(variants[variant]), variant))
    sides = tuple(_HEMISPHERES.values()) if table.sided else ("",)
    chosen = variants[newest]
    older = sorted(name for variant, named in variants.items() if variant != newest for name in named.values())
    return TableFiles(
        top.rstrip("/").rpartition("/")[2],
        {side: chosen[side] for side in sides if side in chosen},
        tuple(side for side in sides if side not in chosen),
        tuple(older),
    )
