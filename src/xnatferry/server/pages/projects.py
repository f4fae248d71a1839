"""Projects, and a project with its sessions and subjects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server import access, objects
from xnatferry.server.pages import item_tables
from xnatferry.server.pages.page_path import PagePath
from xnatferry.server.pages.receipts import proofs_in
from xnatferry.server.pages.rendering import address, page, page_route
from xnatferry.server.pages.resource_summaries import resource_summaries
from xnatferry.server.pages.timeline import timeline_of
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.routes.projects import project_of

if TYPE_CHECKING:
    import sqlite3
    from typing import Any

    from starlette.responses import Response

    from xnatferry.server.objects import Item

__all__ = ["ROUTES", "about_project", "list_projects"]


def list_projects(scope: Scope) -> Response:
    """GET /projects: those that the account may read, as the REST listing."""
    words = scope.query.get("q").strip().lower()
    with scope.archive.database.read() as connection:
        readable = access.readable_projects(connection, scope.account)
        rows = connection.execute("SELECT * FROM items WHERE level = 'project' ORDER BY id COLLATE NOCASE").fetchall()
        items = [objects.item_of(row) for row in rows if row["id"] in readable]
        totals = item_tables.project_totals(connection)
        shown = [
            {
                "item": item,
                "totals": totals.get(item.id, item_tables.Totals()),
                "accessibility": access.accessibility_of(connection, item.id),
                "roles": sorted(access.roles_of(connection, scope.account, item.id)),
            }
            for item in items
            if words in f"{item.id}\n{item.fields.get('name', '')}\n{item.fields.get('description', '')}".lower()
        ]
    return page(scope, "projects", projects=shown, number=len(items), words=scope.query.get("q").strip())


def read_project(scope: Scope) -> Response:
    """GET /projects/{project}: the project and its sessions."""
    with scope.archive.database.read() as connection:
        item = project_of(connection, scope)
        about = about_project(connection, scope, item)
        if not about["readable"]:
            return page(scope, "project_protected", **about)
        wanted = item_tables.table_request(scope.query, item_tables.SESSION_SORTS)
        found = item_tables.sessions_of(connection, item.id, wanted)
        types = item_tables.session_types(connection, item.id)
        timeline = timeline_of(item_tables.session_months(connection, item.id))
        held = resource_summaries(connection, PagePath(item), proofs_in(scope.archive, connection, item))
    shown: dict[str, Any] = {
        "table_request": wanted,
        "found": found,
        "types": types,
        "timeline": timeline,
        "held": held,
    }
    return page(scope, "project", **about, **shown, tab="sessions")


def list_subjects(scope: Scope) -> Response:
    """GET /projects/{project}/subjects."""
    with scope.archive.database.read() as connection:
        item = project_of(connection, scope)
        if not access.may_read(connection, scope.account, item.id):
            raise Refusal(404, "Unable to identify project")
        about = about_project(connection, scope, item)
        wanted = item_tables.table_request(scope.query, item_tables.SUBJECT_SORTS)
        found = item_tables.subjects_of(connection, item.id, wanted)
    return page(scope, "project_subjects", **about, table_request=wanted, found=found, tab="subjects")


def about_project(connection: sqlite3.Connection, scope: Scope, item: Item) -> dict[str, Any]:
    """The data for the head of every page of a project."""
    readable = access.may_read(connection, scope.account, item.id)
    return {
        "project": item,
        "readable": readable,
        "accessibility": access.accessibility_of(connection, item.id),
        "may_own": access.may_own(connection, scope.account, item.id),
        "totals": item_tables.project_totals(connection).get(item.id, item_tables.Totals()) if readable else None,
        "crumbs": [("Projects", "/projects"), (item.id, address("projects", item.id))],
    }


ROUTES: Final = (
    Route(("GET",), "/projects", page_route(list_projects)),
    Route(("GET",), "/projects/{project}", page_route(read_project)),
    Route(("GET",), "/projects/{project}/subjects", page_route(list_subjects)),
)
