"""Recent imports: receipts of pushes with ``--record``, of the whole site and of a project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server import access
from xnatferry.server.pages.page_path import PagePath
from xnatferry.server.pages.projects import about_project
from xnatferry.server.pages.receipts import Import, Receipt, imports_of, read_receipt
from xnatferry.server.pages.rendering import address, page, page_route
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.routes.projects import project_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

_ROWS: Final = 25
#: Files listed on the page of an import; the receipt itself has all of them.
_FILES: Final = 500


def recent(scope: Scope) -> Response:
    """GET /imports: of all projects that the account may read."""
    with scope.archive.database.read() as connection:
        readable = sorted(access.readable_projects(connection, scope.account))
        found, at = _page_of(scope)
        rows = imports_of(connection, readable, limit=_ROWS + 1, start=found)
    return page(scope, "imports", rows=_read(scope, rows), at=at, more=len(rows) > _ROWS)


def of_project(scope: Scope) -> Response:
    """GET /projects/{project}/imports."""
    with scope.archive.database.read() as connection:
        item = project_of(connection, scope)
        access.require_read(connection, scope, item.id, "Unable to identify project")
        about = about_project(connection, scope, item)
        start, at = _page_of(scope)
        rows = imports_of(connection, [item.id], limit=_ROWS + 1, start=start)
    return page(
        scope, "project_imports", **about, rows=_read(scope, rows), at=at, more=len(rows) > _ROWS, tab="imports"
    )


def read_import(scope: Scope) -> Response:
    """GET /projects/{project}/imports/{run}: one receipt."""
    with scope.archive.database.read() as connection:
        item = project_of(connection, scope)
        access.require_read(connection, scope, item.id, "Unable to identify project")
        found = next(
            (one for one in imports_of(connection, [item.id], limit=-1) if one.run == scope.params["run"]), None
        )
    if found is None:
        raise Refusal(404, "No receipt of this run in this project")
    receipt = read_receipt(scope.archive, found)
    verdicts = sorted(receipt.verdicts.items(), key=lambda pair: (pair[1][1], pair[0])) if receipt else []
    top = address("projects", item.id)
    return page(
        scope,
        "import",
        one=found,
        page_path=PagePath(item),
        receipt=receipt,
        verdicts=verdicts[:_FILES],
        omitted=len(verdicts) - _FILES,
        crumbs=[("Projects", "/projects"), (item.id, top), ("Imports", f"{top}/imports"), (found.run, "")],
    )


def _page_of(scope: Scope) -> tuple[int, int]:
    """First row and number of the page that the query asks for."""
    at = scope.query.page()
    return (at - 1) * _ROWS, at


def _read(scope: Scope, rows: Sequence[Import]) -> list[tuple[Import, Receipt | None]]:
    return [(one, read_receipt(scope.archive, one)) for one in rows[:_ROWS]]


ROUTES: Final = (
    Route(("GET",), "/imports", page_route(recent)),
    Route(("GET",), "/projects/{project}/imports", page_route(of_project)),
    Route(("GET",), "/projects/{project}/imports/{run}", page_route(read_import)),
)
