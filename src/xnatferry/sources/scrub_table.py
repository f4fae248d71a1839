"""Cells of tables as text (TSV, CSV), and tables in which the cells of some columns are ``n/a``.

Everything else stays as it was written: quotes, blanks and line ends.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_LINE: Final = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)?")


def table_rows(text: str) -> Iterator[list[str]]:
    """The cells of each line, without their quotes; the first line has the names of the columns."""
    separator = _separator_of(text)
    for line in _LINE.findall(text):
        if line.strip():
            yield [_unquoted(cell) for cell in _cells(line.rstrip("\r\n"), separator)]


def without_columns(content: bytes, columns: Collection[str]) -> bytes:
    """A table with ``n/a`` in every cell of *columns*.

    Raises:
        ValueError: It is not UTF-8, or a quoted cell does not end in its line.
    """
    text = content.decode("utf-8")
    separator = _separator_of(text)
    places: set[int] | None = None
    changed: list[str] = []
    for line in _LINE.findall(text):
        body = line.rstrip("\r\n")
        if not body.strip():
            changed.append(line)
            continue
        if separator != "\t" and body.count('"') % 2:
            raise ValueError("a quoted cell goes over several lines")
        cells = _cells(body, separator)
        if places is None:
            places = {place for place, cell in enumerate(cells) if _unquoted(cell) in columns}
        else:
            cells = ["n/a" if place in places and _unquoted(cell) else cell for place, cell in enumerate(cells)]
        changed.append(separator.join(cells) + line[len(body) :])
    return "".join(changed).encode("utf-8")


def _separator_of(text: str) -> str:
    """What separates the cells: a tab where the header has one, else a comma or semicolon."""
    header = text.lstrip().partition("\n")[0]
    return "\t" if "\t" in header else max(",;", key=header.count)


def _cells(line: str, separator: str) -> list[str]:
    if separator == "\t" or '"' not in line:
        return line.split(separator)
    cell = rf'(?:^|(?<={separator}))(?:\s*"(?:[^"]|"")*"\s*|[^{separator}]*)(?={separator}|$)'
    return re.findall(cell, line)


def _unquoted(cell: str) -> str:
    text = cell.strip("\ufeff \t")
    return text[1:-1].replace('""', '"').strip() if len(text) > 1 and text[0] == text[-1] == '"' else text
