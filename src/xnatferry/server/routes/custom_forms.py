"""``/xapi/customforms``: make, list, show, enable, disable and delete custom forms (``CustomFormsApi``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from xnatferry.server import access, custom_forms, objects, responses
from xnatferry.server.request_scope import Refusal, Route
from xnatferry.xnat.datatypes import data_type

if TYPE_CHECKING:
    import sqlite3

    from starlette.responses import Response

    from xnatferry.server.custom_forms import Form
    from xnatferry.server.objects import Item
    from xnatferry.server.request_scope import Scope

_FORBIDDEN: Final = ("<", ">", "&lt;", "&gt;")


def list_forms(scope: Scope) -> Response:
    """GET /xapi/customforms: all forms, or those in use on the site and in the project ``projectId``."""
    access.require_account(scope)
    project = scope.query.get("projectId")
    with scope.archive.database.read() as connection:
        shown = [_configuration(connection, form, project) for form in custom_forms.forms(connection)]
    return _json([one for one in shown if one["appliesToList"]])


def _configuration(connection: sqlite3.Connection, form: Form, project: str) -> dict[str, Any]:
    uses = [one for one in form.uses if not project or one.project in {"", project}]
    return {
        "appliesToList": [
            {
                "entityId": one.project or "Site",
                "idCustomVariableFormAppliesTo": f"{form.id}_{one.id}",
                "status": "enabled" if one.enabled else "disabled",
            }
            for one in uses
        ],
        "contents": json.dumps(form.definition, separators=(",", ":")),
        "formId": str(form.id),
        "formUUID": form.uuid,
        "formDisplayOrder": form.position,
        "path": f"datatype/{uses[0].data_type}" if uses else "",
        "scope": "Site" if any(not one.project for one in uses) else "Project",
        "doProjectsShareForm": len([one for one in form.uses if one.project]) > 1,
        "username": form.created_by,
        "dateCreated": int(form.created.timestamp() * 1000),
        "hasData": custom_forms.has_data(connection, form),
    }


def save_form(scope: Scope) -> Response:
    """PUT /xapi/customforms/save, for administrators: a new form, or another definition of one; answers its UUID."""
    body = _body_of_manager(scope)
    data, builder = _submission(body)
    kind = data_type(str((data.get("xnatDatatype") or {}).get("value", "")))
    form_id = str(data.get("idCustomVariableFormAppliesTo") or "-1_-1").rpartition("_")[0]
    position = data.get("zIndex", 0)
    if kind is None or not isinstance(position, int) or not form_id.removeprefix("-").isdecimal():
        raise _bad("Invalid form submission: unknown xnatDatatype, zIndex or idCustomVariableFormAppliesTo")
    with scope.archive.database.write() as connection:
        projects = _projects(connection, data)
        if form_id == "-1":
            number, name = custom_forms.add(connection, builder, position, scope.user_name)
        else:
            number = int(form_id)
            found = custom_forms.change(connection, number, builder, position)
            if found is None:
                raise Refusal(500, "Could not create form", plain=True)
            name = found
        for key in projects:
            custom_forms.use(connection, number, kind.name, key)
    return responses.text(name, status=201)


def _submission(body: object) -> tuple[dict[str, Any], dict[str, Any]]:
    """What was chosen, and the form itself."""
    submission = body.get("submission") if isinstance(body, dict) else None
    if not isinstance(submission, dict):
        raise _bad('Invalid form submission: Missing required value "submission"')
    data = submission.get("data")
    if not isinstance(data, dict):
        raise _bad('Invalid form submission: Submission missing required value "data"')
    if str(data.get("isThisASiteWideConfiguration") or "").upper() not in {"YES", "NO"}:
        raise _bad('Invalid form submission: Data missing required value "isThisASiteWideConfiguration"')
    builder = body.get("builder") if isinstance(body, dict) else None
    if not isinstance(builder, dict) or "title" not in builder:
        raise _bad("Missing form title")
    if not str(builder["title"]).strip() or any(mark in str(builder["title"]) for mark in _FORBIDDEN):
        raise _bad("Invalid characters in form title")
    return data, builder


def _projects(connection: sqlite3.Connection, data: dict[str, Any]) -> list[int | None]:
    """Keys of the projects that a form is for; [None] for the site."""
    if data.get("xnatProtocol"):
        raise _bad("Invalid form submission: there are no protocols here")
    if not (chosen := data.get("xnatProject")) or str(data["isThisASiteWideConfiguration"]).upper() == "YES":
        return [None]
    found: list[int | None] = []
    for one in chosen:
        project = objects.find_project(connection, str(one.get("value", "")) if isinstance(one, dict) else str(one))
        if project is None:
            raise _bad(f"Invalid form submission: unknown project {one}")
        found.append(project.key)
    return found


def show_form(scope: Scope) -> Response:
    """GET /xapi/customforms/element: what to fill in for items of a type, or for one; ``{}`` where there is nothing."""
    access.require_account(scope)
    for name, kind in (("xsiType", "String"), ("appendPrevNextButtons", "Boolean")):
        if not scope.query.has(name):
            words = f"There was an error in the request: Required {kind} parameter '{name}' is not present"
            raise Refusal(500, words, plain=True)
    with scope.archive.database.read() as connection:
        project, item = _asked(connection, scope)
        kind_of_item = scope.query.get("xsiType")
        held = set(json.loads(item.fields.get("custom_fields") or "{}")) if item else set()
        places = {"", project.id} if project else {""}
        used, extra = [], []
        for form in custom_forms.forms(connection):
            here = [one for one in form.uses if one.data_type == kind_of_item and one.project in places]
            if any(one.enabled for one in here):
                used.append(form)
            elif not here and form.uuid in held:
                extra.append(form)
    return _json(custom_forms.wizard([*used, *extra]))


def _asked(connection: sqlite3.Connection, scope: Scope) -> tuple[Item | None, Item | None]:
    """The project and the item that are asked about, where they are named and may be read."""
    name, project_name = ("" if text.upper() == "NULL" else text for text in map(scope.query.get, ("id", "projectId")))
    kind = scope.query.get("xsiType")
    if not name and not project_name:
        return None, None
    of_project = kind == "xnat:projectData"
    project = objects.find_project(connection, name if of_project and name else project_name)
    if project is not None and not access.may_see(connection, scope.account, project.id):
        project = None
    item = project if of_project else None
    if name and not of_project:
        find = objects.find_subject if kind == "xnat:subjectData" else objects.find_experiment
        item = find(connection, name, None) or (find(connection, name, project) if project else None)
        if item is not None and not access.may_read(connection, scope.account, item.project):
            item = None
    if item is None and project is None:
        raise _bad(f"Did not find {name or project_name}")
    return project or objects.find_project(connection, item.project if item else ""), item


def enable_forms(scope: Scope) -> Response:
    """POST /xapi/customforms/enable with a list of uses."""
    return _set_status(scope, "enabled", "Form Enabled", "Form not enabled")


def disable_forms(scope: Scope) -> Response:
    """POST /xapi/customforms/disable with a list of uses."""
    return _set_status(scope, "disabled", "Form disabled", "Custom Form could not be disabled")


def _set_status(scope: Scope, status: str, done: str, failed: str) -> Response:
    rows = _rows(scope)
    with scope.archive.database.write() as connection:
        changed = [custom_forms.set_status(connection, *row, status) for row in rows]
        if not all(changed):
            raise _bad(failed)
    return responses.text(done)


def delete_forms(scope: Scope) -> Response:
    """DELETE /xapi/customforms with a list of uses; one that holds data is disabled instead."""
    rows, done = _rows(scope), []
    with scope.archive.database.write() as connection:
        for form_id, use_id in rows:
            form = next((one for one in custom_forms.forms(connection) if one.id == form_id), None)
            done.append(custom_forms.remove_use(connection, form, use_id) if form else "")
        if not all(done):
            raise _bad("Custom Form could not be deleted")
    return responses.text("Form " + ",".join(done))


def _rows(scope: Scope) -> list[tuple[int, int]]:
    """The uses that a body lists by ``idCustomVariableFormAppliesTo``, each as the numbers of form and use."""
    body = _body_of_manager(scope)
    names = [str(one.get("idCustomVariableFormAppliesTo", "")) for one in body] if isinstance(body, list) else []
    pairs = [name.split("_") for name in names]
    if not pairs or not all(len(pair) == 2 and all(part.isdecimal() for part in pair) for pair in pairs):
        raise _bad("The body is a list of objects with idCustomVariableFormAppliesTo.")
    return [(int(form), int(use)) for form, use in pairs]


def _body_of_manager(scope: Scope) -> Any:
    """The JSON body of a request that only administrators may send."""
    if not access.require_account(scope).admin:
        raise Refusal(403, bare=True)
    if scope.media_type != "application/json":
        raise Refusal(415)
    try:
        return json.loads(scope.body)
    except (ValueError, RecursionError) as error:
        raise _bad(f"Invalid form submission: {error}") from error


def _bad(words: str) -> Refusal:
    return Refusal(400, words, plain=True)


def _json(value: object) -> Response:
    return responses.text(json.dumps(value), media="application/json")


#: Routes outside ``/data``.
SITE_ROUTES: Final = (
    Route(("GET",), "/xapi/customforms", list_forms),
    Route(("DELETE",), "/xapi/customforms", delete_forms),
    Route(("PUT",), "/xapi/customforms/save", save_form),
    Route(("GET",), "/xapi/customforms/element", show_form),
    Route(("POST",), "/xapi/customforms/enable", enable_forms),
    Route(("POST",), "/xapi/customforms/disable", disable_forms),
)
