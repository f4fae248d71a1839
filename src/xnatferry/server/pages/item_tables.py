"""Queries for the tables on pages; SQLite sorts, filters and pages them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from xnatferry.server.request_scope import Query

_PAGE_ROWS: Final = 50
#: Sort keys in addresses, and their SQL. Counts are looked up for the rows of a page only, unless
#: they are what is sorted by.
SESSION_SORTS: Final = {
    "session": "label COLLATE NOCASE",
    "subject": "subject COLLATE NOCASE",
    "type": "xsi_type",
    "date": "date",
    "inserted": "inserted",
    "scans": "scans",
    "files": "files",
    "size": "bytes",
}
SUBJECT_SORTS: Final = {
    "subject": "label COLLATE NOCASE",
    "gender": "gender",
    "group": "grp COLLATE NOCASE",
    "inserted": "inserted",
    "sessions": "sessions",
    "files": "files",
    "size": "bytes",
}
_COUNTED: Final = frozenset({"scans", "sessions", "files", "size"})

# Experiments that are in a project or shared into it, under the label that they have there.
_SESSIONS: Final = """
    SELECT items.key, items.id, items.label, items.xsi_type, items.parent_key, items.inserted,
           ifnull(json_extract(items.fields, '$.date'), '') AS date, 0 AS shared
    FROM items WHERE items.level = 'experiment' AND items.project = :project
    UNION ALL
    SELECT items.key, items.id, shares.label, items.xsi_type, items.parent_key, items.inserted,
           ifnull(json_extract(items.fields, '$.date'), ''), 1
    FROM shares JOIN items ON items.key = shares.item_key
    WHERE items.level = 'experiment' AND shares.project = :project
"""
_SUBJECTS: Final = """
    SELECT items.key, items.id, items.label, items.inserted, items.fields, 0 AS shared
    FROM items WHERE items.level = 'subject' AND items.project = :project
    UNION ALL
    SELECT items.key, items.id, shares.label, items.inserted, items.fields, 1
    FROM shares JOIN items ON items.key = shares.item_key
    WHERE items.level = 'subject' AND shares.project = :project
"""
_LABELLED_SESSIONS: Final = f"""
    SELECT found.*, coalesce(shares.label, subjects.label) AS subject
    FROM ({_SESSIONS}) AS found JOIN items AS subjects ON subjects.key = found.parent_key
    LEFT JOIN shares ON shares.item_key = subjects.key AND shares.project = :project
"""  # noqa: S608  our own words
_OF_SESSION: Final = """
    (SELECT ifnull(sum({held}), 0) FROM resources WHERE item_key IN
        (SELECT found.key UNION ALL SELECT key FROM items WHERE parent_key = found.key))
"""
# A plus sign before a column keeps SQLite from its index: parents are few, what is in a project is not.
_OF_SUBJECT: Final = """
    (SELECT ifnull(sum({held}), 0) FROM resources WHERE item_key IN (
        SELECT found.key
        UNION ALL SELECT key FROM items WHERE parent_key = found.key AND +project = :project
        UNION ALL SELECT below.key FROM items AS above JOIN items AS below ON below.parent_key = above.key
                  WHERE above.parent_key = found.key AND +above.project = :project))
