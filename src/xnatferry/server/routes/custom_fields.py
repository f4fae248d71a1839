"""``/xapi/custom-fields``: free JSON fields of projects, subjects, experiments and scans (``CustomFieldsApi``).

They are the field ``custom_fields`` of the item, one JSON object; a change and what it is based on are one transaction,
so that of fields written at the same time none is lost.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from xnatferry.server import access, item_editing, objects, responses
from xnatferry.server.request_scope import Refusal, Route
from xnatferry.xnat.datatypes import extends
from xnatferry.xnat.values import jsonb_text, read_json

if TYPE_CHECKING:
    import sqlite3

    from starlette.responses import Response

    from xnatferry.server.objects import Item
    from xnatferry.server.request_scope import Scope

_UNFOUND: Final = "Unable to find requested file or resource: "
_EXPERIMENTS: Final = (
    "/experiments/{experiment}",
    "/projects/{project}/experiments/{experiment}",
    "/projects/{project}/subjects/{subject}/experiments/{experiment}",
)
_PLACES: Final = (
    "/projects/{project}",
    "/subjects/{subject}",
    "/projects/{project}/subjects/{subject}",
    *(experiment + below for experiment in _EXPERIMENTS for below in ("", "/scans/{scan}", "/assessors/{assessor}")),
)


def read_fields(scope: Scope) -> Response:
    """GET .../fields: all of them, or those that ``fieldNames`` lists."""
    with scope.archive.database.read() as connection:
        fields = _fields_of(_readable(connection, scope))
    if names := [name for text in scope.query.all("fieldNames") for name in text.split(",") if name]:
        fields = {name: fields[name] for name in names if name in fields}
    return responses.text(json.dumps(fields), media="application/json")


def read_field(scope: Scope) -> Response:
    """GET .../fields/{field}: a text as it is, anything else as JSON."""
    with scope.archive.database.read() as connection:
        fields = _fields_of(_readable(connection, scope))
    name = scope.params["field"]
    if name not in fields:
        raise _no_field(name)
    value = fields[name]
    return responses.text(value if isinstance(value, str) else json.dumps(value, separators=(",", ":")))


def write_fields(scope: Scope) -> Response:
    """PUT .../fields with a JSON object: merged on the first level; answers with all. Other JSON changes nothing."""
    if scope.media_type != "application/json":
        raise Refusal(415)
    if not scope.body:
        raise Refusal(500, "Required request body is missing", plain=True)
    try:
        sent = read_json(scope.body)
    except ValueError as error:
        raise Refusal(500, f"JSON parse error: {error}", plain=True) from error
    with scope.archive.database.write() as connection:
        item = _editable(connection, scope)
        return _saved(connection, item, _fields_of(item) | (sent if isinstance(sent, dict) else {}))


def delete_field(scope: Scope) -> Response:
    """DELETE .../fields/{field}: answers with those that are left; one that is null counts as missing."""
    name = scope.params["field"]
    with scope.archive.database.write() as connection:
        item = _editable(connection, scope)
        fields = _fields_of(item)
        if fields.pop(name, None) is None:
            raise _no_field(name)
        return _saved(connection, item, fields)


def _fields_of(item: Item) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(item.fields.get("custom_fields") or "{}")
    return found


def _saved(connection: sqlite3.Connection, item: Item, fields: dict[str, Any]) -> Response:
    text = jsonb_text(fields)
    item_editing.update_item(connection, item, {"custom_fields": text})
    return responses.text(text, media="application/json")


def _readable(connection: sqlite3.Connection, scope: Scope) -> Item:
    item = _found(connection, scope)
    if not access.may_read(connection, scope.account, item.project):
        raise Refusal(403, bare=True)
    return item


def _editable(connection: sqlite3.Connection, scope: Scope) -> Item:
    item = _found(connection, scope)
    if not access.may_edit(connection, scope.account, item.project):
        raise Refusal(403, bare=True)
    return item


def _found(connection: sqlite3.Connection, scope: Scope) -> Item:
    """The item that the path names; a project that may not be seen, and what is in it, is not there.

    Raises:
        Refusal: 404, with the words of ``CustomFieldsApi.getItem``.
    """
    params = scope.params
    name = params.get("experiment") or params.get("subject") or params["project"]
    project = objects.find_project(connection, params["project"]) if "project" in params else None
    found = project
    if project is not None or "project" not in params:
        if "experiment" in params:
            found = objects.find_experiment(connection, params["experiment"], project)
        elif "subject" in params:
            found = objects.find_subject(connection, params["subject"], project)
    if found is None or not access.may_see(connection, scope.account, found.project):
        raise _missing(f"The following item(s) don't exist: {name}")
    if project is not None and found.project != project.id:
        raise _missing(f"Unable to identify experiment: {name}")
    if "experiment" not in params:
        return found
    if "subject" in params:
        subject = objects.by_key(connection, found.parent_key)
        if params["subject"] not in {subject.id, subject.label}:
            raise _missing(f"Unable to identify experiment: {name}")
    return _below(connection, scope, found)


def _below(connection: sqlite3.Connection, scope: Scope, session: Item) -> Item:
    of_images = extends(session.xsi_type, "xnat:imageSessionData")
    if (name := scope.params.get("assessor")) is not None:
        found = objects.find_assessor(connection, name, session) if of_images else None
        if found is None:
            raise _missing(f"Unable to identify assessor: {name}")
        return found
    if (name := scope.params.get("scan")) is not None:
        found = objects.find_scan(connection, name, session) if of_images else None
        if found is None:
            asked = session.id if of_images else scope.params["experiment"]
            raise _missing(f"Unable to identify scan: {name} for experiment: {asked}")
        return found
    return session


def _missing(words: str) -> Refusal:
    return Refusal(404, _UNFOUND + words, plain=True)


def _no_field(name: str) -> Refusal:
    return _missing(f"Field {name} does not exist.")


#: Routes outside ``/data``.
SITE_ROUTES: Final = tuple(
    route
    for container in _PLACES
    for route in (
        Route(("GET",), f"/xapi/custom-fields{container}/fields", read_fields),
        Route(("PUT",), f"/xapi/custom-fields{container}/fields", write_fields),
        Route(("GET",), f"/xapi/custom-fields{container}/fields/{{field}}", read_field),
        Route(("DELETE",), f"/xapi/custom-fields{container}/fields/{{field}}", delete_field),
    )
)
