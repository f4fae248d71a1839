"""Refreshing catalogs: make the listings agree with what lies on disk (``RefreshCatalog``, ``CatalogApi``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from xnatferry.server import access, catalogs, objects, responses
from xnatferry.server.catalogs import Refresh
from xnatferry.server.request_scope import Refusal, Route
from xnatferry.server.resource_paths import find_container, resources_by_container

if TYPE_CHECKING:
    from starlette.responses import Response

    from xnatferry.server.request_scope import Scope
    from xnatferry.server.resources import Resource

_ACTS: Final = {
    "append": Refresh.APPEND,
    "delete": Refresh.DELETE,
    "checksum": Refresh.CHECKSUM,
    "populatestats": Refresh.POPULATE_STATS,
}
_EVERYTHING: Final = Refresh.APPEND | Refresh.DELETE | Refresh.CHECKSUM | Refresh.POPULATE_STATS
_WORDS: Final = {
    "projects": "project",
    "subjects": "subject",
    "experiments": "experiment",
    "scans": "scan",
    "assessors": "assessor",
    "reconstructions": "reconstruction",
}
#: What decides who may change something.
_SECURING: Final = {"project", "subject", "experiment"}


def refresh_catalogs(scope: Scope) -> Response:
    """Refresh the resources that ``resource=`` names; several may be given, and a session means all that it has."""
    pairs = [(key, value) for key, value in scope.query]
    if scope.media_type == "application/x-www-form-urlencoded":
        pairs += scope.form()
    return _refreshed(scope, [value for key, value in pairs if key == "resource"], _acts(pairs))


def refresh_listed(scope: Scope) -> Response:
    """PUT /xapi/archive/catalogs/refresh[/{operations}] with a JSON list of addresses (``CatalogApi``)."""
    if scope.media_type != "application/json":
        raise Refusal(415)
    try:
        uris = json.loads(scope.body)
    except ValueError as error:
        raise Refusal(500, f"JSON parse error: {error}", plain=True) from error
    if not isinstance(uris, list) or not all(isinstance(uri, str) for uri in uris):
        raise Refusal(400, "The body is a JSON list of addresses of resources.", plain=True)
    return _refreshed(scope, uris, _acts([("options", scope.params.get("operations", ""))]))


def _refreshed(scope: Scope, uris: list[str], acts: Refresh) -> Response:
    wanted = [resource for uri in uris for resource in _named(scope, uri)]
    for resource in wanted:
        catalogs.refresh(scope.archive, resource, acts, scope.user_name)
    return responses.empty()


def no_answer(_scope: Scope) -> Response:
    """GET of the service: XNAT allows it and has nothing to say."""
    raise Refusal(404)


def _acts(pairs: list[tuple[str, str]]) -> Refresh:
    """What to do: ``options`` as a list or repeated, or the names as booleans; nothing said is everything (9.2)."""
    names = {name.strip().lower() for key, value in pairs if key == "options" for name in value.split(",")}
    names |= {key.lower() for key, value in pairs if key.lower() in _ACTS and value.lower() not in {"false", "0"}}
    acts = Refresh(0)
    for name in names & _ACTS.keys():
        acts |= _ACTS[name]
    return acts or _EVERYTHING


def _named(scope: Scope, uri: str) -> list[Resource]:
    """The resources below an address such as ``/archive/experiments/ID/scans/1/resources/NIFTI``; maybe none.

    Raises:
        Refusal: 400, it is no such address or nothing is there; 403, it may not be changed.
    """
    path, marker, label = uri.rstrip("/").partition("/resources/")
    parts = [unquote(part) for part in path.split("/")[2:]]
    direction = parts.pop() if parts[-1:] in (["in"], ["out"]) else ""
    params = {_WORDS.get(word, ""): name for word, name in zip(parts[::2], parts[1::2], strict=False)}
    if not uri.startswith("/archive/") or len(parts) % 2 or "" in params or not _SECURING & params.keys():
        raise Refusal(400, f"Malformed URI: {uri}")
    if "/" in label:
        raise Refusal(
            400,
            f"Resource URI: {uri} is a file; you should provide the path to a resource (leave off the *_catalog.xml).",
        )
    with scope.archive.database.read() as connection:
        item = objects.find(connection, {word: name for word, name in params.items() if word in _SECURING})
        if isinstance(item, str) or not access.may_see(connection, scope.account, item.project):
            raise Refusal(400, f"Cannot locate archivable item securing {uri}")
        if not access.may_edit(connection, scope.account, item.project):
            words = f"does not have permission to edit the resource {uri} for item {item.id}"
            raise Refusal(403, f"The user {scope.user_name} {words}")
        container = find_container(connection, scope.account, params, direction)
        held = resources_by_container(connection, container, unquote(label) if marker else None, everything=not marker)
    return [one.resource for one in held]


ROUTES: Final[tuple[Route, ...]] = (
    Route(("GET",), "/services/refresh/catalog", no_answer, archived=False),
    Route(("POST",), "/services/refresh/catalog", refresh_catalogs, archived=False),
)

#: Routes outside ``/data``.
SITE_ROUTES: Final[tuple[Route, ...]] = (
    Route(("PUT",), "/xapi/archive/catalogs/refresh", refresh_listed),
    Route(("PUT",), "/xapi/archive/catalogs/refresh/{operations}", refresh_listed),
)
