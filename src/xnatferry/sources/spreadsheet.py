"""The first sheet of an XLSX file as rows of text: what the spreadsheet shows, numbered as it does."""

from __future__ import annotations

import re
import warnings
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Final
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

if TYPE_CHECKING:
    from pathlib import Path

#: A number format for whole numbers: digits (``0``, ``#``) between literal text. Others show the number itself.
_TOKENS: Final = re.compile(r'"([^"]*)"|\\(.)|_.|\*.|([0#?])|([-_ /():A-Z])')


def xlsx_lines(path: Path) -> tuple[list[tuple[int, list[str]]], frozenset[int]]:
    """Every non-empty row with its number, and the numbers of rows that are hidden or filtered out.

    The sheet is the first one that is not hidden. Of formulas the last value is used.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no XLSX.
    """
    from openpyxl import load_workbook  # noqa: PLC0415  # slow to import, and only this format needs it
    from openpyxl.utils.exceptions import InvalidFileException  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # drop-down lists and colours that it does not know are no loss to us
            book = load_workbook(path, data_only=True)
            sheet = next((sheet for sheet in book.worksheets if sheet.sheet_state == "visible"), book.worksheets[0])
            rows = [[_text(cell.value, cell.number_format) for cell in row] for row in sheet.iter_rows()]
            hidden = {line for line, row in sheet.row_dimensions.items() if row.hidden}
    except (BadZipFile, LookupError, ParseError, InvalidFileException) as error:
        raise ValueError(str(error)) from error
    return [(line, _cut(row)) for line, row in enumerate(rows, start=1) if any(row)], frozenset(hidden)


def _text(value: Any, number_format: str) -> str:
    """A cell as the spreadsheet shows it; a day as ``2024-05-01``, however it is shown."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        midnight = (value.hour, value.minute, value.second, value.microsecond) == (0, 0, 0, 0)
        return value.date().isoformat() if midnight else value.isoformat(sep=" ")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _formatted(value, number_format) if isinstance(value, int) and value >= 0 else str(value)


def _formatted(number: int, number_format: str) -> str:
    """A whole number in a format such as ``000`` or ``"P"000``, with the digits from the right.

    >>> _formatted(7, "000"), _formatted(7, '"P"00'), _formatted(12345, "00-00"), _formatted(7, "General")
    ('007', 'P07', '123-45', '7')
    """
    first = number_format.partition(";")[0]
    tokens = list(_TOKENS.finditer(first))
    places = [token[3] for token in tokens if token[3]]
    if not places or "".join(token[0] for token in tokens) != first:
        return str(number)
    digits = list(reversed(str(number))) if number else []
    shown: list[str] = []
    for token in reversed(tokens):
        if token[3]:
            places.pop()
            digit = digits.pop(0) if digits else {"0": "0", "#": "", "?": " "}[token[3]]
            rest = "" if places else "".join(reversed(digits))
            shown.append(rest + digit)
        else:
            shown.append(token[1] or token[2] or token[4] or "")
    return "".join(reversed(shown)).strip()


def _cut(row: list[str]) -> list[str]:
    """Without the empty cells that spreadsheets append."""
    while row and not row[-1].strip():
        row.pop()
    return row
