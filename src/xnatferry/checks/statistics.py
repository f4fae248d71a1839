"""FreeSurfer's ``.stats`` files, as far as a check needs them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["StatisticsError", "StatsTable", "read_stats"]

_HEADER_FIELD = re.compile(r"#\s+(\w+)\s+(.*)")


class StatisticsError(ValueError):
    """A statistics file that cannot be parsed; the text says why."""


@dataclass(frozen=True, slots=True)
class StatsTable:
    """One ``.stats`` file.

    Attributes:
        fields: Header lines ``# name value`` by name: ``subjectname``, ``hemi``, ``user``, ``cvs_version`` ...
        measures: ``# Measure`` lines: value by their short name (``eTIV``).
        columns: Names of the table's columns.
        rows: Cells of each row.
    """

    fields: dict[str, str] = field(default_factory=dict)
    measures: dict[str, float] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()

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


def read_stats(content: bytes) -> StatsTable:
    """Parse a statistics file.

    Raises:
        StatisticsError: A measure is no number, or the table is not as long or wide as the header says.
    """
    fields: dict[str, str] = {}
    measures: dict[str, float] = {}
    columns: tuple[str, ...] = ()
    rows: list[tuple[str, ...]] = []
    for line in content.decode("utf-8", "replace").splitlines():
        if line.startswith("# Measure "):
            # The description may hold commas: the value is the last but one, the unit the last.
            parts = [part.strip() for part in line.removeprefix("# Measure ").split(",")]
            try:
                measures[parts[1]] = float(parts[-2])
            except (IndexError, ValueError) as error:
                raise StatisticsError(f"the measure {parts[0]!r} has no number") from error
        elif line.startswith("# ColHeaders"):
            columns = tuple(line.split()[2:])
        elif line.startswith("#"):
            if (match := _HEADER_FIELD.match(line)) is not None:
                fields.setdefault(match[1], match[2].strip())
        elif line.strip():
            rows.append(tuple(line.split()))
    if columns:
        _check_shape(fields, columns, rows)
    return StatsTable(fields, measures, columns, tuple(rows))


def _check_shape(fields: dict[str, str], columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    if (said := fields.get("NRows")) is not None and said != str(len(rows)):
        raise StatisticsError(f"its header says {said} rows, there are {len(rows)}; it may be cut off")
    if (said := fields.get("NTableCols")) is not None and said != str(len(columns)):
        raise StatisticsError(f"its header says {said} columns and names {len(columns)}")
    for row in rows:
        if len(row) != len(columns):
            raise StatisticsError(f"the row {' '.join(row)[:40]!r} has {len(row)} cells instead of {len(columns)}")
