"""The tab-separated tables of a dataset: participants, sessions, scans."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.checks.privacy import names_person
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from xnatferry.sources.model import Finding

_LIMIT_BYTES: Final = 64 << 20
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Table:
    """A table.

    Attributes:
        columns: Names of its columns; empty when the table cannot be used.
        rows: Cells by column; ``n/a``, empty cells and columns that name a person are left out: no field gets them.
        findings: Problems of the table.
    """

    columns: tuple[str, ...] = ()
    rows: tuple[Mapping[str, str], ...] = ()
    findings: tuple[Finding, ...] = field(default=())

    def by(self, column: str) -> Iterator[tuple[str, Mapping[str, str]]]:
        """Rows with their value in *column*."""
        for row in self.rows:
            if column in row:
                yield row[column], row


def read_tsv(path: Path, key: str, *more: str) -> Table:
    """Read a table whose rows are identified by *key*; a byte order mark and Windows line ends are accepted.

    Args:
        path: The table.
        key: The column that every row is known by: ``participant_id``.
        more: Columns that may tell rows of one key apart: ``session_id``.
    """
    try:
        if path.stat().st_size > _LIMIT_BYTES:
            why = f"the table is larger than {_LIMIT_BYTES >> 20} MiB; its values are not used"
            return Table(findings=(found("BIDS08", why, path),))
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return Table(
            findings=(found("BIDS08", f"the table cannot be read ({error.strerror}); check its permissions", path),)
        )
    except UnicodeDecodeError as error:
        why = f"the table is not UTF-8 (byte {error.start}), so its values are not used; save it as UTF-8"
        return Table(findings=(found("BIDS08", why, path),))
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    columns = tuple(cell.strip() for cell in lines[0].split("\t"))
    if not text.strip():
        return Table(findings=(found("BIDS08", "the table is empty; add a header line", path),))
    if key not in columns:
        why = f"the header has no column {key}" + (
            " (the header line is missing)"
            if any(cell.startswith(("sub-", "ses-")) or "/" in cell for cell in columns)
            else ""
        )
        return Table(findings=(found("BIDS08", f"{why}, so its values are not used; add it", path, line=1),))
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        return Table(
            findings=(
                found("BIDS08", f"column {twice!r} occurs twice, so the table's values are not used; rename one", path),
            )
        )
    return _rows(path, (key, *more), columns, lines[1:])


def _rows(path: Path, keys: tuple[str, ...], columns: tuple[str, ...], lines: list[str]) -> Table:
    rows: list[dict[str, str]] = []
    findings: list[Finding] = []
    ragged: list[int] = []
    repeated: list[tuple[int, str]] = []
    empty = 0
    seen: dict[str, int] = {}
    personal = {name for name in columns if names_person(name)}
    for number, line in enumerate(lines, start=2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) != len(columns):
            ragged.append(number)
            continue
        empty += sum(not cell for cell in cells)
        given = zip(columns, cells, strict=True)
        row = {name: cell for name, cell in given if cell and cell.lower() != "n/a" and name not in personal}
        name = " ".join(row[key] for key in keys if key in row)
        if name in seen:
            repeated.append((number, f"{name} is also in line {seen[name]}"))
            continue
        if keys[0] in row:
            seen[name] = number
        rows.append(row)
    if repeated:
        where, first = repeated[0]
        more = f" ({counted(len(repeated) - 1, 'more row')} of this kind)" if len(repeated) > 1 else ""
        findings.append(found("BIDS09", f"{first}{more}; only the first row is used", path, line=where))
    if ragged:
        shown = ", ".join(map(str, ragged[:_NAMED])) + (" ..." if len(ragged) > _NAMED else "")
        why = f"rows without exactly {counted(len(columns), 'cell')}, as in the header: line {shown}; they are not used"
        findings.append(found("BIDS09", why, path, line=ragged[0]))
    if empty:
        why = f"{counted(empty, 'empty cell')} instead of n/a; read as missing"
        findings.append(found("BIDS09", why, path))
    return Table(columns, tuple(rows), tuple(findings))
