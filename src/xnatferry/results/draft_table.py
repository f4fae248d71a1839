"""Draft tables: what discovery makes of a folder of images, for a person to edit and push."""

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

__all__ = ["Draft", "cell_of", "draft_of"]

_CLAIMED: Final = ("subject", "session", "scan", "type", "series_description", "quality", "date", "resource")
#: In a handful of rows nothing is the rule.
_FEW: Final = 4
#: What a person fills in; ours beside it are written anew each time.
_EDITED: Final = ("file", *_CLAIMED)


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft table.

    Attributes:
        columns: Those of every draft, then those that the person added.
        rows: Cells by column; empty ones are empty texts.
        kept: Files whose cells a person had changed, and which stay so.
        gone: Files of the earlier draft that are not found any more; their rows stay, marked.
        shared: What is said of most files, with their number; it stands in no row, as it tells none from the others.
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
    """The draft of *discovery* for the file *table*, with the edits that *table* holds already.

    Raises:
        DataError: There is a file *table* that cannot be read as a table.
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
    """How a table in the folder *home* names the file at *path*: from there, with ``/`` on every system.

    Both are absolute. A file on another drive of Windows has no way there, so it is named from its drive.
    """
    rules = ntpath if isinstance(path, PureWindowsPath) else posixpath
    try:
        return type(path)(rules.relpath(path, home)).as_posix()
    except ValueError:
        return path.as_posix()


def _shared(sources: Sequence[Source]) -> dict[str, int]:
    """Warnings that more than half of the sources have word for word."""
    if len(sources) < _FEW:
        return {}
    said = Counter(word for source in sources for word in {_said(f) for f in source.findings if _is_warning(f)})
    return {word: count for word, count in said.items() if count > len(sources) / 2}


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
        "check": _doubts(source, shared),
    }


def _doubts(source: Source, shared: Container[str]) -> str:
    """Why a row wants a look: errors first, then what its path does not say, then warnings."""
    words = [_said(finding) for finding in source.findings if finding.severity is Severity.ERROR]
    if source.claims.subject is None:
        words.append("whose? the path names no subject")
    words += [_said(finding) for finding in source.findings if _is_warning(finding) and _said(finding) not in shared]
    return "; ".join(words)


def _is_warning(finding: Finding) -> bool:
    return finding.severity is Severity.WARNING


def _said(finding: Finding) -> str:
    return f"{finding.severity.value} {finding.id}: {finding.message}"


def _with_edits(fresh: Draft, table: Path) -> Draft:
    lines, problem = read_lines(table)
    if problem is not None:
        raise DataError(f"{problem.where}: {problem.message}; nothing was written")
    names = [column_name(cell) for cell in lines[0][1]]
    if "file" not in names:
        raise DataError(f"{table}: has no column 'file', so it is no draft; nothing was written")
    own = [name for name in dict.fromkeys(names) if name and name not in fresh.columns]
    before = [dict(zip(names, map(str.strip, cells), strict=False)) for _, cells in lines[1:]]
    edited = {row["file"]: row for row in before if row.get("file")}
    rows: list[Mapping[str, str]] = []
    kept = 0
    for row in fresh.rows:
        said = edited.pop(row["file"], None)
        if said is None:
            rows.append(row)
            continue
        # A column that the person took out is no edit of its cells.
        theirs = {name: said.get(name, "") for name in (*_CLAIMED, *own) if name in names}
        kept += any(value != row.get(name, "") for name, value in theirs.items())
        rows.append({**row, **theirs})
    gone = [{**row, "check": "the file was not found in this reading"} for row in edited.values()]
    return replace(fresh, columns=(*fresh.columns, *own), rows=(*rows, *gone), kept=kept, gone=len(gone))
