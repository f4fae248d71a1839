"""Projects, subjects, experiments, scans, assessors and reconstructions as rows, and resolving a path to a row.

One table, ``items``, holds them all; what XNAT calls fields are one JSON object a row (paths below the type to text).
Resources refer to an item by its ``key``. An item's files are below ``folder``:

    project         P
    subject         P/subjects/LABEL
    experiment      P/arc001/LABEL
    scan            P/arc001/LABEL/SCANS/ID
    assessor        P/arc001/LABEL/ASSESSORS/LABEL
    reconstruction  P/arc001/LABEL/PROCESSED/ID

as on a real XNAT's disk. A rename changes ``folder`` of everything below in the same transaction.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from xnatferry.server.database import in_groups
from xnatferry.server.request_scope import Refusal

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

# As the partial indices say it: SQLite takes such an index only where it finds its condition in the query.
_SUBJECTS: Final = "items.level = 'subject'"
_EXPERIMENTS: Final = "items.level IN ('experiment', 'assessor')"


class Level(StrEnum):
    """What an item is, by XNAT's path words."""

    PROJECT = "project"
    SUBJECT = "subject"
    EXPERIMENT = "experiment"
    SCAN = "scan"
    ASSESSOR = "assessor"
    RECONSTRUCTION = "reconstruction"


@dataclass(frozen=True, slots=True)
class Item:
    """One row.

    Attributes:
        key: Number of the row.
        level: What it is.
        project: ID of the project that owns it.
        id: Project ID, accession ID, or scan ID.
        label: Label; for scans, reconstructions and projects the same as ``id``.
        xsi_type: XNAT data type, ``xnat:mrSessionData``.
        parent_key: Row it belongs to; None for a project.
        folder: Folder of its files, relative to the archive folder.
        inserted: When it was made, ``yyyy-MM-dd HH:mm:ss.SSS``.
        inserted_by: Login name of who made it.
        modified: When its fields last changed.
        fields: Paths below the data type to values, as text.
    """

    key: int
    level: Level
    project: str
    id: str
    label: str
    xsi_type: str
    parent_key: int | None
    folder: str
    inserted: str = ""
    inserted_by: str = ""
    modified: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)


def item_of(row: sqlite3.Row) -> Item:
    """The item of a row of ``items``."""
    return Item(
        key=row["key"],
        level=Level(row["level"]),
        project=row["project"],
        id=row["id"],
        label=row["label"],
        xsi_type=row["xsi_type"],
        parent_key=row["parent_key"],
        folder=row["folder"],
        inserted=row["inserted"],
        inserted_by=row["inserted_by"],
        modified=row["modified"],
        fields=json.loads(row["fields"]),
    )


