"""A subject with its sessions, and a session with its scans, resources and files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.server import objects
from xnatferry.server.objects import Item, Level
from xnatferry.server.pages.holdings import HeldResource, held_resources
from xnatferry.server.pages.metadata import fields_of
from xnatferry.server.pages.pictures import picture_of
from xnatferry.server.pages.receipts import proofs_in
from xnatferry.server.pages.rendering import moved, page, page_route
from xnatferry.server.pages.standing import Standing, label_in, standing_at
from xnatferry.server.pages.viewing import offer_of
from xnatferry.server.scope import Route, Scope

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starlette.responses import Response

    from xnatferry.server.pages.receipts import Proofs

__all__ = ["ROUTES"]

_SCAN_COLUMNS: Final = frozenset({"type", "series_description", "quality", "note"})


@dataclass(frozen=True, slots=True)
class Below:
    """A scan, assessor or reconstruction on the page of its session."""

    item: Item
    standing: Standing
    held: Sequence[HeldResource]
    fields: Sequence[tuple[str, str]]
    pictured: bool


def read_subject(scope: Scope) -> Response:
    """GET /projects/{project}/subjects/{subject}."""
    with scope.archive.database.read() as connection:
        standing = standing_at(connection, scope)
        assert standing.subject is not None  # noqa: S101  the path names it
        sessions = _sessions_of(connection, standing)
        held = held_resources(connection, standing, proofs_in(scope.archive, connection, standing.project))
    return page(
        scope,
        "subject",
        standing=standing,
        crumbs=standing.crumbs,
        sessions=sessions,
        held=held,
        fields=fields_of(standing.subject),
    )


def _sessions_of(connection: sqlite3.Connection, standing: Standing) -> list[dict[str, object]]:
    """The sessions of a subject that are in the project, or shared into it."""
    assert standing.subject is not None  # noqa: S101  the path names it
    found: list[dict[str, object]] = []
    shared = connection.execute("SELECT item_key FROM shares WHERE project = ?", (standing.project.id,))
    keys = {row["item_key"] for row in shared}
    for item in objects.children(connection, standing.subject, Level.EXPERIMENT):
        if item.project != standing.project.id and item.key not in keys:
            continue
        numbers = connection.execute(
            "SELECT ifnull(sum(held_files), 0) AS files, ifnull(sum(held_bytes), 0) AS bytes FROM resources"
            " WHERE item_key IN (SELECT ? UNION ALL SELECT key FROM items WHERE parent_key = ?)",
            (item.key, item.key),
        ).fetchone()
        label = label_in(connection, item, standing.project)
        place = Standing(standing.project, standing.subject, item, None, standing.subject_label, label)
        scans = objects.children(connection, item, Level.SCAN)
        found.append({"standing": place, "item": item, "scans": scans, **dict(numbers)})
    return found


def read_session(scope: Scope) -> Response:
    """GET /projects/{project}/subjects/{subject}/sessions/{experiment}."""
    with scope.archive.database.read() as connection:
        standing = standing_at(connection, scope)
        session = standing.item
        proofs = proofs_in(scope.archive, connection, standing.project)
        below = {
            level: [_below(connection, standing, item, proofs) for item in objects.children(connection, session, level)]
            for level in (Level.SCAN, Level.ASSESSOR, Level.RECONSTRUCTION)
        }
        held = held_resources(connection, standing, proofs)
        offer = offer_of(connection, standing)
    everything = [*held, *(one for rows in below.values() for row in rows for one in row.held)]
    return page(
        scope,
        "session",
        standing=standing,
        crumbs=standing.crumbs,
        scans=below[Level.SCAN],
        others=[*below[Level.ASSESSOR], *below[Level.RECONSTRUCTION]],
        held=held,
        fields=fields_of(session),
        offer=offer,
        files=sum(one.files for one in everything),
        bytes=sum(one.bytes for one in everything),
    )


def _below(connection: sqlite3.Connection, standing: Standing, item: Item, proofs: Proofs) -> Below:
    place = standing.at(item)
    pictured = item.level is Level.SCAN and picture_of(connection, place) is not None
    fields = fields_of(item, without=_SCAN_COLUMNS)
    return Below(item, place, held_resources(connection, place, proofs), fields, pictured)


def find_session(scope: Scope) -> Response:
    """GET /projects/{project}/sessions/{experiment}: the session's page, for who does not know the subject."""
    with scope.archive.database.read() as connection:
        return moved(standing_at(connection, scope).address)


ROUTES: Final = (
    Route(("GET",), "/projects/{project}/subjects/{subject}", page_route(read_subject)),
    Route(("GET",), "/projects/{project}/sessions/{experiment}", page_route(find_session)),
    Route(("GET",), "/projects/{project}/subjects/{subject}/sessions/{experiment}", page_route(read_session)),
)
