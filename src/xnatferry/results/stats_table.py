"""A table of FreeSurfer measurements: the numbers, their origin, and what is missing."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from xnatferry.errors import UsageError
from xnatferry.freesurfer.measurements import TABLES, Number, short_measurement, usual_region, wide_name
from xnatferry.freesurfer.versions import major_of
from xnatferry.results.tables import Cell, Grid, pandas_frame, polars_frame, write_grid
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path


class RemarkKind(StrEnum):
    """What a remark is about."""

    SUBJECT = "subject"
    """A subject has no table."""
    SESSION = "session"
    """A session has no table, but another session of the subject has."""
    FILE = "file"
    """One of several files is missing: a hemisphere."""
    BROKEN = "broken"
    """A file cannot be used or downloaded."""
    MEASURE = "measure"
    """Numbers are invalid, or missing that others of the same version have."""
    CHOICE = "choice"
    """One of several was read."""
    NAME = "name"
    """The statistics name another subject."""

    @property
    def lacks(self) -> bool:
        """Whether the table of a subject is incomplete: the exit code is then 1."""
        return self in {RemarkKind.SUBJECT, RemarkKind.FILE, RemarkKind.BROKEN}


@dataclass(frozen=True, slots=True)
class Remark:
    """A remark about one subject or session.

    Attributes:
        kind: What it is about.
        where: Address or folder.
        message: The remark.
        measures: Names of the measures that it is about, as in the wide form.
        measurements: The measurement of each.
        pattern: The message with ``{count}`` and ``{shown}`` in place of the measures.
    """

    kind: RemarkKind
    where: str
    message: str
    measures: tuple[str, ...] = ()
    measurements: tuple[str, ...] = ()
    pattern: str = ""

    @classmethod
    def of_measures(cls, where: str, pattern: str, measures: Iterable[tuple[str, str]]) -> Remark:
        """A remark about *measures*, each a name and a measurement; see `pattern`."""
        measures = tuple(dict(measures).items())
        names = tuple(name for name, _ in measures)
        shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
        message = pattern.format(count=counted(len(names), "measure", "are"), shown=shown)
        return cls(RemarkKind.MEASURE, where, message, names, tuple(of for _, of in measures), pattern)

    def without(self, names: Collection[str] = (), *, measurements: Collection[str] | None = None) -> Remark | None:
        """The same without the measures of these *names*, and only of these *measurements*; None if none is left."""
        if not self.measures:
            return self
        pairs = zip(self.measures, self.measurements, strict=True)
        kept = [(n, of) for n, of in pairs if n not in names and (measurements is None or of in measurements)]
        return Remark.of_measures(self.where, self.pattern, kept) if kept else None

    def to_dict(self) -> dict[str, object]:
        """The remark as JSON members."""
        found: dict[str, object] = {
            "kind": self.kind.value,
            "where": self.where,
            "message": self.message,
            "missing": self.kind.lacks,
        }
        return {**found, "measures": list(self.measures)} if self.measures else found


@dataclass(frozen=True, slots=True)
class Place:
    """The session or folder of numbers, with its attributes.

    Attributes:
        project: Project ID; empty without a server, as all of the following that are unknown.
        subject: Subject label.
        session: Session label.
        experiment_id: The session's accession ID.
        date: Date of the session, ``YYYY-MM-DD``.
        sex: As on the server.
        age: At the session, in years.
        resource: Label of the resource that was read.
        fs_version: Version of FreeSurfer: ``7.4.1``, only ``6`` if it was inferred.
        folder: Path of a local run, which remarks name; not a column.
    """

    project: str = ""
    subject: str = ""
    session: str = ""
    experiment_id: str = ""
    date: str = ""
    sex: str = ""
    age: float | None = None
    resource: str = ""
    fs_version: str = ""
    folder: str = ""

    def __str__(self) -> str:
        if self.folder:
            return self.folder
        labels = (self.project, self.subject, self.session)
        return "/".join(label for label in labels if label) or self.resource


_PLACE_COLUMNS: Final = tuple(name for name in Place.__dataclass_fields__ if name != "folder")
_LONG_COLUMNS: Final = (*_PLACE_COLUMNS, "file", "atlas", "side", "region", "measurement", "value", "unit")


@dataclass(frozen=True, slots=True)
class StatsEntry:
    """The numbers of one session or folder.

    Attributes:
        place: Where they come from.
        parts: Name of each file that was read, with its numbers.
    """

    place: Place
    parts: tuple[tuple[str, tuple[Number, ...]], ...]

    def numbers(self) -> Iterator[Number]:
        """All numbers; whole-brain measures, which are in the files of both hemispheres, once."""
        for _, number in self.filed():
            yield number

    def filed(self) -> Iterator[tuple[str, Number]]:
        """All numbers with their files."""
        seen: set[tuple[str, str]] = set()
        for file, numbers in self.parts:
            for number in numbers:
                if not number.side:
                    key = (number.region, number.measurement)
                    if key in seen:
                        continue
                    seen.add(key)
                yield file, number


@dataclass(frozen=True, slots=True)
class StatsTable:
    """One kind of measurements of many sessions.

    Attributes:
        name: ``aseg``, ``aparc`` ...
        entries: One for each session or folder that has numbers.
        remarks: What is missing, and what was selected.
        fetched_files: Number of downloaded files.
        cached_files: Number of files from the cache.
    """

    name: str
    entries: tuple[StatsEntry, ...]
    remarks: tuple[Remark, ...] = ()
    fetched_files: int = 0
    cached_files: int = 0

    @property
    def lacking(self) -> tuple[Remark, ...]:
        """Remarks about subjects with an incomplete table."""
        return tuple(remark for remark in self.remarks if remark.kind.lacks)

    def only(self, measurements: Sequence[str]) -> StatsTable:
        """The same with some measurements only; see `chosen_measurements`."""
        if not measurements:
            return self
        wanted = chosen_measurements(self, measurements)
        entries = tuple(
            replace(
                entry,
                parts=tuple(
                    (file, tuple(number for number in numbers if number.measurement in wanted))
                    for file, numbers in entry.parts
                ),
            )
            for entry in self.entries
        )
        remarks = (remark.without(measurements=wanted) for remark in self.remarks)
        return replace(self, entries=entries, remarks=tuple(remark for remark in remarks if remark is not None))

    def grid(self, *, wide: bool = False) -> Grid:
        """The numbers as a table: a row for each number, or one for each session with *wide*."""
        return self._wide() if wide else self._long()

    def remarks_grid(self) -> Grid:
        """The remarks as a table."""
        rows = [(r.kind.value, r.where, r.message, " ".join(r.measures)) for r in self.remarks]
        return Grid(("kind", "where", "message", "measures"), frozenset(), lambda: rows, len(rows))

    def write(self, path: Path, *, wide: bool = False) -> None:
        """Write it as CSV, TSV, XLSX (with a sheet of remarks) or Parquet, by the ending of *path*.

        Raises:
            UsageError: The ending or folder is not valid, or polars is missing for Parquet.
            DataError: It is too large for the format, or cannot be written.
        """
        second = ("remarks", self.remarks_grid()) if self.remarks else None
        write_grid(path, self.grid(wide=wide), name=self.name, second=second)

    def to_polars(self, *, wide: bool = False) -> Any:
        """The table as ``polars.DataFrame``; UsageError if polars is not installed."""
        return polars_frame(self.grid(wide=wide))

    def to_pandas(self, *, wide: bool = False) -> Any:
        """The table as ``pandas.DataFrame``; UsageError if pandas is not installed."""
        return pandas_frame(self.grid(wide=wide))

    def _long(self) -> Grid:
        def rows() -> Iterator[tuple[Cell, ...]]:
            for entry in self.entries:
                place = _cells(entry.place)
                for file, (side, region, measurement, value, unit) in entry.filed():
                    yield (*place, file, self.name, side, region, measurement, value, unit)

        height = sum(1 for entry in self.entries for _ in entry.filed())
        return Grid(_LONG_COLUMNS, frozenset({"age", "value"}), rows, height)

    def _wide(self) -> Grid:
        held: list[dict[str, float]] = []
        for entry in self.entries:
            names = ((wide_name(self.name, number), number.value) for number in entry.numbers())
            held.append({name: value for name, value in names if name is not None})
        measures = tuple(dict.fromkeys(name for values in held for name in values))

        def rows() -> Iterator[tuple[Cell, ...]]:
            for entry, values in zip(self.entries, held, strict=True):
                yield (*_cells(entry.place), *(values.get(name) for name in measures))

        return Grid((*_PLACE_COLUMNS, *measures), frozenset({"age", *measures}), rows, len(held))


def _cells(place: Place) -> tuple[Cell, ...]:
    return tuple(getattr(place, name) for name in _PLACE_COLUMNS)


def chosen_measurements(table: StatsTable, asked: Sequence[str]) -> frozenset[str]:
    """Measurements of *table* that *asked* names: our names (``ThickAvg``) or FreeSurfer's (``thickness``).

    Raises:
        UsageError: The table has no measurement of this name.
    """
    there = Counter(number.measurement for entry in table.entries for number in entry.numbers())
    wanted: set[str] = set()
    for name in asked:
        found = {one for one in there if name in {one, short_measurement(one)}}
        if there and not found:
            known = ", ".join(dict.fromkeys(short_measurement(one) for one in there))
            raise UsageError(f"table {table.name} has no measurement {name!r}; use one of {known}")
        wanted |= found
    return frozenset(wanted)


def with_one_name(entries: Sequence[StatsEntry]) -> tuple[tuple[StatsEntry, ...], tuple[Remark, ...]]:
    """The entries with one name for a region that versions call differently, if both names are in the table."""
    held = [{number.region for number in entry.numbers()} for entry in entries]
    every = set().union(*held)
    renamed = {name: usual for name in every if (usual := usual_region(name)) != name and usual in every}
    if not renamed:
        return tuple(entries), ()
    made: list[StatsEntry] = []
    remarks: list[Remark] = []
    for entry, regions in zip(entries, held, strict=True):
        names = {name: renamed[name] for name in sorted(regions & set(renamed)) if renamed[name] not in regions}
        parts = tuple(
            (file, tuple(n._replace(region=names.get(n.region, n.region)) for n in numbers))
            for file, numbers in entry.parts
        )
        made.append(replace(entry, parts=parts) if names else entry)
        if names:
            (name, usual), more = next(iter(names.items())), len(names) - 1
            words = f"{name} is listed as {usual}, its name in other versions" + (f" (and {more} more)" if more else "")
            remarks.append(Remark(RemarkKind.CHOICE, str(entry.place), words))
    return tuple(made), tuple(remarks)


def without_gaps(entry: StatsEntry) -> tuple[StatsEntry, tuple[Number, ...]]:
    """The entry without invalid numbers (NaN, infinite), and these numbers."""
    gaps = tuple(number for _, numbers in entry.parts for number in numbers if not math.isfinite(number.value))
    if not gaps:
        return entry, ()
    parts = tuple((file, tuple(n for n in numbers if math.isfinite(n.value))) for file, numbers in entry.parts)
    return replace(entry, parts=parts), gaps


def incomplete(name: str, entries: Iterable[StatsEntry]) -> Iterator[Remark]:
    """Entries with missing measures: those that others of the same major version have, or that every version has.

    ``wmparc.stats`` leaves out structures without voxels, so missing measures there need not be an error.
    """
    held = [(entry, {_key(number) for number in entry.numbers()}) for entry in entries]
    of_version: dict[tuple[str, str], dict[tuple[str, str, str], Number]] = defaultdict(dict)
    for entry, _ in held:
        for number in entry.numbers():
            of_version[_kin(entry)].setdefault(_key(number), number)
    for entry, keys in held:
        sides = {number.side for number in entry.numbers() if number.side}
        either = {(region, measurement) for _, region, measurement in keys}
        lacking = [
            number
            for key, number in of_version[_kin(entry)].items()
            if key not in keys
            and ("", *key[1:]) not in keys  # of the whole brain here, of one side elsewhere
            and (number.side in sides if number.side else key[1:] not in either)
        ]
        names = [(wide, number.measurement) for number in lacking if (wide := wide_name(name, number)) is not None]
        regions = {usual_region(n.region) for n in (*entry.numbers(), *lacking)}
        names += [pair for pair in TABLES[name].expected.items() if pair[0] not in regions]
        if names:
            whose = "others of its version have" if lacking else "every version has"
            yield Remark.of_measures(str(entry.place), f"{{count}} missing that {whose}: {{shown}}", names)


def _key(number: Number) -> tuple[str, str, str]:
    return number.side, number.region, number.measurement


def _kin(entry: StatsEntry) -> tuple[str, str]:
    return major_of(entry.place.fs_version), entry.place.resource.partition("_")[0]
