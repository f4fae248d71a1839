"""Image assessors and reconstructions of imaging sessions (xnat-rest.md 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server import access, item_editing, objects, responses
from xnatferry.server.fields import Submitted, require_complete, submitted
from xnatferry.server.item_trees import item_answer
from xnatferry.server.joins import Row
from xnatferry.server.listings import Listing, table_of
from xnatferry.server.objects import Item, Level
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.resource_paths import experiment_of
from xnatferry.server.routes import sharing
from xnatferry.xnat.datatypes import extends

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from starlette.responses import Response

_ASSESSORS: Final = Listing(
    root="xnat:imageAssessorData",
    defaults=("ID", "project", "date", "xsiType", "label", "insert_date", "session_ID", "session_label"),
    key="ID",
    uri=lambda row: f"/data/experiments/{row.item.id}",
    typed_key=True,
    paged=False,
    silent=True,
)
_RECONSTRUCTIONS: Final = Listing(
    root="xnat:reconstructedImageData",
    defaults=("xnat_reconstructedimagedata_id", "ID", "type", "baseScanType"),
    key="xnat_reconstructedimagedata_id",
    uri=lambda row: f"/data/experiments/{row.session.id if row.session else ''}/reconstructions/{row.item.id}",
    paged=False,
)
_MISSING: Final = "Unable to find the specified experiment."


def _session(connection: sqlite3.Connection, scope: Scope, message: str = "") -> Item:
    found = experiment_of(connection, scope)
    if found is None:
        raise Refusal(404, message)
    return found


def list_assessors(scope: Scope) -> Response:
    """GET .../assessors."""
    with scope.archive.database.read() as connection:
        session = _session(connection, scope)
        rows = [Row(one, session=session) for one in objects.children(connection, session, Level.ASSESSOR)]
        return responses.listing(scope, table_of(_ASSESSORS, scope, rows, connection))


def read_assessor(scope: Scope) -> Response:
    """GET of one assessor."""
    with scope.archive.database.read() as connection:
        return item_answer(scope, connection, _assessor(connection, scope))


def _assessor(connection: sqlite3.Connection, scope: Scope) -> Item:
    session = _session(connection, scope, _MISSING)
    found = objects.find_assessor(connection, scope.params["assessor"], session)
    if found is None:
        raise Refusal(404, _MISSING)
    return found


def put_assessor(scope: Scope) -> Response:
    """PUT of one assessor: create (201 and its ID), change (200 and its ID), or rename."""
    access.require_account(scope)
    with scope.archive.database.write() as connection:
        session = _session(connection, scope, "Unable to identify image session")
        access.require_edit(connection, scope, session.project)
        name = scope.params["assessor"]
        stored = objects.find_assessor(connection, name, session)
        wanted = submitted(scope, stored_type=stored.xsi_type if stored else "")
        label = scope.query.get("label")
        if stored is None:
            made = _new_assessor(connection, scope, session, wanted.own.get("label") or name, wanted)
            return responses.text(made.id, status=201)
        if not label or label == stored.label:
            if wanted.own.get("ID", stored.id) not in {stored.id, ""}:
                raise Refusal(400, "ID cannot be modified")
            item_editing.update_item(connection, stored, wanted.fields)
            return responses.text(stored.id)
        project = objects.find_project(connection, stored.project)
        if objects.find_experiment(connection, label, project) is not None:
            raise Refusal(409, "Specified label is already in use.")
    item_editing.rename(scope.archive, stored, label, scope.user_name)
    return responses.empty()


def post_assessor(scope: Scope) -> Response:
    """POST .../assessors: create."""
    access.require_account(scope)
    wanted = submitted(scope)
    with scope.archive.database.write() as connection:
        session = _session(connection, scope)
        access.require_edit(connection, scope, session.project)
        made = _new_assessor(connection, scope, session, wanted.own.get("label", ""), wanted)
    return responses.posted(scope, made.id)


def _new_assessor(connection: sqlite3.Connection, scope: Scope, session: Item, label: str, wanted: Submitted) -> Item:
    if not wanted.xsi_type:
        raise Refusal(417, "Need POST Contents")
    if not extends(wanted.xsi_type, "xnat:imageAssessorData"):
        raise Refusal(422, "Only xnat:Subject documents can be PUT to this address.")
    if "project" not in scope.params and not wanted.own.get("project"):
        raise Refusal(422, "Submitted subject record must include the project attribute.")
    number = item_editing.accession(connection, scope.archive.settings.site_name, "E")
    label = label or number
    item_editing.refuse_label(label)
    project = objects.find_project(connection, session.project)
    if (taken := objects.find_experiment(connection, label, project)) is not None:
        # XNAT takes whatever has the label for an assessor, and fails on a session.
        raise Refusal(409 if taken.level is Level.ASSESSOR else 500, "Specified experiment already exists.")
    require_complete(wanted)
    folder = f"{session.folder}/ASSESSORS/{label}"
    item = Item(
        0,
        Level.ASSESSOR,
        session.project,
        number,
        label,
        wanted.xsi_type,
        session.key,
        folder,
        fields=wanted.fields,
    )
    return item_editing.insert_item(connection, item, scope.user_name)


def list_reconstructions(scope: Scope) -> Response:
    """GET .../reconstructions."""
    with scope.archive.database.read() as connection:
        session = _session(connection, scope)
        rows = [Row(one, session=session) for one in objects.children(connection, session, Level.RECONSTRUCTION)]
        return responses.listing(scope, table_of(_RECONSTRUCTIONS, scope, rows, connection))


def read_reconstruction(scope: Scope) -> Response:
    """GET of one reconstruction."""
    with scope.archive.database.read() as connection:
        return item_answer(scope, connection, _reconstruction(connection, scope))


def _reconstruction(connection: sqlite3.Connection, scope: Scope) -> Item:
    session = _session(connection, scope)
    found = objects.find_reconstruction(connection, scope.params["reconstruction"], session)
    if found is None:
        raise Refusal(404, "Unable to find the specified reconstruction.")
    return found


def put_reconstruction(scope: Scope) -> Response:
    """PUT of one reconstruction: an empty 200. IDs of reconstructions are unique on the whole site."""
    access.require_account(scope)
    wanted = submitted(scope, default_type="xnat:reconstructedImageData")
    if wanted.xsi_type != "xnat:reconstructedImageData":
        raise Refusal(422, "Only Reconstruction documents can be PUT to this address.")
    with scope.archive.database.write() as connection:
        session = _session(connection, scope)
        access.require_edit(connection, scope, session.project)
        name = scope.params["reconstruction"]
        stored = objects.find_reconstruction(connection, name, session)
        if stored is not None:
            item_editing.update_item(connection, stored, wanted.fields)
            return responses.empty()
        folder = f"{session.folder}/PROCESSED/{name}"
        scope.archive.blob_store.path(folder)  # refuses an ID that is no name for a folder
        item = Item(
            0,
            Level.RECONSTRUCTION,
            session.project,
            name,
            name,
            wanted.xsi_type,
            session.key,
            folder,
            fields=wanted.fields,
        )
        item_editing.insert_item(connection, item, scope.user_name)
    return responses.empty()


def delete_assessor(scope: Scope) -> Response:
    """DELETE of one assessor."""
    return _delete(scope, _assessor)


def delete_reconstruction(scope: Scope) -> Response:
    """DELETE of one reconstruction."""
    return _delete(scope, _reconstruction)


def _delete(scope: Scope, find: Callable[[sqlite3.Connection, Scope], Item]) -> Response:
    access.require_account(scope)
    with scope.archive.database.read() as connection:
        item = find(connection, scope)
        access.require_delete(connection, scope, item.project)
    item_editing.delete_items(scope.archive, [item], remove_files=scope.query.is_true("removeFiles"))
    return responses.empty()


def _routes(template: str) -> tuple[Route, ...]:
    assessors, reconstructions = f"{template}/assessors", f"{template}/reconstructions"
    return (
        Route(("GET",), assessors, list_assessors),
        Route(("POST",), assessors, post_assessor),
        Route(("GET",), f"{assessors}/{{assessor}}", read_assessor),
        Route(("PUT",), f"{assessors}/{{assessor}}", put_assessor),
        Route(("DELETE",), f"{assessors}/{{assessor}}", delete_assessor),
        *sharing.routes(f"{assessors}/{{assessor}}"),
        Route(("GET",), reconstructions, list_reconstructions),
        Route(("GET",), f"{reconstructions}/{{reconstruction}}", read_reconstruction),
        Route(("PUT",), f"{reconstructions}/{{reconstruction}}", put_reconstruction),
        Route(("DELETE",), f"{reconstructions}/{{reconstruction}}", delete_reconstruction),
    )


ROUTES: Final = (
    *_routes("/projects/{project}/subjects/{subject}/experiments/{experiment}"),
    *_routes("/experiments/{experiment}"),
)
