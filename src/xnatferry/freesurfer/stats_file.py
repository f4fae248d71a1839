"""FreeSurfer's ``.stats`` files and the ``NAME VALUE`` texts of its subfield segmentations.

Format of ``.stats`` as ``mri_segstats`` and ``mris_anatomical_stats`` (FreeSurfer 5.3 to 8) and FastSurfer's
``segstats.py`` write it: header lines beginning with ``#``, then one row of blank-separated cells for each structure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEADER_FIELD = re.compile(r"#\s+(\w+)\s+(.*)")
_COLUMN_UNIT = re.compile(r"#\s*TableCol\s+(\d+)\s+Units\s+(\S+)")
#: What C's ``printf`` writes for a number. Python reads more: ``1_5`` as 15, and digits of other scripts.
_NUMBER = re.compile(
    r"[-+]?(?:[0-9]+\.?[0-9]*(?:[eE][-+]?[0-9]+)?|\.[0-9]+(?:[eE][-+]?[0-9]+)?|nan|inf(?:inity)?)", re.IGNORECASE
)


class StatisticsError(ValueError):
    """A statistics file that cannot be parsed; the text says why."""


@dataclass(frozen=True, slots=True)
class StatsFile:
    """One ``.stats`` file.

    Attributes:
        fields: Header lines ``# name value`` by name: ``subjectname``, ``hemi``, ``user``, ``cvs_version`` ...
        measures: ``# Measure`` lines: value by their short name (``eTIV``).
        measure_units: Units of the measures, as written: ``mm^3``, ``mm^2``, ``mm``, ``unitless``.
        columns: Names of the table's columns.
        column_units: Units of the columns that have one; ``NA`` is none.
        rows: Cells of each row.
        brain_volumes_fixed: Whether the header says that its volumes are right at any voxel size
            (``BrainVolStatsFixed``, FreeSurfer 7 and later).
    """

    fields: dict[str, str] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    measure_units: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    column_units: dict[str, str] = field(default_factory=dict)
    rows: tuple[tuple[str, ...], ...] = ()
    brain_volumes_fixed: bool = False

    def column(self, name: str) -> list[float]:
        """Numbers of one column; empty when it is not there or holds something else."""
        if name not in self.columns:
            return []
        at = self.columns.index(name)
        try:
            return [float(row[at]) for row in self.rows]
        except ValueError:
            return []

    def value(self, structure: str, column: str) -> float | None:
        """One number of the row of a structure."""
        if "StructName" not in self.columns or column not in self.columns:
            return None
        for row in self.rows:
            if row[self.columns.index("StructName")] == structure:
                try:
                    return float(row[self.columns.index(column)])
                except ValueError:
                    return None
        return None


def number_in(text: str) -> float:
    """The number that *text* is, also NaN and infinity; ValueError if it is another notation (``1500000,5``)."""
    if _NUMBER.fullmatch(text) is None:
        raise ValueError(f"{text[:20]!r} is not a number")
    return float(text)


def read_stats(content: bytes) -> StatsFile:
    """Parse a statistics file.

    Raises:
        StatisticsError: A measure or cell is no number, a measure has two values, the table is not as long or wide as
            the header says, or the last line has no end.
    """
    fields: dict[str, str] = {}
    measures: dict[str, float] = {}
    measure_units: dict[str, str] = {}
    units: dict[int, str] = {}
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []
    fixed = False
    for line in content.decode("utf-8", "replace").split("\n"):
        if line.startswith("# Measure "):
            name, value, unit = _measure(line)
            if repr(first := measures.setdefault(name, value)) != repr(value):
                raise StatisticsError(f"the measure {name} has two values, {first:.10g} and {value:.10g}")
            measure_units.setdefault(name, unit)
        elif line.startswith("# ColHeaders"):
            columns = tuple(line.split()[2:])
        elif line.startswith("#"):
            fixed = fixed or line.startswith("# BrainVolStatsFixed")
            if (match := _COLUMN_UNIT.match(line)) is not None:
                units[int(match[1])] = match[2]
            elif (match := _HEADER_FIELD.match(line)) is not None:
                fields.setdefault(match[1], match[2].strip())
        elif line.strip():
            rows.append(tuple(line.split()))
    if columns:
        _check_shape(fields, columns, rows)
    _check_end(content)
    named = {name: units[at] for at, name in enumerate(columns, start=1) if units.get(at, "NA") != "NA"}
    return StatsFile(fields, measures, measure_units, columns, named, tuple(rows), fixed)


def read_volumes(content: bytes) -> dict[str, float]:
    """Parse the volumes of a subfield segmentation: mm^3 by structure, in the order of the file.

    ``segmentHA``, ``segmentBS``, ``segmentThalamicNuclei`` and ``segment_subregions`` write one ``NAME VALUE`` a line,
    and a copy in ``stats``: a comment, then ``NUMBER NUMBER 0 VALUE NAME``.

    Raises:
        StatisticsError: A line is something else, a structure is there twice, or the last line has no end.
    """
    volumes: dict[str, float] = {}
    for line in content.decode("utf-8", "replace").split("\n"):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, number = line.strip().rpartition(" ")
        if content.startswith(b"#") and len(cells := line.split()) == 5:
            name, number = cells[4], cells[3]
        try:
            value = number_in(number)
        except ValueError:
            raise StatisticsError(f"the line {line.strip()[:40]!r} is not a name with a number") from None
        name = name.strip()
        if not name or name in volumes:
            raise StatisticsError(f"the line {line.strip()[:40]!r} has no name, or a name that occurs twice")
        volumes[name] = value
    _check_end(content)
    return volumes


def _measure(line: str) -> tuple[str, float, str]:
    """Short name, value and unit of a ``# Measure`` line.

    Parts are separated by a comma and a blank: a comma inside of a number does not divide it. The description may hold
    commas: the value is the last but one, the unit the last. ``mris_anatomical_stats`` 6 forgets the comma behind
    ``CortexVol``, so the name ends at the first blank.
    """
    parts = [part.strip() for part in line.removeprefix("# Measure ").split(", ")]
    try:
        return parts[1].split()[0], number_in(parts[-2]), parts[-1]
    except (IndexError, ValueError) as error:
        raise StatisticsError(f"the measure {parts[0]!r} has no number") from error


def _check_shape(fields: dict[str, str], columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if (stated := fields.get("NRows")) is not None and stated != str(len(rows)):
        raise StatisticsError(f"the header states {stated} rows, the file has {len(rows)}; it may be truncated")
    # `mri_segstats --snr` of FreeSurfer 5 and 6 does not count the column SNR.
    widths = {str(len(columns)), str(len(columns) - ("SNR" in columns))}
    if (stated := fields.get("NTableCols")) is not None and stated not in widths:
        raise StatisticsError(f"the header states {stated} columns and names {len(columns)}")
    for row in rows:
        if len(row) != len(columns):
            raise StatisticsError(f"the row {' '.join(row)[:40]!r} has {len(row)} cells instead of {len(columns)}")
        for column, cell in zip(columns, row, strict=True):
            if column != "StructName" and _NUMBER.fullmatch(cell) is None:
                raise StatisticsError(f"{column} in the row {' '.join(row)[:40]!r} is {cell[:20]!r}, not a number")


def _check_end(content: bytes) -> None:
    """FreeSurfer ends every line: without the end of the last one, its number may be a part of what was written."""
    if content and not content.endswith(b"\n"):
        raise StatisticsError("the last line is incomplete; the file may be truncated")
