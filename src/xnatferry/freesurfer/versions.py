"""FreeSurfer versions of files, and the order of resources by version."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from xnatferry.freesurfer.stats_file import StatsFile

_DOTTED: Final = re.compile(r"(?<![\d.])(\d+\.\d+(?:\.\d+)?)(?![\d.])")
#: Keyword that CVS put into FreeSurfer 5 and 6: ``$Id: mri_segstats.c,v 1.121 2016/05/31 17:27:11 greve Exp $``.
_CVS_DATE: Final = re.compile(r"\$Id: \S+ \S+ (\d{4})/")
_LABEL: Final = re.compile(r"(FREESURFER|FASTSURFER)(\d*)(?:_(.+))?")


def version_of(stats: StatsFile) -> str:
    """The version that wrote a statistics file: ``7.4.1``, only ``6`` or ``5`` where it was inferred, or nothing.

    FreeSurfer 7 and 8 write their number as ``cvs_version``. 5 and 6 write a CVS keyword there, whose year tells them
    apart: 5.3 was released in May 2013, 6.0 in January 2017 with files of 2014 to 2016.
    """
    version = stats.fields.get("FastSurfer_version") or stats.fields.get("cvs_version", "")
    if (match := _CVS_DATE.search(version)) is not None:
        return "6" if int(match[1]) >= 2014 else "5"
    match = _DOTTED.search(version)
    return match[1] if match is not None else ""


def major_of(version: str) -> str:
    """``7`` of ``7.4.1``."""
    return version.partition(".")[0]


def family_of(label: str) -> tuple[str, tuple[int, ...], str]:
    """Program, version and rest of a resource label: ``FREESURFER53_HIRES`` is FreeSurfer 5.3, ``HIRES``.

    >>> family_of("FREESURFER53_HIRES"), family_of("STATS")
    (('FREESURFER', (5, 3), 'HIRES'), ('', (), 'STATS'))
    """
    match = _LABEL.fullmatch(label.upper())
    if match is None:
        return "", (), label
    return match[1], tuple(map(int, match[2])), match[3] or ""


def newness(label: str, tags: str = "") -> tuple[int, tuple[int, ...], int, int]:
    """Sorts resources: the one to read, where several hold a table, is the last.

    FreeSurfer comes before FastSurfer, and both before other labels; a longitudinal run or its base is never taken in
    place of a plain one. Among those the higher version wins, as tags (``7.4.1``) or label say; a plain label wins over
    one with an ending.
    """
    program, version, rest = family_of(label)
    tagged = _DOTTED.search(tags)
    if tagged is not None:
        version = tuple(map(int, tagged[1].split(".")))
    longitudinal = bool({"LONG", "BASE"} & set(rest.upper().split("_")))
    known = {"FREESURFER": 3, "FASTSURFER": 2}.get(program, 1)
    return (0 if longitudinal else known, version, -len(rest.split("_")) if rest else 0, -len(label))
