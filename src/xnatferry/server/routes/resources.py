"""``.../resources`` and ``.../resources/LABEL`` at every level (``CatalogResourceList``, ``CatalogResource``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server import access, catalogs, resources, responses
from xnatferry.server.catalogs import Refresh
from xnatferry.server.objects import Level
from xnatferry.server.request_scope import Refusal
from xnatferry.server.resource_paths import container_of, resource_routes, resources_by_container, segment
from xnatferry.server.resources import described_by
from xnatferry.xnat.catalog import encode_catalog

if TYPE_CHECKING:
    import sqlite3

    from starlette.responses import Response

    from xnatferry.server.request_scope import Route, Scope
    from xnatferry.server.resource_paths import ResourceContainer

_NO_PATHS: Final = (
    "This resource works at the catalog level only and does not accept file paths.  "
    "To work with the resource files, append '/files' after the resource ID."
)


def list_resources(scope: Scope) -> Response:
    """All resources of a place."""
    everything = scope.query.is_true("all")
    with scope.archive.database.read() as connection:
        try:
            container = container_of(connection, scope)
        except Refusal as refusal:
            raise Refusal(404, "" if scope.params.keys() == {"project"} else refusal.message) from refusal
        if container.unknown:
            raise Refusal(404)
        held = resources_by_container(connection, container, everything=everything)
    if scope.query.is_true("cache_file_stats") and any(one.resource.file_count is None for one in held):
        for one in held:
            catalogs.refresh(scope.archive, one.resource, Refresh.POPULATE_STATS, scope.user_name)
        with scope.archive.database.read() as connection:
            held = resources_by_container(connection, container_of(connection, scope), everything=everything)
    return responses.listing(scope, catalogs.resource_table(held, everything=everything))


def show_catalog(scope: Scope) -> Response:
    """The catalog document; XNAT has no other form of it, whatever ``format`` says."""
    _refuse_path(scope)
    with scope.archive.database.read() as connection:
        held = resources_by_container(connection, container_of(connection, scope), segment(scope))
        if not held:
            raise Refusal(404, "Unable to find the specified catalog.")
        one = held[0]
        location = ""
        if scope.query.is_true("includeRootPath"):
            location = str(scope.archive.blob_store.path(one.folder))
        files = list(resources.files_of(connection, [one.resource]))
        catalog = catalogs.catalog_of(one.item, one.resource, files, location)
    return responses.document(encode_catalog(catalog), "xml")


def create_resource(scope: Scope) -> Response:
    """Make a resource; one that is there is a conflict (409), not a success."""
    _refuse_path(scope)
    label = segment(scope) or ""
    with scope.archive.database.read() as connection:
        container = _editable(connection, scope)
    if label.isdecimal() and container.only.level is Level.SCAN:
        raise Refusal(404)
    resources.refuse_label(label)
    _make(scope, container, label)
    return responses.empty()


def post_resource(scope: Scope) -> Response:
    """Make a resource that has no label; answers with the address that ends in its number (recorded)."""
    if not any(scope.query.has(key) for key in ("label", "format", "content", "description", "tags")):
        raise Refusal(400, "Missing parameter: format, content, description or tags.")
    with scope.archive.database.read() as connection:
        container = _editable(connection, scope)
    made = _make(scope, container, "")
    return responses.posted(scope, str(made))


def delete_resources(scope: Scope) -> Response:
    """Remove resources with their files, which go to the trash; one that is not there is no error (7.7)."""
    _refuse_path(scope)
    with scope.archive.database.read() as connection:
        container = container_of(connection, scope)
        item = container.only
        access.require_delete(connection, scope, item.project)
        held = resources_by_container(connection, container, segment(scope))
    failed = []
    for one in held:
        try:
            scope.archive.file_store.remove_resource(one.item, one.resource)
        except OSError as error:
            failed.append(f"{one.resource.label}: {error.strerror}")
    if failed:
        message = "Not removed: " + "; ".join(failed)
        raise Refusal(500 if len(failed) == len(held) else 207, message)
    return responses.empty()


def _editable(connection: sqlite3.Connection, scope: Scope) -> ResourceContainer:
    container = container_of(connection, scope)
    access.require_edit(connection, scope, container.only.project)
    return container


def _make(scope: Scope, container: ResourceContainer, label: str) -> int:
    described = described_by(scope.query)
    number = scope.archive.file_store.create(container.only, container.direction, label, described, scope.user_name)
    with scope.archive.database.read() as connection:
        made = resources.by_id(connection, number)
    if made is not None:
        catalogs.list_leftovers(scope.archive, made, scope.user_name)
    return number


def _refuse_path(scope: Scope) -> None:
    if scope.raw_params.get("rest"):
        raise Refusal(400, _NO_PATHS)


ROUTES: Final[tuple[Route, ...]] = (
    *resource_routes(("GET",), "/resources", list_resources),
    *resource_routes(("PUT", "POST"), "/resources", post_resource),
    *resource_routes(("GET",), "/resources/{resource}/{rest*}", show_catalog),
    *resource_routes(("PUT", "POST"), "/resources/{resource}/{rest*}", create_resource),
    *resource_routes(("DELETE",), "/resources/{resource}/{rest*}", delete_resources),
)
