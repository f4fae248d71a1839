"""Scans of imaging sessions (xnat-rest.md 5)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xnatferry.server import access, item_editing, objects, responses
from xnatferry.server.fields import Submitted, submitted
from xnatferry.server.item_trees import item_answer
from xnatferry.server.joins import Row
from xnatferry.server.listings import Listing, table_of
from xnatferry.server.objects import Item, Level
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.resource_paths import experiment_of
from xnatferry.server.routes.downloads import NO_PROJECT
from xnatferry.xnat.datatypes import extends

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from starlette.responses import Response

_LISTING: Final = Listing(
    root="xnat:imageScanData",
    defaults=("xnat_imagescandata_id", "ID", "type", "quality", "xsiType", "note", "series_description"),
    key="xnat_imagescandata_id",
    uri=lambda row: f"/data/experiments/{row.session.id if row.session else ''}/scans/{row.item.id}",
    filtered=False,
    paged=False,
)
_NO_SESSION: Final = "Specified scan must reference a valid image session."
_MISSING: Final = "Unable to find the specified scan."
_MODALITIES: Final = (
    "Multiple scan modalities can be associated here.  Please retry with the specification of a particular modality "
    "(i.e. ?xsiType=xnat:mrScanData)."
)


def _session(connection: sqlite3.Connection, scope: Scope) -> Item | None:
    """The imaging session of the path, where it is there and may be read."""
    found = experiment_of(connection, scope)
    return found if found is not None and extends(found.xsi_type, "xnat:imageSessionData") else None


def _session_to_change(connection: sqlite3.Connection, scope: Scope) -> Item:
    session = _session(connection, scope)
    if session is None:
        raise Refusal(417, _NO_SESSION)
    access.require_edit(connection, scope, session.project)
    return session


def list_scans(scope: Scope) -> Response:
    """GET .../scans."""
    with scope.archive.database.read() as connection:
        session = _session(connection, scope)
        if session is None:
            raise Refusal(404) if "project" in scope.params else Refusal(500, NO_PROJECT)
        found = objects.children(connection, session, Level.SCAN)
        rows = [Row(scan, session=session) for scan in sorted(found, key=lambda one: _natural(one.id))]
        return responses.listing(scope, table_of(_LISTING, scope, rows, connection))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Numbers in a name count as numbers, and come before letters: 2, 10, a."""
    parts = [part for part in re.split(r"([0-9]+)", name) if part]
    return [(False, int(part), "") if part[0] in "0123456789" else (True, 0, part) for part in parts]


def read_scan(scope: Scope) -> Response:
    """GET of one scan."""
    with scope.archive.database.read() as connection:
        return item_answer(scope, connection, _found(connection, scope))


def _found(connection: sqlite3.Connection, scope: Scope) -> Item:
    session = _session(connection, scope)
    scan = objects.find_scan(connection, scope.params["scan"], session) if session else None
    if scan is None:
        raise Refusal(404, _MISSING)
    return scan


def put_scan(scope: Scope) -> Response:
    """PUT of one scan: create or change; an empty 200 either way."""
    access.require_account(scope)
    with scope.archive.database.write() as connection:
        session = _session_to_change(connection, scope)
        name = scope.params["scan"]
        stored = objects.find_scan(connection, name, session)
        wanted = submitted(scope, stored_type=stored.xsi_type if stored else "")
        if not wanted.xsi_type and stored is None:
            raise Refusal(417, "Need PUT Contents")
        if any("/" in key for key, _ in scope.query) and not (wanted.fields or wanted.own or wanted.xsi_type):
            raise Refusal(417, "Need PUT Contents")
        if stored is not None:
            wanted.xsi_type = wanted.xsi_type or stored.xsi_type
        _save(connection, scope, session, wanted.own.get("ID") or name, wanted)  # another ID makes another scan
    return responses.empty()


def _save(connection: sqlite3.Connection, scope: Scope, session: Item, name: str, wanted: Submitted) -> None:
    """A scan that is addressed itself names its project; one within a document does not (``ScanResource``)."""
    fields = {**wanted.fields, "project": session.project}
    save_scan(connection, scope, session, name, xsi_type=wanted.xsi_type, fields=fields)


def save_scan(
    connection: sqlite3.Connection, scope: Scope, session: Item, name: str, *, xsi_type: str, fields: Mapping[str, str]
) -> Item:
    """Make or change the scan *name* of *session*; an empty *xsi_type* keeps the stored one.

    Raises:
        Refusal: 400 for a type that is no scan, 409 for another type than the stored one.
    """
    stored = objects.find_scan(connection, name, session)
    xsi_type = xsi_type or (stored.xsi_type if stored else "")
    if xsi_type == "xnat:imageScanData":
        raise Refusal(400, _MODALITIES)
    if not extends(xsi_type, "xnat:imageScanData"):
        raise Refusal(
            400,
            "Only Scan documents can be PUT to this address. Expected: xnat:imageScanData Received: " + xsi_type,
        )
    if stored is not None:
        if stored.xsi_type != xsi_type:
            raise Refusal(409, "Specified xsiType differs from existing xsiType")
        return item_editing.update_item(connection, stored, fields)
    if not item_editing.is_label(name):
        raise Refusal(500)
    folder = f"{session.folder}/SCANS/{name}"
    scope.archive.blob_store.path(folder)  # refuses an ID that is no name for a folder
    item = Item(0, Level.SCAN, session.project, name, name, xsi_type, session.key, folder, fields=fields)
    return item_editing.insert_item(connection, item, scope.user_name)


def post_scan(scope: Scope) -> Response:
    """POST .../scans: create; without an ID the smallest number that is free."""
    access.require_account(scope)
    with scope.archive.database.write() as connection:
        session = _session_to_change(connection, scope)
        default = session.xsi_type.replace("SessionData", "ScanData")
        wanted = submitted(scope, default_type=default)
        taken = {scan.id for scan in objects.children(connection, session, Level.SCAN)}
        name = wanted.own.get("ID", "")
        if name in taken:
            raise Refusal(409, "Specified scan already exists.")
        name = name or next(str(number) for number in range(1, len(taken) + 2) if str(number) not in taken)
        _save(connection, scope, session, name, wanted)
    return responses.posted(scope, name)


def delete_scan(scope: Scope) -> Response:
    """DELETE of one scan; without ``removeFiles`` its files stay on disk."""
    access.require_account(scope)
    with scope.archive.database.read() as connection:
        scan = _found(connection, scope)
        access.require_delete(connection, scope, scan.project)
    item_editing.delete_items(scope.archive, [scan], remove_files=scope.query.is_true("removeFiles"))
    return responses.empty()


def _routes(template: str) -> tuple[Route, ...]:
    return (
        Route(("GET",), template, list_scans),
        Route(("POST",), template, post_scan),
        Route(("GET",), f"{template}/{{scan}}", read_scan),
        Route(("PUT",), f"{template}/{{scan}}", put_scan),
        Route(("DELETE",), f"{template}/{{scan}}", delete_scan),
    )


ROUTES: Final = (
    *_routes("/projects/{project}/subjects/{subject}/experiments/{experiment}/scans"),
    *_routes("/experiments/{experiment}/scans"),
)
