"""The first sheet of an XLSX file as rows of text, numbered as the spreadsheet shows them."""

from __future__ import annotations

import warnings
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["xlsx_lines"]


def xlsx_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Every non-empty row with its number. Of formulas the last value is used.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no XLSX.
    """
    from openpyxl import load_workbook  # noqa: PLC0415  # slow to import, and only this format needs it
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # drop-down lists and colours that it does not know are no loss to us
            book = load_workbook(path, read_only=True, data_only=True)
            try:
                rows = [[_text(value) for value in row] for row in book.worksheets[0].iter_rows(values_only=True)]
            finally:
                book.close()
    except (BadZipFile, LookupError, ParseError, InvalidFileException) as error:
        raise ValueError(str(error)) from error
    return [(line, _cut(row)) for line, row in enumerate(rows, start=1) if any(row)]


def _text(value: Any) -> str:
    """A cell as a user would type it: ``3`` for a number without fraction, ``2024-05-01`` for a day."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        midnight = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _cut(row: list[str]) -> list[str]:
    """Without the empty cells that spreadsheets append."""
    while row and not row[-1].strip():
        row.pop()
    return row