def by_key(connection: sqlite3.Connection, key: int | None) -> Item:
    """The item with *key*.

    Raises:
        LookupError: There is none.
    """
    row = connection.execute("SELECT * FROM items WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise LookupError(f"no item {key}")
    return item_of(row)


def children(connection: sqlite3.Connection, parent: Item, level: Level) -> list[Item]:
    """The items of *level* directly below *parent*, in the order they were made."""
    rows = connection.execute(
        "SELECT * FROM items WHERE parent_key = ? AND level = ? ORDER BY key", (parent.key, level)
    )
    return [item_of(row) for row in rows]


def by_keys(connection: sqlite3.Connection, keys: Iterable[int]) -> dict[int, Item]:
    """The items with *keys*, by key."""
    found: dict[int, Item] = {}
    for group, marks in in_groups(keys):
        rows = connection.execute(f"SELECT * FROM items WHERE key IN ({marks})", group)  # noqa: S608  our own words
        found |= {row["key"]: item_of(row) for row in rows}
    return found


def sessions_apart(connection: sqlite3.Connection, project: Item) -> list[Item]:
    """Sessions of *project* whose subject another project owns, and sessions of others whose subject it owns.

    They result from a change of project; they are deleted with the project, but are not below it.
    """
    rows = connection.execute(
        "SELECT items.* FROM items JOIN items AS subject ON subject.key = items.parent_key"
        " WHERE items.level = 'experiment' AND items.project <> subject.project AND ? IN (items.project,"
        " subject.project) ORDER BY items.key",
        (project.id,),
    )
    return [item_of(row) for row in rows]


def locate(connection: sqlite3.Connection, params: Mapping[str, str]) -> Item:
    """The deepest item that *params* (path variables, decoded) name; it has the resources.

    Keys read: ``project``, ``subject``, ``experiment``, ``scan``, ``assessor``, ``reconstruction``. Project by ID or
    alias; below a project by label (its own or that of a share), then by accession ID; on site level by accession ID.
    A scan is found by ID, else by type when exactly one scan has it (``XNATTemplate``).

    Raises:
        Refusal: 404 with XNAT's words (xnat-rest.md 7.1) for the first of them that is not there.
    """
    found = find(connection, params)
    if isinstance(found, Item):
        return found
    raise Refusal(404, found)


def find(connection: sqlite3.Connection, params: Mapping[str, str]) -> Item | str:
    """As `locate`, but returns the words of the 404 instead of raising them."""
    project = subject = experiment = None
    if (name := params.get("project")) is not None:
        project = find_project(connection, name)
        if project is None:
            return "Unable to identify project"
    if (name := params.get("subject")) is not None:
        subject = find_subject(connection, name, project)
        if subject is None:
            return "Unable to identify subject"
    if (name := params.get("experiment")) is not None:
        experiment = find_experiment(connection, name, project)
        deeper = {"scan", "assessor", "reconstruction"} & params.keys()
        if experiment is None:
            return "Unable to identify image session" if deeper and project else "Unable to identify experiment"
    found = experiment or subject or project
    if (name := params.get("scan")) is not None and experiment is not None:
        scans = scans_named(connection, experiment, name)
        return scans[0] if len(scans) == 1 else "Unable to identify scan"
    if (name := params.get("assessor")) is not None and experiment is not None:
        return find_assessor(connection, name, experiment) or "Unable to identify experiment"
    if (name := params.get("reconstruction")) is not None and experiment is not None:
        return find_reconstruction(connection, name, experiment) or "Unable to identify reconstruction"
    return found or "Unable to identify project"


def find_project(connection: sqlite3.Connection, name: str) -> Item | None:
    """The project with ID *name* (any case), or with the alias *name*."""
    row = (
        connection.execute("SELECT * FROM items WHERE level = 'project' AND id = ? COLLATE NOCASE", (name,)).fetchone()
        or connection.execute(
            "SELECT items.* FROM items, json_each(items.fields) AS f WHERE level = 'project' AND f.key GLOB 'aliases/*'"
            " AND f.value = ?",
            (name,),
        ).fetchone()
    )
    return item_of(row) if row else None


def find_subject(connection: sqlite3.Connection, name: str, project: Item | None) -> Item | None:
    """The subject that *name* means in *project*, or on the whole site when that is None."""
    return _find_labelled(connection, name, project, _SUBJECTS)


def find_experiment(connection: sqlite3.Connection, name: str, project: Item | None) -> Item | None:
    """The experiment (or image assessor, which XNAT addresses as one too) that *name* means."""
    return _find_labelled(connection, name, project, _EXPERIMENTS)


def find_assessor(connection: sqlite3.Connection, name: str, session: Item) -> Item | None:
    """The assessor of *session* with ID or label *name*."""
    row = connection.execute(
        "SELECT * FROM items WHERE parent_key = ? AND level = 'assessor' AND (label = ? OR id = ?)",
        (session.key, name, name),
    ).fetchone()
    return item_of(row) if row else None


def find_reconstruction(connection: sqlite3.Connection, name: str, session: Item) -> Item | None:
    """The reconstruction of *session* with ID *name*."""
    row = connection.execute(
        "SELECT * FROM items WHERE parent_key = ? AND level = 'reconstruction' AND id = ?", (session.key, name)
    ).fetchone()
    return item_of(row) if row else None


def find_scan(connection: sqlite3.Connection, name: str, session: Item) -> Item | None:
    """The scan of *session* with exactly the ID *name*."""
    row = connection.execute(
        "SELECT * FROM items WHERE parent_key = ? AND level = 'scan' AND id = ?", (session.key, name)
    ).fetchone()
    return item_of(row) if row else None


def scans_named(connection: sqlite3.Connection, session: Item, names: str) -> list[Item]:
    """The scans that a path segment means in a resource address (``XNATTemplate``).

    ``ALL`` or ``*`` is every scan; else a comma list of IDs and types, where ``NULL`` is a scan without type and
    ``[SLASH]``, ``[COMMA]`` stand for the characters.
    """
    scans = children(connection, session, Level.SCAN)
    if names in {"ALL", "*"}:
        return scans
    wanted = {name.replace("[SLASH]", "/").replace("[COMMA]", ",") for name in names.split(",")}
    return [scan for scan in scans if scan.id in wanted or (scan.fields.get("type") or "NULL") in wanted]


def _find_labelled(connection: sqlite3.Connection, name: str, project: Item | None, kinds: str) -> Item | None:
    """The item of *kinds* that *name* means: below a project its label there, else its accession ID.

    One search of an index each: every request for something below a project comes here, however large the project.
    """
    accession = f"items.level IN ('subject', 'experiment', 'assessor') AND {kinds} AND items.id = :name"
    if project is None:
        row = connection.execute(f"SELECT * FROM items WHERE {accession}", {"name": name}).fetchone()  # noqa: S608  our own words
        return item_of(row) if row else None
    owned = f"SELECT * FROM items WHERE items.project = :project AND items.label = :name AND {kinds}"  # noqa: S608  our own words
    shared = (
        "SELECT items.* FROM shares JOIN items ON items.key = shares.item_key"  # noqa: S608  our own words
        f" WHERE shares.project = :project AND shares.label = :name AND items.project <> :project AND {kinds}"
    )
    by_accession = (
        f"SELECT * FROM items WHERE {accession} AND (items.project = :project OR EXISTS"  # noqa: S608  our own words
        " (SELECT 1 FROM shares WHERE shares.item_key = items.key AND shares.project = :project))"
    )
    for search in (owned, shared, by_accession):
        row = connection.execute(search, {"project": project.id, "name": name}).fetchone()
        if row is not None:
            return item_of(row)
    return None
