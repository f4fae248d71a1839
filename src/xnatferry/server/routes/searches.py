"""``/data/search``: what can be searched, searching, and searches that are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server import access, responses, saved_searches, search
from xnatferry.server.request_scope import Refusal, Route, Scope

if TYPE_CHECKING:
    from starlette.responses import Response


def search_elements(scope: Scope) -> Response:
    """GET /data/search/elements."""
    with scope.archive.database.read() as connection:
        return responses.listing(scope, search.elements(connection, scope.archive.settings, scope.account))


def search_fields(scope: Scope) -> Response:
    """GET /data/search/elements/{type}."""
    return responses.listing(scope, search.fields_table(scope.params["type"]))


def run_search(scope: Scope) -> Response:
    """POST /data/search with a search document."""
    with scope.archive.database.read() as connection:
        return responses.listing(scope, search.run_search(connection, scope.account, scope.body))


def list_saved(scope: Scope) -> Response:
    """GET /data/search/saved."""
    tag, everybody = scope.query.get("includeTag"), scope.query.get("all").lower() == "true"
    with scope.archive.database.read() as connection:
        table = saved_searches.saved_table(connection, scope.account, tag=tag, everybody=everybody)
    return responses.listing(scope, table)


def read_saved(scope: Scope) -> Response:
    """GET /data/search/saved/{search}: its document; there is no other form of it."""
    with scope.archive.database.read() as connection:
        document = saved_searches.document_of(connection, scope.account, scope.params["search"])
    if scope.query.get("format").lower() not in {"", "xml", "text/xml"}:
        raise Refusal(404)
    return responses.document(document, "xml")


def put_saved(scope: Scope) -> Response:
    """PUT /data/search/saved/{search} with a search document."""
    account = access.require_account(scope)
    with scope.archive.database.write() as connection:
        saved_searches.keep(connection, account, scope.params["search"], scope.body)
    return responses.empty()


def delete_saved(scope: Scope) -> Response:
    """DELETE /data/search/saved/{search}."""
    account = access.require_account(scope)
    with scope.archive.database.write() as connection:
        saved_searches.remove(connection, account, scope.params["search"])
    return responses.empty()


def run_saved(scope: Scope) -> Response:
    """GET /data/search/saved/{search}/results."""
    with scope.archive.database.read() as connection:
        document = saved_searches.document_of(connection, scope.account, scope.params["search"])
        return responses.listing(scope, search.run_search(connection, scope.account, document, stored=True))


ROUTES: Final = (
    Route(("GET",), "/search/elements", search_elements, archived=False),
    Route(("GET",), "/search/elements/{type}", search_fields, archived=False),
    Route(("POST",), "/search", run_search, archived=False),
    Route(("GET",), "/search/saved", list_saved, archived=False),
    Route(("GET",), "/search/saved/{search}", read_saved, archived=False),
    Route(("PUT",), "/search/saved/{search}", put_saved, archived=False),
    Route(("DELETE",), "/search/saved/{search}", delete_saved, archived=False),
    Route(("GET",), "/search/saved/{search}/results", run_saved, archived=False),
)
