"""Mapping tables: one row per file, with subject, session, scan and other labels."""

from __future__ import annotations

import csv
import difflib
import io
import os
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.sources.folder_walk import entry_at
from xnatferry.sources.freesurfer import freesurfer_source, is_result_path
from xnatferry.sources.model import Claims, Discovery, Finding, Kind, LocalFile, Source
from xnatferry.sources.nifti import image_at, image_source, is_image_name
from xnatferry.sources.path_layouts import iso_date
from xnatferry.sources.result_files import result_source
from xnatferry.sources.spreadsheet import xlsx_lines
from xnatferry.sources.table_identity import identity_findings
from xnatferry.wording import counted
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

#: Names that users give to each column; the key is our name.
COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    "file": ("file", "path", "filename", "file_name", "nifti"),
    "subject": ("subject", "subject_id", "subject_label", "participant_id", "participant"),
    "session": (
        *("session", "session_id", "session_label", "experiment", "experiment_label", "label"),
        *("mr_id", "pet_id", "ct_id"),
    ),
    "scan": ("scan", "scan_id"),
    "type": ("type", "scan_type"),
    "series_description": ("series_description", "description"),
    "quality": ("quality",),
    "note": ("note", "notes", "comment"),
    "date": ("date", "session_date", "mr_date", "pet_date", "ct_date"),
    "session_type": ("session_type", "xsitype", "xsi_type"),
    "resource": ("resource", "resource_label"),
    "format": ("format",),
    "content": ("content",),
    "tags": ("tags",),
}
#: Columns of a draft that are only for information; a push ignores them.
FACT_COLUMNS: Final = ("voxel_size", "matrix", "frames", "tr_ms", "check")
#: Columns of XNAT's own tables that a push ignores.
_XNAT_COLUMNS: Final = ("scans",)
#: XNAT's tables have columns for the label and the ID of one object. The label counts.
_IDS: Final = frozenset({"subject_id", "session_id", "mr_id", "pet_id", "ct_id"})
#: What XNAT takes as scan quality unless a site says otherwise (``/data/services/scan-quality-labels``).
QUALITIES: Final = ("usable", "questionable", "unusable")

_NEVER_EMPTY: Final = ("file", "subject")
_ENCODINGS: Final = ("utf-8-sig", "cp1252")
_DELIMITERS: Final = ",;\t|"
_STATED_DELIMITER: Final = re.compile(r'"?sep=([^\r\n"])"?(?:\r\n|\r|\n)', re.IGNORECASE)
_LIMIT_BYTES: Final = 256 << 20
_EMPTY: Final = frozenset({"", "n/a", "na", "nan", "null", "none"})


@dataclass(frozen=True, slots=True)
class _Row:
    """A row with its line in the table and its cells by our column names; empty cells are left out.

    Attributes:
        required: Columns of the table that must not be empty.
    """

    line: int
    cells: Mapping[str, str]
    required: tuple[str, ...]
    findings: tuple[Finding, ...] = ()


def discover_table(table: Path, *, allow_incomplete: bool = False, workers: int | None = None) -> Discovery:
    """Read a CSV, TSV or XLSX whose rows name files and their labels.

    Paths are relative to the folder of the table. Encoding (UTF-8 with or without byte order mark, UTF-16 with one,
    else Windows-1252) and delimiter (comma, semicolon, tab, bar) are detected. ``n/a`` and ``NA`` count as empty.

    Args:
        table: The table.
        allow_incomplete: Whether incomplete FreeSurfer subjects are uploaded with a warning.
        workers: Threads that read images; as many as there are processors when None.
    """
    rows, findings = _read(table)
    rows = _without_duplicates(table, [_checked(table, row) for row in rows])
    rows = _with(rows, identity_findings(table, ((row.line, row.cells) for row in rows)))
    read = thread_map(lambda row: _source(table, row, allow_incomplete=allow_incomplete), rows, workers=workers)
    sources = tuple(read)
    if not sources and not findings:
        findings.append(found("NII22", "the table has no rows; add a row for each file", table))
    return Discovery(root=table.parent, kind=Kind.TABLE, sources=sources, findings=tuple(findings))


def _read(table: Path) -> tuple[list[_Row], list[Finding]]:
    """The rows of a table, or the reason why it cannot be used."""
    lines, hidden, problem = read_lines(table)
    if problem is not None:
        return [], [problem]
    header_line, header = lines[0]
    columns, findings = _columns(table, header, header_line)
    if any(finding.severity == "error" for finding in findings):
        return [], findings
    rows = [_row(table, columns, cells, line) for line, cells in lines[1:] if line not in hidden]
    if len(rows) < len(lines) - 1:
        shown = listed([str(line) for line, _ in lines[1:] if line in hidden])
        why = f"hidden or filtered rows are not used: {shown}; show them to use them"
        findings.append(found("TAB15", why, table))
    return rows, findings


Lines = tuple[list[tuple[int, list[str]]], frozenset[int], "Finding | None"]


