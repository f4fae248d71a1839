"""Projects, and a project with its sessions and subjects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.server import access, objects
from xnatferry.server.pages import item_tables
from xnatferry.server.pages.page_path import PagePath
from xnatferry.server.pages.receipts import proofs_in
from xnatferry.server.pages.rendering import address, page, page_route
from xnatferry.server.pages.resource_summaries import resource_summaries
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.routes.projects import project_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

    from starlette.responses import Response

    from xnatferry.server.objects import Item


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
        timeline = _timeline_of(item_tables.session_months(connection, item.id))
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


_MOST_BARS: Final = 48
#: Colours are classes of the stylesheet (``series-0`` ...), so that they follow light and dark.
_SERIES: Final = 6


@dataclass(frozen=True, slots=True)
class _Bar:
    """A month or year.

    Attributes:
        name: ``2024-05`` or ``2024``.
        total: Sessions in it.
        parts: Number of the series, name of the modality, sessions.
    """

    name: str
    total: int
    parts: Sequence[tuple[int, str, int]]


@dataclass(frozen=True, slots=True)
class _Timeline:
    """All bars, without gaps, with their legend.

    Attributes:
        bars: From the first to the last month (or year, when there are many months).
        types: Data type and the number of its series, the most frequent first.
        highest: Sessions in the highest bar, at least 1.
        unit: ``month`` or ``year``.
    """

    bars: Sequence[_Bar]
    types: Sequence[tuple[str, int]]
    highest: int
    unit: str


def _timeline_of(months: Sequence[tuple[str, str, int]]) -> _Timeline | None:
    """The bars for (month, data type, number); None without a dated session."""
    if not months:
        return None
    totals: dict[str, int] = {}
    for _, type_name, number in months:
        totals[type_name] = totals.get(type_name, 0) + number
    types = [
        (name, min(place, _SERIES - 1)) for place, name in enumerate(sorted(totals, key=lambda name: -totals[name]))
    ]
    names, unit = _months(months[0][0], months[-1][0]), "month"
    if len(names) > _MOST_BARS:
        names, unit = [str(year) for year in range(int(months[0][0][:4]), int(months[-1][0][:4]) + 1)], "year"
    names = names[-_MOST_BARS:]
    counts: dict[str, dict[str, int]] = {name: {} for name in names}
    for month, type_name, number in months:
        mine = counts.get(month[: len(names[0])])
        if mine is not None:
            mine[type_name] = mine.get(type_name, 0) + number
    bars = [
        _Bar(name, sum(mine.values()), [(series, one, mine[one]) for one, series in types if one in mine])
        for name, mine in counts.items()
    ]
    return _Timeline(bars, types, max(1, *(bar.total for bar in bars)), unit)


def _months(first: str, last: str) -> list[str]:
    start, end = (int(one[:4]) * 12 + int(one[5:7]) - 1 for one in (first, last))
    return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(start, end + 1)]


ROUTES: Final = (
    Route(("GET",), "/projects", page_route(list_projects)),
    Route(("GET",), "/projects/{project}", page_route(read_project)),
    Route(("GET",), "/projects/{project}/subjects", page_route(list_subjects)),
)
