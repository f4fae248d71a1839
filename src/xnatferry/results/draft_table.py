"""Makes mapping tables from a folder of images, to edit and push."""

from __future__ import annotations

import ntpath
import posixpath
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import PurePath, PureWindowsPath
from typing import TYPE_CHECKING, Final

from xnatferry.errors import DataError
from xnatferry.results.tables import Grid
from xnatferry.sources.model import Severity
from xnatferry.sources.table import FACT_COLUMNS, column_name, read_lines

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence
    from pathlib import Path

    from xnatferry.sources.model import Discovery, Finding, Source

_CLAIMED: Final = ("subject", "session", "scan", "type", "series_description", "quality", "date", "resource")
#: With fewer rows, no warning counts as shared.
_FEW: Final = 4
#: Columns that people edit; the others are written again each time.
_EDITED: Final = ("file", *_CLAIMED)


@dataclass(frozen=True, slots=True)
class Draft:
    """A mapping table.

    Attributes:
        columns: The standard columns, then those that the user added.
        rows: Cells by column; empty ones are empty texts.
        kept: Number of files with edited cells, which are kept.
        gone: Number of files of the earlier table that were not found; their rows are kept and marked.
        shared: Warnings about most files, with their number; they are not repeated in the rows.
    """

    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    kept: int = 0
    gone: int = 0
    shared: Mapping[str, int] = field(default_factory=dict)

    @property
    def doubtful(self) -> int:
        """Rows with something in the column ``check``."""
        return sum(bool(row.get("check")) for row in self.rows)

    @property
    def grid(self) -> Grid:
        """The draft as a table of texts."""
        lines = [[row.get(column, "") for column in self.columns] for row in self.rows]
        return Grid(self.columns, frozenset(), lambda: lines, len(lines))


def draft_of(discovery: Discovery, table: Path) -> Draft:
    """The table of *discovery* for the file *table*, with the edits that *table* already contains.

    Raises:
        DataError: The existing file *table* is not a valid table.
    """
    home = table.absolute().parent
    shared = _shared(discovery.sources)
    rows = [_row(source, home, shared) for source in discovery.sources]
    named = {row["file"] for row in rows}
    for finding in discovery.findings:
        if finding.severity is Severity.ERROR and finding.path is not None and finding.path.is_file():
            file = cell_of(finding.path.absolute(), home)
            if file not in named:
                named.add(file)
                rows.append({"file": file, "check": finding.message})
    fresh = Draft((*_EDITED, *FACT_COLUMNS), tuple(rows), shared=shared)
    return _with_edits(fresh, table) if table.exists() else fresh


def cell_of(path: PurePath, home: PurePath) -> str:
    """The path of a file relative to the folder *home* of its table, with ``/`` on every system.

    Both are absolute. A file on another Windows drive has no relative path, so its absolute path is used.
    """
    rules = ntpath if isinstance(path, PureWindowsPath) else posixpath
    try:
        return type(path)(rules.relpath(path, home)).as_posix()
    except ValueError:
        return path.as_posix()


def _shared(sources: Sequence[Source]) -> dict[str, int]:
    """Warnings that more than half of the sources have."""
    if len(sources) < _FEW:
        return {}
    given = Counter(word for source in sources for word in {_text_of(f) for f in source.findings if _is_warning(f)})
    return {word: count for word, count in given.items() if count > len(sources) / 2}


def _row(source: Source, home: Path, shared: Container[str]) -> dict[str, str]:
    attributes = source.attributes
    voxel = (attributes.get(f"parameters/voxelRes/{axis}", "") for axis in "xyz")
    matrix = (attributes.get(f"parameters/{name}", "") for name in ("matrix/x", "matrix/y", "partitions"))
    return {
        "file": cell_of(source.path.absolute(), home),
        **{name: getattr(source.claims, name) or "" for name in _CLAIMED},
        "voxel_size": " x ".join(filter(None, voxel)),
        "matrix": " x ".join(filter(None, matrix)),
        "frames": attributes.get("frames", ""),
        "tr_ms": attributes.get("parameters/tr", ""),
        "check": _remarks(source, shared),
    }


def _remarks(source: Source, shared: Container[str]) -> str:
    """Remarks about a row: errors first, then a missing subject, then warnings."""
    words = [_text_of(finding) for finding in source.findings if finding.severity is Severity.ERROR]
    if source.claims.subject is None:
        words.append("no subject: the path does not contain one")
    words += [
        _text_of(finding) for finding in source.findings if _is_warning(finding) and _text_of(finding) not in shared
    ]
    return "; ".join(words)


def _is_warning(finding: Finding) -> bool:
    return finding.severity is Severity.WARNING


def _text_of(finding: Finding) -> str:
    return f"{finding.severity.value} {finding.id}: {finding.message}"


def _with_edits(fresh: Draft, table: Path) -> Draft:
    lines, _, problem = read_lines(table)
    if problem is not None:
        raise DataError(f"{problem.where}: {problem.message}; nothing was written")
    names = [column_name(cell) for cell in lines[0][1]]
    if "file" not in names:
        raise DataError(
            f"{table}: not a mapping table (no column 'file'); nothing was written, use another output file"
        )
    own = [name for name in dict.fromkeys(names) if name and name not in fresh.columns]
    before = [dict(zip(names, map(str.strip, cells), strict=False)) for _, cells in lines[1:]]
    edited = {row["file"]: row for row in before if row.get("file")}
    rows: list[Mapping[str, str]] = []
    kept = 0
    for row in fresh.rows:
        given = edited.pop(row["file"], None)
        if given is None:
            rows.append(row)
            continue
        # A removed column is not an edit of its cells.
        theirs = {name: given.get(name, "") for name in (*_CLAIMED, *own) if name in names}
        kept += any(value != row.get(name, "") for name, value in theirs.items())
        rows.append({**row, **theirs})
    gone = [{**row, "check": "file not found"} for row in edited.values()]
    return replace(fresh, columns=(*fresh.columns, *own), rows=(*rows, *gone), kept=kept, gone=len(gone))