def read_lines(table: Path) -> Lines:
    """Number and cells of every line that is not blank, the header first; the numbers of hidden ones.

    Without lines, the last value is the reason.
    """
    suffix = table.suffix.lower()
    if suffix in {".xls", ".ods"}:
        why = "this spreadsheet format is not supported; save it as XLSX or CSV and push that file"
        return _no_lines(table, why)
    try:
        if table.stat().st_size > _LIMIT_BYTES:
            return _no_lines(table, "the table is larger than 256 MiB; check the path, or split it")
        if suffix == ".xlsx":
            try:
                lines, hidden = xlsx_lines(table)
            except ValueError:
                return _no_lines(table, "the file is not a valid XLSX; save it again, or save it as CSV")
            if not lines:
                return _no_lines(table, "the first sheet is empty; move the table to the first sheet")
            return lines, hidden, None
        text = _decoded(table.read_bytes())
    except OSError as error:
        return _no_lines(table, f"the table cannot be read ({error.strerror}); check its permissions")
    if text is None:
        return _no_lines(table, "the file is not text; save it as CSV in UTF-8")
    return _csv_lines(table, text)


def _no_lines(table: Path, why: str, line: int | None = None) -> Lines:
    return [], frozenset(), found("TAB01", why, table, line=line)


def _csv_lines(table: Path, text: str) -> Lines:
    lines: list[tuple[int, list[str]]] = []
    # Spreadsheet programs write the delimiter into a first line of its own.
    stated = _STATED_DELIMITER.match(text)
    delimiter, skipped = (stated[1], 1) if stated is not None else (_delimiter(text), 0)
    body = text if stated is None else text[stated.end() :]
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True)
    line = 1 + skipped
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append((line, cells))
            line = reader.line_num + 1 + skipped
    except csv.Error as error:
        return _no_lines(table, f"the file is not valid CSV: {error}; check the quotes", line)
    return (lines, frozenset(), None) if lines else _no_lines(table, "the table is empty")


def _decoded(content: bytes) -> str | None:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        encodings: tuple[str, ...] = ("utf-16",)
    elif b"\x00" in content:
        return None
    else:
        encodings = _ENCODINGS
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return None


