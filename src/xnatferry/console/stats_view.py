"""A table of measurements: its size and what is missing, as lines and as JSON records."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from rich.text import Text

from xnatferry.results.stats_table import RemarkKind
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xnatferry.results.stats_table import Remark, StatsTable
    from xnatferry.results.tables import Grid

_SHOWN = 4


def remark_lines(remarks: Sequence[Remark], *, everything: bool) -> Iterator[Text]:
    """One line for each remark; the same about several sessions in one line, unless *everything* is wanted."""
    alike: dict[tuple[RemarkKind, str], list[str]] = defaultdict(list)
    for remark in remarks:
        alike[remark.kind, remark.message].append(remark.where)
    for kind in RemarkKind:
        style = "yellow" if kind.lacks else "dim"
        for (one, message), places in alike.items():
            if one is not kind:
                continue
            if everything:
                yield from (Text(f"{_word(kind):<8}{place}: {message}", style=style) for place in places)
                continue
            shown = ", ".join(places[:_SHOWN])
            if len(places) > _SHOWN:
                shown += f" and {len(places) - _SHOWN:,} more (-v lists all)"
            yield Text(f"{_word(kind):<8}{shown}: {message}", style=style)


def _word(kind: RemarkKind) -> str:
    return "missing" if kind.lacks and kind is not RemarkKind.BROKEN else kind.value


def remark_records(remarks: Sequence[Remark]) -> Iterator[dict[str, object]]:
    """One record a remark."""
    for remark in remarks:
        yield {"record": "remark", **remark.to_dict()}


def row_records(grid: Grid) -> Iterator[dict[str, object]]:
    """One record a row."""
    for row in grid.rows():
        yield {"record": "row", **dict(zip(grid.columns, row, strict=True))}


def stats_line(table: StatsTable, grid: Grid, target: str) -> Text:
    """What was written where, and how many files were fetched or cached."""
    subjects = len({entry.place.subject for entry in table.entries})
    size = f"{counted(grid.height, 'row')} of {counted(len(grid.columns), 'column')}"
    line = Text(f"{target}: {table.name} of {counted(subjects, 'subject')}, {size}")
    if table.fetched_files or table.cached_files:
        line.append(
            f"; {counted(table.fetched_files, 'file')} fetched, {table.cached_files:,} from the cache", style="dim"
        )
    return line


def stats_record(table: StatsTable, grid: Grid, target: str | None, exit_code: int) -> dict[str, object]:
    """The same as a JSON record."""
    return {
        "record": "result",
        "exit_code": exit_code,
        "table": table.name,
        "file": target,
        "rows": grid.height,
        "columns": len(grid.columns),
        "subjects": len({entry.place.subject for entry in table.entries}),
        "sessions": len(table.entries),
        "missing": len(table.lacking),
        "fetched_files": table.fetched_files,
        "cached_files": table.cached_files,
    }
