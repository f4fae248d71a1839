"""Writes tables as CSV, TSV and XLSX; as Parquet and data frames with polars or pandas."""

from __future__ import annotations

import csv
import importlib.util
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any, Final

from xnatferry.durable import replacing
from xnatferry.errors import DataError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

#: A text, a number, or empty.
Cell = str | float | None

#: Limits of XLSX, including the header row.
_XLSX_ROWS: Final = 1_048_576
_XLSX_COLUMNS: Final = 16_384


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of text and number columns.

    Attributes:
        columns: Names.
        numeric: Names of columns with numbers; the others are text.
        rows: Returns the rows, again at each call.
        height: How many rows.
    """

    columns: tuple[str, ...]
    numeric: frozenset[str]
    rows: Callable[[], Iterable[Sequence[Cell]]]
    height: int


def check_writable(path: Path) -> None:
    """Check that a table can be written to *path*, before data is collected.

    Raises:
        UsageError: Its ending or folder is not valid, or a package is missing.
    """
    if path.suffix.lower() not in _WRITERS:
        raise UsageError(f"{path}: unknown table format; use the ending {', '.join(_WRITERS)}")
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "it is a folder" if path.is_dir() else f"folder {path.absolute().parent} does not exist"
        raise UsageError(f"{path}: cannot be written: {what}")
    if path.suffix.lower() == ".parquet":
        _needed("polars", "writing Parquet")


def write_grid(path: Path, grid: Grid, *, name: str, second: tuple[str, Grid] | None = None) -> None:
    """Write *grid* to *path* atomically, in the format of its ending.

    Args:
        path: The file.
        grid: The table.
        name: Name of the sheet, in XLSX.
        second: Name and content of a second sheet, in XLSX.

    Raises:
        UsageError: See `check_writable`.
        DataError: It is too large for the format, or cannot be written.
    """
    check_writable(path)
    try:
        with replacing(path) as part:
            _WRITERS[path.suffix.lower()](part, grid, name, second)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror or error})") from None


def write_csv(stream: IO[str], grid: Grid, *, delimiter: str = ",") -> None:
    """Write *grid* as CSV with a header row; numbers in their shortest exact form."""
    writer = csv.writer(stream, delimiter=delimiter, lineterminator="\n")
    writer.writerow(grid.columns)
    writer.writerows([_text(cell) for cell in row] for row in grid.rows())


def _text(cell: Cell) -> str:
    if isinstance(cell, str):
        return cell
    return "" if cell is None else repr(float(cell)).removesuffix(".0")


def polars_frame(grid: Grid) -> Any:
    """A ``polars.DataFrame``: numbers as Float64, text as String.

    Raises:
        UsageError: polars is not installed.
    """
    polars = _needed("polars", "a polars data frame")
    schema = {name: polars.Float64 if name in grid.numeric else polars.String for name in grid.columns}
    return polars.DataFrame(_by_column(grid), schema=schema)


def pandas_frame(grid: Grid) -> Any:
    """A ``pandas.DataFrame``: numbers as float64 with NaN for empty cells.

    Raises:
        UsageError: pandas is not installed.
    """
    pandas = _needed("pandas", "a pandas data frame")
    frame = pandas.DataFrame(_by_column(grid), columns=list(grid.columns))
    return frame.astype({name: "float64" for name in grid.columns if name in grid.numeric})


def _by_column(grid: Grid) -> dict[str, list[Cell]]:
    values: list[list[Cell]] = [[] for _ in grid.columns]
    for row in grid.rows():
        for column, cell in zip(values, row, strict=True):
            column.append(cell)
    return dict(zip(grid.columns, values, strict=True))


def _needed(package: str, what: str) -> Any:
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"{what} needs {package}, which is not installed; install the extra: pip install 'xnatferry[tables]'; "
            "CSV, TSV and XLSX need no extra"
        )
    return import_module(package)


def _write_text(path: Path, grid: Grid, *_: object, delimiter: str) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        write_csv(stream, grid, delimiter=delimiter)


def _write_xlsx(path: Path, grid: Grid, name: str, second: tuple[str, Grid] | None) -> None:
    # takes 0.2 s, and only this format needs it
    from openpyxl import Workbook  # noqa: PLC0415
    from openpyxl.utils import get_column_letter  # noqa: PLC0415

    if grid.height >= _XLSX_ROWS or len(grid.columns) > _XLSX_COLUMNS:
        raise DataError(
            f"the table is too large for XLSX ({grid.height:,} rows of {len(grid.columns):,} columns); "
            "write .csv or .parquet, use --wide, or select measurements with --measure"
        )
    book = Workbook(write_only=True)  # rows are written one by one
    for title, content in ((name, grid), *((second,) if second is not None else ())):
        sheet = book.create_sheet(title[:31])
        sheet.freeze_panes = "A2"
        for at in range(1, len(content.columns) + 1):
            sheet.column_dimensions[get_column_letter(at)].width = 16
        sheet.append([_xlsx_text(sheet, column, bold=True) for column in content.columns])
        for row in content.rows():
            sheet.append([_xlsx_text(sheet, cell) if isinstance(cell, str) else cell for cell in row])
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(content.columns))}{content.height + 1}"
    book.save(path)


def _xlsx_text(sheet: Any, text: str, *, bold: bool = False) -> Any:
    """A cell that shows *text*, also if it begins with "="; characters that XML lacks are escaped as Excel does."""
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, WriteOnlyCell  # noqa: PLC0415
    from openpyxl.styles import Font  # noqa: PLC0415

    cell = WriteOnlyCell(sheet, ILLEGAL_CHARACTERS_RE.sub(lambda found: f"_x{ord(found[0]):04X}_", text))
    cell.data_type = "s"
    if bold:
        cell.font = Font(bold=True)
    return cell


_WRITERS: Final[dict[str, Callable[[Path, Grid, str, tuple[str, Grid] | None], None]]] = {
    ".csv": partial(_write_text, delimiter=","),
    ".tsv": partial(_write_text, delimiter="\t"),
    ".xlsx": _write_xlsx,
    ".parquet": lambda path, grid, *_: polars_frame(grid).write_parquet(path),
}