"""


class _Table(NamedTuple):
    """A table as SQL.

    Attributes:
        source: All its rows.
        where: Which of them are shown.
        counts: Columns that take a look at other tables for every row.
        sorts: As `SESSION_SORTS`.
    """

    source: str
    where: str
    counts: str
    sorts: Mapping[str, str]


_SESSION_TABLE: Final = _Table(
    _LABELLED_SESSIONS,
    "(:words = '' OR instr(lower(label), :words) OR instr(lower(subject), :words) OR instr(date, :words))"
    " AND (:type = '' OR xsi_type = :type)",
    "(SELECT count(*) FROM items WHERE parent_key = found.key AND level = 'scan') AS scans,"  # noqa: S608  our own words
    f"{_OF_SESSION.format(held='held_files')} AS files, {_OF_SESSION.format(held='held_bytes')} AS bytes",
    SESSION_SORTS,
)
_SUBJECT_TABLE: Final = _Table(
    f"""
        SELECT found.*, ifnull(json_extract(fields, '$."demographics/gender"'), '') AS gender,
               ifnull(json_extract(fields, '$.group'), '') AS grp FROM ({_SUBJECTS}) AS found
    """,  # noqa: S608  our own words
    "(:words = '' OR instr(lower(label), :words) OR instr(lower(grp), :words) OR lower(gender) = :words)",
    # Its own in the project, and those shared into it.
    "(SELECT count(*) FROM items WHERE parent_key = found.key AND level = 'experiment' AND +project = :project) +"  # noqa: S608
    " (SELECT count(*) FROM items JOIN shares ON shares.item_key = items.key AND shares.project = :project"
    "  WHERE items.parent_key = found.key AND level = 'experiment') AS sessions,"
    f"{_OF_SUBJECT.format(held='held_files')} AS files, {_OF_SUBJECT.format(held='held_bytes')} AS bytes",
    SUBJECT_SORTS,
)


@dataclass(frozen=True, slots=True)
class TableRequest:
    """How a table is to be shown.

    Attributes:
        sort: Word of the column that is sorted by.
        descending: Whether from large to small.
        page: Number of the page, from 1.
        words: Text that rows must hold.
        type: Data type that sessions must have, or "".
    """

    sort: str
    descending: bool
    page: int
    words: str
    type: str

    @property
    def query(self) -> dict[str, object]:
        """The keys of the address; what is standard is left out by the templates."""
        sort = f"-{self.sort}" if self.descending else self.sort
        return {"q": self.words, "type": self.type, "sort": sort, "page": self.page if self.page > 1 else ""}


@dataclass(frozen=True, slots=True)
class Found:
    """One page of a table.

    Attributes:
        rows: The rows of this page.
        total: Rows on all pages.
        pages: Number of pages, at least 1.
        first: Number of the first row shown, from 1; 0 when there is none.
    """

    rows: Sequence[Mapping[str, Any]]
    total: int
    pages: int
    first: int


@dataclass(frozen=True, slots=True)
class Totals:
    """What a project holds: its own and what is shared into it, files of its own only."""

    subjects: int = 0
    sessions: int = 0
    files: int = 0
    bytes: int = 0


def table_request(query: Query, sorts: Mapping[str, str]) -> TableRequest:
    """How *query* wants a table that can be sorted by *sorts*; what cannot be read is as if it were not there."""
    sort = query.get("sort")
    name = sort.removeprefix("-")
    if name not in sorts:
        sort = name = next(iter(sorts))
    return TableRequest(name, sort.startswith("-"), query.page(), query.get("q").strip(), query.get("type"))


def sessions_of(connection: sqlite3.Connection, project: str, wanted: TableRequest) -> Found:
    """Sessions in *project* (an ID): label, subject, xsi_type, date, inserted, scans, files, bytes, shared."""
    return _found(connection, project, wanted, _SESSION_TABLE)


def subjects_of(connection: sqlite3.Connection, project: str, wanted: TableRequest) -> Found:
    """Subjects in *project* (an ID): label, gender, grp, inserted, sessions, files, bytes, shared."""
    return _found(connection, project, wanted, _SUBJECT_TABLE)


def _found(connection: sqlite3.Connection, project: str, wanted: TableRequest, table: _Table) -> Found:
    values = {"project": project, "words": wanted.words.lower(), "type": wanted.type}
    kept = f"SELECT * FROM ({table.source}) WHERE {table.where}"  # noqa: S608  our own words
    total: int = connection.execute(f"SELECT count(*) FROM ({kept})", values).fetchone()[0]  # noqa: S608  our own words
    pages = max(1, -(-total // _PAGE_ROWS))
    start = (min(wanted.page, pages) - 1) * _PAGE_ROWS
    order = f"ORDER BY {table.sorts[wanted.sort]} {'DESC' if wanted.descending else 'ASC'}, label COLLATE NOCASE, key"
    cut = f"LIMIT {_PAGE_ROWS} OFFSET {start}"
    if wanted.sort in _COUNTED:
        text = f"SELECT found.*, {table.counts} FROM ({kept}) AS found {order} {cut}"  # noqa: S608  our own words
    else:
        text = f"SELECT found.*, {table.counts} FROM ({kept} {order} {cut}) AS found {order}"  # noqa: S608  our own words
    rows = [dict(row) for row in connection.execute(text, values)]
    return Found(rows, total, pages, start + 1 if rows else 0)


def session_types(connection: sqlite3.Connection, project: str) -> list[tuple[str, int]]:
    """Data types of the sessions in *project*, with how many there are of each, the most frequent first."""
    rows = connection.execute(
        f"SELECT xsi_type, count(*) FROM ({_SESSIONS}) GROUP BY xsi_type ORDER BY 2 DESC, 1",  # noqa: S608  our own words
        {"project": project},
    )
    return [(row[0], row[1]) for row in rows]


def session_months(connection: sqlite3.Connection, project: str) -> list[tuple[str, str, int]]:
    """Month (``2024-05``), data type and number of the dated sessions in *project*."""
    rows = connection.execute(
        f"SELECT substr(date, 1, 7), xsi_type, count(*) FROM ({_SESSIONS})"  # noqa: S608  our own words
        " WHERE date GLOB '[12][0-9][0-9][0-9]-[01][0-9]*' GROUP BY 1, 2 ORDER BY 1, 2",
        {"project": project},
    )
    return [(row[0], row[1], row[2]) for row in rows]


def project_totals(connection: sqlite3.Connection) -> dict[str, Totals]:
    """What every project holds, by ID."""
    found: dict[str, dict[str, int]] = {}
    rows = connection.execute(
        "SELECT project, level, count(*) AS number FROM items WHERE level IN ('subject', 'experiment') GROUP BY 1, 2"
        " UNION ALL SELECT shares.project, level, count(*) FROM shares JOIN items ON items.key = shares.item_key"
        " WHERE level IN ('subject', 'experiment') GROUP BY 1, 2"
    )
    for row in rows:
        name = "subjects" if row["level"] == "subject" else "sessions"
        mine = found.setdefault(row["project"], {})
        mine[name] = mine.get(name, 0) + row["number"]
    rows = connection.execute(
        "SELECT items.project, sum(held_files) AS files, sum(held_bytes) AS bytes"
        " FROM resources JOIN items ON items.key = resources.item_key GROUP BY 1"
    )
    for row in rows:
        found.setdefault(row["project"], {}).update(files=row["files"], bytes=row["bytes"])
    return {project: Totals(**numbers) for project, numbers in found.items()}
