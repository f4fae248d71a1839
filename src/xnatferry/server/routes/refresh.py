"""``POST /data/services/refresh/catalog``: make the listings agree with what lies on disk (``RefreshCatalog``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

from xnatferry.server import access, answers, catalogs
from xnatferry.server.catalogs import Refresh
from xnatferry.server.places import find_place, holdings
from xnatferry.server.scope import Refusal, Route

if TYPE_CHECKING:
    from starlette.responses import Response

    from xnatferry.server.resources import Resource
    from xnatferry.server.scope import Scope

__all__ = ["ROUTES"]

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
    "resources": "resource",
}


def refresh_catalogs(scope: Scope) -> Response:
    """Refresh the resources that ``resource=`` names; several may be given, and a session means all that it has."""
    pairs = [(key, value) for key, value in scope.query]
    if scope.media_type == "application/x-www-form-urlencoded":
        pairs += parse_qsl(scope.body.decode("utf-8", "replace"), keep_blank_values=True)
    uris = [value for key, value in pairs if key == "resource"]
    if not uris:
        raise Refusal(400, "Say which catalog to refresh: resource=/archive/...")
    acts = _acts(pairs)
    wanted = [resource for uri in uris for resource in _named(scope, uri)]
    for resource in wanted:
        catalogs.refresh(scope.archive, resource, acts, scope.user_name)
    return answers.empty()


def _acts(pairs: list[tuple[str, str]]) -> Refresh:
    """What to do: ``options`` as a list or repeated, or the names as booleans; nothing said is everything (9.2)."""
    names = {name.strip().lower() for key, value in pairs if key == "options" for name in value.split(",")}
    names |= {key.lower() for key, value in pairs if key.lower() in _ACTS and value.lower() not in {"false", "0"}}
    acts = Refresh(0)
    for name in names & _ACTS.keys():
        acts |= _ACTS[name]
    return acts or _EVERYTHING


def _named(scope: Scope, uri: str) -> list[Resource]:
    """The resources below an address such as ``/archive/experiments/ID/scans/1/resources/NIFTI``.

    Raises:
        Refusal: 400, it is no such address; 404, there is nothing; 403, it may not be changed.
    """
    path = re.sub(r"^(?:/data|/REST)?(?:/archive)?/", "", "/" + uri.strip("/"))
    parts = [unquote(part) for part in path.split("/")]
    direction = next((part for part in parts if part in {"in", "out"}), "")
    parts = [part for part in parts if part not in {"in", "out"}]
    params = {_WORDS.get(word, ""): name for word, name in zip(parts[::2], parts[1::2], strict=False)}
    if len(parts) % 2 or "" in params or not {"project", "subject", "experiment"} & params.keys():
        raise Refusal(400, f"{uri} is no address of a catalog.")
    names = params.pop("resource", None)
    with scope.archive.database.read() as connection:
        place = find_place(connection, scope.account, params, direction)
        if not place.items:
            raise Refusal(404, place.problem)
        for item in place.items:
            access.require_edit(connection, scope, item.project)
        held = holdings(connection, place, names, everything=names is None)
    if names is not None and not held:
        raise Refusal(404, f"{uri} is not there.")
    return [one.resource for one in held]


ROUTES: Final[tuple[Route, ...]] = (
    Route(("POST", "PUT"), "/services/refresh/catalog", refresh_catalogs, archived=False),
)
