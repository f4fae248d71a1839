"""A subject with its sessions, and a session with its scans, resources and files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.server import objects
from xnatferry.server.objects import Item, Level
from xnatferry.server.pages.page_path import PagePath, label_in, page_path_of
from xnatferry.server.pages.pictures import picture_of
from xnatferry.server.pages.receipts import proofs_in
from xnatferry.server.pages.rendering import moved, page, page_route
from xnatferry.server.pages.resource_summaries import ResourceSummary, resource_summaries
from xnatferry.server.pages.viewable_files import offer_of
from xnatferry.server.request_scope import Route, Scope
from xnatferry.server.xnat_tables import XNAT_TABLES
from xnatferry.xnat.custom_fields import json_values, variable_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starlette.responses import Response

    from xnatferry.server.pages.receipts import Proofs

_WORDS: Final = XNAT_TABLES["field_names"]
_HIDDEN_FIELDS: Final = {"accessibility", "custom_fields", "label", "ID", "project"}
_SCAN_COLUMNS: Final = frozenset({"type", "series_description", "quality", "note"})


@dataclass(frozen=True, slots=True)
class Below:
    """A scan, assessor or reconstruction on the page of its session."""

    item: Item
    page_path: PagePath
    held: Sequence[ResourceSummary]
    fields: Sequence[tuple[str, str]]
    pictured: bool


def read_subject(scope: Scope) -> Response:
    """GET /projects/{project}/subjects/{subject}."""
    with scope.archive.database.read() as connection:
        page_path = page_path_of(connection, scope)
        assert page_path.subject is not None  # noqa: S101  the path names it
        sessions = _sessions_of(connection, page_path)
        held = resource_summaries(connection, page_path, proofs_in(scope.archive, connection, page_path.project))
    return page(
        scope,
        "subject",
        page_path=page_path,
        crumbs=page_path.crumbs,
        sessions=sessions,
        held=held,
        fields=_fields_of(page_path.subject),
    )


def _sessions_of(connection: sqlite3.Connection, page_path: PagePath) -> list[dict[str, object]]:
    """The sessions of a subject that are in the project, or shared into it."""
    assert page_path.subject is not None  # noqa: S101  the path names it
    found: list[dict[str, object]] = []
    shared = connection.execute("SELECT item_key FROM shares WHERE project = ?", (page_path.project.id,))
    keys = {row["item_key"] for row in shared}
    for item in objects.children(connection, page_path.subject, Level.EXPERIMENT):
        if item.project != page_path.project.id and item.key not in keys:
            continue
        numbers = connection.execute(
            "SELECT ifnull(sum(held_files), 0) AS files, ifnull(sum(held_bytes), 0) AS bytes FROM resources"
            " WHERE item_key IN (SELECT ? UNION ALL SELECT key FROM items WHERE parent_key = ?)",
            (item.key, item.key),
        ).fetchone()
        label = label_in(connection, item, page_path.project)
        place = PagePath(page_path.project, page_path.subject, item, None, page_path.subject_label, label)
        scans = objects.children(connection, item, Level.SCAN)
        found.append({"page_path": place, "item": item, "scans": scans, **dict(numbers)})
    return found


def read_session(scope: Scope) -> Response:
    """GET /projects/{project}/subjects/{subject}/sessions/{experiment}."""
    with scope.archive.database.read() as connection:
        page_path = page_path_of(connection, scope)
        session = page_path.item
        proofs = proofs_in(scope.archive, connection, page_path.project)
        below = {
            level: [
                _below(connection, page_path, item, proofs) for item in objects.children(connection, session, level)
            ]
            for level in (Level.SCAN, Level.ASSESSOR, Level.RECONSTRUCTION)
        }
        held = resource_summaries(connection, page_path, proofs)
        offer = offer_of(connection, page_path)
    everything = [*held, *(one for rows in below.values() for row in rows for one in row.held)]
    return page(
        scope,
        "session",
        page_path=page_path,
        crumbs=page_path.crumbs,
        scans=below[Level.SCAN],
        others=[*below[Level.ASSESSOR], *below[Level.RECONSTRUCTION]],
        held=held,
        fields=_fields_of(session),
        offer=offer,
        files=sum(one.files for one in everything),
        bytes=sum(one.bytes for one in everything),
    )


def _below(connection: sqlite3.Connection, page_path: PagePath, item: Item, proofs: Proofs) -> Below:
    place = page_path.at(item)
    pictured = item.level is Level.SCAN and picture_of(connection, place) is not None
    fields = _fields_of(item, without=_SCAN_COLUMNS)
    return Below(item, place, resource_summaries(connection, place, proofs), fields, pictured)


def find_session(scope: Scope) -> Response:
    """GET /projects/{project}/sessions/{experiment}: the session's page, without the subject in the address."""
    with scope.archive.database.read() as connection:
        return moved(page_path_of(connection, scope).address)


def _fields_of(item: Item, *, without: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """Words and values of the fields of *item*, by path; *without* some paths. Custom fields have their own names."""
    fields = [
        (variable_name(item.xsi_type, path) or _WORDS.get(path, path), value)
        for path, value in sorted(item.fields.items())
        if value
        and path not in _HIDDEN_FIELDS
        and path not in without
        and not path.endswith("/@type")
        and not path.startswith("setting:")
    ]
    custom = json_values(json.loads(item.fields.get("custom_fields") or "{}"))
    return [*fields, *((name, value) for _, name, value in custom)]


ROUTES: Final = (
    Route(("GET",), "/projects/{project}/subjects/{subject}", page_route(read_subject)),
    Route(("GET",), "/projects/{project}/sessions/{experiment}", page_route(find_session)),
    Route(("GET",), "/projects/{project}/subjects/{subject}/sessions/{experiment}", page_route(read_session)),
)
