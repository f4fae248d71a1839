"""Reads the numbers of FreeSurfer runs, and joins them into a table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xnatferry.errors import TransferError, UsageError, VerifyError
from xnatferry.freesurfer.measurements import TABLES, Number, StatsText, Table, spoiled_volumes, wide_name, with_sides
from xnatferry.freesurfer.stats_file import StatisticsError
from xnatferry.freesurfer.versions import family_of, version_of
from xnatferry.results.stats_table import (
    Place,
    Remark,
    RemarkKind,
    StatsEntry,
    StatsTable,
    incomplete,
    with_one_name,
    without_gaps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from xnatferry.freesurfer.table_files import TableFiles


@dataclass(frozen=True, slots=True)
class Collected:
    """The numbers and remarks of one session or folder.

    Attributes:
        place: The session or folder.
        entry: Its numbers; None if it has none.
        remarks: Remarks about it.
    """

    place: Place
    entry: StatsEntry | None
    remarks: tuple[Remark, ...] = ()


def table_named(name: str) -> Table:
    """The kind of table of this name.

    Raises:
        UsageError: It is unknown.
    """
    if name not in TABLES:
        raise UsageError(f"table {name!r} is unknown; use one of {', '.join(TABLES)}")
    return TABLES[name]


def assembled(name: str, found: Sequence[Collected]) -> StatsTable:
    """The table of *found*: invalid numbers, and measures that only others have, become remarks."""
    entries: list[StatsEntry] = []
    remarks: list[Remark] = []
    with_table = {one.place.subject for one in found if one.entry is not None}
    for one in found:
        for remark in one.remarks:
            softer = remark.kind is RemarkKind.SUBJECT and one.place.subject in with_table
            remarks.append(replace(remark, kind=RemarkKind.SESSION) if softer else remark)
        if one.entry is not None:
            entry, gaps = without_gaps(one.entry)
            entries.append(entry)
            remarks += _no_numbers(name, one.place, gaps)
    named, choices = with_one_name(entries)
    known = {(remark.where, measure) for remark in remarks for measure in remark.measures}
    for remark in incomplete(name, named):
        new = remark.without({measure for where, measure in known if where == remark.where})
        remarks += [new] if new is not None else []
    return StatsTable(name, named, (*remarks, *choices))


def _no_numbers(name: str, place: Place, gaps: tuple[Number, ...]) -> list[Remark]:
    if not gaps:
        return []
    names = [(wide_name(name, gap) or gap.region, gap.measurement) for gap in gaps]
    return [Remark.of_measures(str(place), "no valid number for {shown}", names)]


def read_run(
    table: Table, place: Place, located: TableFiles, content: Callable[[str], bytes], *, stamp: str = ""
) -> Collected:
    """Read the files of one table of one run; unusable files become remarks.

    Args:
        table: What to read.
        place: Where it comes from.
        located: Its files.
        content: Gives the bytes of a file; may raise VerifyError, TransferError or OSError.
        stamp: Version from a better source than the statistics.
    """
    remarks: list[Remark] = []
    read: dict[str, StatsText] = {}
    for side, name in located.by_side.items():
        try:
            read[name] = table.read(content(name), side)
        except (StatisticsError, VerifyError, TransferError, OSError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            remarks.append(Remark(RemarkKind.BROKEN, str(place), f"{name}: {words}"))
    read, about_names = _of_one_subject(place, located, read)
    remarks += about_names
    remarks += [Remark(RemarkKind.FILE, str(place), f"{name} does not exist") for name in located.missing]
    if located.instead:
        words = f"reads {', '.join(located.by_side.values())}, because {table.shown} does not exist"
        remarks.append(Remark(RemarkKind.CHOICE, str(place), words))
    if located.older and read:
        words = f"reads {', '.join(located.by_side.values())}, not {', '.join(located.older)}"
        remarks.append(Remark(RemarkKind.CHOICE, str(place), words))
    if not read:
        return Collected(place, None, tuple(remarks))
    if "" not in located.by_side:
        sides = {name: side for side, name in located.by_side.items()}
        by_side, apart = with_sides({sides[name]: text for name, text in read.items()})
        read = {located.by_side[side]: text for side, text in by_side.items()}
        if apart:
            words = "the files of both hemispheres differ in {shown}; both values are listed, with their side"
            remarks.append(Remark.of_measures(str(place), words, apart))
    versions = [version_of(text.stats) for text in read.values()]
    place = replace(place, fs_version=_best([stamp, *versions], place.resource))
    parts = []
    for name, text in read.items():
        kept, dropped = _without_spoiled(table, place, text)
        parts.append((name, kept))
        remarks += dropped
    return Collected(place, StatsEntry(place, tuple(parts)), tuple(dict.fromkeys(remarks)))


def _of_one_subject(
    place: Place, located: TableFiles, read: dict[str, StatsText]
) -> tuple[dict[str, StatsText], list[Remark]]:
    """Drop files of other subjects; if all files name one other subject, only add a remark."""
    named = {name: text.stats.fields.get("subjectname", "") for name, text in read.items()}
    names = {subject for subject in named.values() if subject}
    if not names or names == {located.top}:
        return read, []
    if len(names) == 1:
        (other,) = names
        if located.top:
            words = f"the folder is {located.top}, but the statistics name subject {other}"
            return read, [Remark(RemarkKind.NAME, str(place), words)]
        return read, []
    kept = {name: text for name, text in read.items() if named[name] in {"", located.top}}
    return kept, [
        Remark(RemarkKind.BROKEN, str(place), f"{name}: names another subject, {named[name]}")
        for name in read
        if name not in kept
    ]


def _best(versions: Sequence[str], label: str) -> str:
    """The most exact of some versions, the first among equals; else the one of the resource label."""
    named = [version for version in versions if version]
    if named:
        return max(named, key=lambda version: version.count("."))
    return ".".join(map(str, family_of(label)[1]))


def _without_spoiled(table: Table, place: Place, text: StatsText) -> tuple[tuple[Number, ...], list[Remark]]:
    spoiled = spoiled_volumes(text.stats, high_resolution="HIRES" in family_of(place.resource)[2].upper())
    dropped = [number for number in text.numbers if number.region in spoiled]
    if not dropped:
        return text.numbers, []
    names = [(wide_name(table.name, number) or number.region, number.measurement) for number in dropped]
    words = (
        "{count} left out: FreeSurfer before 7 computes volumes of the whole brain in voxels, which are not 1 mm^3 here"
        " ({shown})"
    )
    kept = tuple(number for number in text.numbers if number.region not in spoiled)
    return kept, [Remark.of_measures(str(place), words, names)]