def _delimiter(text: str) -> str:
    """The delimiter that the header line holds most of."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(_DELIMITERS, key=lambda sign: (header.count(sign), -_DELIMITERS.index(sign)))


def _columns(table: Path, header: Sequence[str], line: int) -> tuple[list[str | None], list[Finding]]:
    """Our name of each column, None for those that we do not know."""
    ours = {alias: name for name, aliases in COLUMNS.items() for alias in aliases}
    names = [_plain(cell) for cell in header]
    columns = [ours.get(name) for name in names]
    findings = _without_ids(table, line, names, columns)
    known = ", ".join(COLUMNS)
    for name in COLUMNS:
        times = columns.count(name)
        if times > 1:
            written = ", ".join(repr(header[i].strip()) for i, column in enumerate(columns) if column == name)
            findings.append(
                found("TAB02", f"column {name!r} occurs {times} times ({written}); keep one", table, line=line)
            )
        elif not times and name == "file":
            have = ", ".join(repr(cell.strip()) for cell in header)
            why = f"column {name!r} is missing; the header has {have}"
            findings.append(found("TAB02", why, table, line=line))
    for name, column, cell in zip(names, columns, header, strict=True):
        if column is None and name and name not in {*FACT_COLUMNS, *_XNAT_COLUMNS, *ours}:
            close = difflib.get_close_matches(name, [alias for alias in ours if ours[alias] not in columns], 1, 0.8)
            if close:
                why = (
                    f"unknown column {cell.strip()!r}, similar to {close[0]!r}; correct the name, or choose another one"
                )
                findings.append(found("TAB12", why, table, line=line))
            else:
                why = f"unknown column {cell.strip()!r} is not used; known columns are {known}"
                findings.append(found("TAB03", why, table, line=line))
    return columns, findings


def _without_ids(table: Path, line: int, names: Sequence[str], columns: list[str | None]) -> list[Finding]:
    """Take out of *columns* those with an ID, where another column has the label of the same object."""
    labels = {column: name for name, column in zip(names, columns, strict=True) if name not in _IDS}
    findings = []
    for index, (name, column) in enumerate(zip(names, columns, strict=True)):
        if name in _IDS and column in labels:
            why = f"column {name!r} is not used, because {labels[column]!r} names the {column}"
            findings.append(found("TAB03", why, table, line=line))
            columns[index] = None
    return findings


def column_name(cell: str) -> str:
    """Our name of the column that a header cell names; its own, in plain letters, when we have none."""
    plain = _plain(cell)
    return next((name for name, aliases in COLUMNS.items() if plain in aliases), plain)


def _plain(cell: str) -> str:
    return re.sub(r"[\s-]+", "_", cell.strip().lower())


def _row(table: Path, columns: Sequence[str | None], cells: Sequence[str], line: int) -> _Row:
    values = {
        column: cell.strip()
        for column, cell in zip(columns, cells, strict=False)
        if column is not None and cell.strip().lower() not in _EMPTY
    }
    findings: tuple[Finding, ...] = ()
    if any(cell.strip() for cell in cells[len(columns) :]):
        why = (
            f"the row has {counted(len(cells), 'cell')}, the header has {len(columns)}; quote values that"
            " contain the delimiter"
        )
        findings = (found("TAB09", why, table, line=line),)
    return _Row(line, values, tuple(name for name in _NEVER_EMPTY if name in columns), findings)


def _checked(table: Path, row: _Row) -> _Row:
    """Look at the cells of one row."""
    findings = list(row.findings)
    findings += [
        found("TAB04", f"cell {name!r} is empty; fill it", table, line=row.line)
        for name in row.required
        if name not in row.cells
    ]
    day = row.cells.get("date")
    if day is not None and iso_date(day) != day:
        why = f"date {day!r} is not a date; use the form yyyy-mm-dd"
        findings.append(found("TAB07", why, table, line=row.line))
    quality = row.cells.get("quality")
    if quality is not None and quality not in QUALITIES:
        why = f"unknown quality {quality!r}; XNAT accepts {', '.join(QUALITIES)}"
        findings.append(found("TAB08", why, table, line=row.line))
    return replace(row, findings=tuple(findings))


def _without_duplicates(table: Path, rows: Sequence[_Row]) -> list[_Row]:
    """Find files and scans that occur in two rows; all these rows are refused."""
    files: dict[str, list[_Row]] = defaultdict(list)
    places: dict[tuple[str, ...], list[_Row]] = defaultdict(list)
    for row in rows:
        if "file" in row.cells:
            files[os.path.normcase(os.path.normpath(table.parent / row.cells["file"]))].append(row)
        if "scan" in row.cells:
            keys = ("subject", "session", "scan", "resource")
            places[tuple(row.cells.get(key, "") for key in keys)].append(row)
    more: dict[int, list[Finding]] = defaultdict(list)
    for finding_id, same in (("TAB06", files), ("TAB10", places)):
        for key, twice in same.items():
            if len(twice) > 1:
                lines = ", ".join(str(row.line) for row in twice)
                what = "this file" if finding_id == "TAB06" else f"scan {key[2]} of {key[1] or key[0]}"
                for row in twice:
                    why = f"{what} occurs in lines {lines}; keep one"
                    more[row.line].append(found(finding_id, why, table, line=row.line))
    return _with(rows, ((line, finding) for line, several in more.items() for finding in several))


def _with(rows: Sequence[_Row], findings: Iterable[tuple[int, Finding]]) -> list[_Row]:
    """The rows with more findings, which have the line of their row."""
    more: dict[int, list[Finding]] = defaultdict(list)
    for line, finding in findings:
        more[line].append(finding)
    return [replace(row, findings=(*row.findings, *more[row.line])) for row in rows]


def _source(table: Path, row: _Row, *, allow_incomplete: bool) -> Source:
    """The source that a row names; a file that cannot be read gives a source with an error."""
    shown = slashed(row.cells.get("file", ""))
    # A leading ~ is not expanded: tables are shared between users, home folders are not.
    path = table.parent / shown if shown else table
    claims = Claims(**{name: value for name, value in row.cells.items() if name != "file"})
    bare = Source(Kind.FILES, path, shown or table.name, (), claims, findings=row.findings, line=row.line)
    if not shown:
        return bare
    if "\x00" in shown or not _is_there(path):
        why = f"{shown!r} not found; paths are relative to the folder of the table, with / between folders"
        return replace(bare, findings=(*row.findings, found("TAB05", why, table, line=row.line)))
    if is_image_name(path.name):
        images, companions = image_at(path, shown)
        return image_source(images, companions, claims, findings=row.findings, line=row.line)
    if is_result_path(path):
        source = freesurfer_source(path, shown, allow_incomplete=allow_incomplete)
        merged = Claims(
            **{name: getattr(claims, name) or getattr(source.claims, name) for name in COLUMNS if name != "file"}
        )
        own = tuple(one for one in source.findings if one.id != "FS27" or claims.subject is None)
        return replace(source, claims=merged, findings=(*row.findings, *own), line=row.line)
    if path.is_dir():
        source = result_source(path, shown, claims)
        if source.claims.resource is not None:
            return replace(source, findings=(*row.findings, *source.findings), line=row.line)
    entry = entry_at(path, shown)
    findings = list(row.findings)
    if entry.problem is not None and not path.is_dir():
        findings.append(found(*entry.problem, path, line=row.line))
    elif claims.resource is None:
        why = f"{shown!r} is neither an image nor a known result; fill in column 'resource'"
        findings.append(found("TAB11", why, table, line=row.line))
    file = LocalFile(path, path.name, entry.size_bytes, entry.mtime_ns)
    return replace(bare, files=(file,), findings=tuple(findings))


def slashed(cell: str, system: type[PurePath] = PurePath) -> str:
    """A path as a person wrote it, with ``/`` between its parts also where the *system* takes a backslash as well."""
    return system(cell).as_posix() if cell else ""


def _is_there(path: Path) -> bool:
    try:
        return path.exists() or path.is_symlink()
    except OSError:  # a name too long for the disk
        return False
