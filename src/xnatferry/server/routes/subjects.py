"""Subjects: create, change, rename, read, list, delete (xnat-rest.md 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server import access, item_editing, objects, responses
from xnatferry.server.element_security import require_set_up
from xnatferry.server.fields import Submitted, submitted
from xnatferry.server.item_trees import item_answer
from xnatferry.server.joins import Row
from xnatferry.server.listings import Listing, table_of
from xnatferry.server.objects import Item, Level
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.routes import sharing

if TYPE_CHECKING:
    import sqlite3

    from starlette.responses import Response

_LISTING: Final = Listing(
    root="xnat:subjectData",
    defaults=("ID", "project", "label", "insert_date", "insert_user"),
    key="ID",
    uri=lambda row: f"/data/subjects/{row.item.id}",
)
_NO_PROJECT: Final = "Submitted subject record must include the project attribute."


def list_subjects(scope: Scope) -> Response:
    """GET /data/projects/{project}/subjects and /data/subjects; shared ones are there with the label of the share."""
    with scope.archive.database.read() as connection:
        if "project" in scope.params:
            project = _project(connection, scope)
            if project is None or not access.may_see(connection, scope.account, project.id):
                raise Refusal(404)
            if not access.may_read(connection, scope.account, project.id):
                raise Refusal(403, f"Unable to read subjects for Project: {project.id}")
            rows = sharing.rows_in(connection, project, (Level.SUBJECT,))
        else:
            readable = access.readable_projects(connection, scope.account)
            found = connection.execute("SELECT * FROM items WHERE level = 'subject' ORDER BY key")
            rows = [Row(objects.item_of(row)) for row in found if row["project"] in readable]
        return responses.listing(scope, table_of(_LISTING, scope, rows, connection))


def read_subject(scope: Scope) -> Response:
    """GET of one subject."""
    with scope.archive.database.read() as connection:
        return item_answer(scope, connection, _found(connection, scope))


def put_subject(scope: Scope) -> Response:
    """PUT of one subject: create, change, or with ``label=`` rename."""
    access.require_account(scope)
    if "project" not in scope.params:
        return _put_by_id(scope)
    name, label = scope.params["subject"], scope.query.get("label")
    wanted = submitted(scope, default_type="xnat:subjectData")
    _require_subject(wanted)
    with scope.archive.database.write() as connection:
        project = _project(connection, scope)
        if project is None or not access.may_see(connection, scope.account, project.id):
            raise Refusal(422, _NO_PROJECT)
        item = objects.find_subject(connection, name, project)
        _require_edit(connection, scope, project, item)
        if item is None:
            made = new_subject(connection, scope, project, wanted.own.get("label") or name, wanted)
            return responses.text(made.id, status=201)
        if not label:
            wanted.fields |= item_editing.status_changes(scope.query)
            _change(connection, item, wanted)
            return responses.text(item.id)
    if label != item.label:
        with scope.archive.database.read() as connection:
            if objects.find_subject(connection, label, project) is not None:
                raise Refusal(409, "Specified label is already in use.")
        item_editing.rename(scope.archive, item, label, scope.user_name)
    return responses.empty()


def _require_edit(connection: sqlite3.Connection, scope: Scope, project: Item, item: Item | None = None) -> None:
    """Refuse who may not make a subject in *project*, or change *item*; that a protected project is there is known."""
    if not access.may_edit(connection, scope.account, (item or project).project):
        act = "create" if item is None else "edit"
        raise Refusal(403, f"Specified user account has insufficient {act} privileges for subjects in this project.")


def _put_by_id(scope: Scope) -> Response:
    wanted = submitted(scope, default_type="xnat:subjectData")
    _require_subject(wanted)
    with scope.archive.database.write() as connection:
        item = objects.find_subject(connection, scope.params["subject"], None)
        if item is None or not access.may_read(connection, scope.account, item.project):
            raise Refusal(422, _NO_PROJECT)
        access.require_edit(connection, scope, item.project, "edit subjects")
        _change(connection, item, wanted)
    return responses.text(item.id)


def _change(connection: sqlite3.Connection, item: Item, wanted: Submitted) -> None:
    wanted.refuse_rename(item)
    item_editing.update_item(connection, item, wanted.fields)


def post_subject(scope: Scope) -> Response:
    """POST /data/projects/{project}/subjects: create from a document or a query; the label must be free."""
    access.require_account(scope)
    wanted = submitted(scope, default_type="xnat:subjectData")
    _require_subject(wanted)
    with scope.archive.database.write() as connection:
        project = _project(connection, scope)
        if project is None:
            raise Refusal(404)
        access.require_edit(connection, scope, project.id, "create subjects")
        label = wanted.own.get("label", "")
        if label and objects.find_subject(connection, label, project) is not None:
            raise Refusal(409, "Subject already exists.")
        if "experiments/experiment" in wanted.nested:
            raise Refusal(422, "A POST of a subject takes no experiments.")
        made = new_subject(connection, scope, project, label, wanted)
    return responses.posted(scope, made.id)


def new_subject(
    connection: sqlite3.Connection, scope: Scope, project: Item, label: str, wanted: Submitted | None = None
) -> Item:
    """Make a subject; without *label* its label is its ID.

    Raises:
        Refusal: 500 for a bad label, 417 for a bad ID, 409 when either is taken.
    """
    wanted = wanted or Submitted("xnat:subjectData")
    if (asked := wanted.own.get("project", "")) and asked != project.id:
        raise Refusal(409, "Project must be modified through separate URI.")
    given = wanted.own.get("ID", "")
    if given and not item_editing.is_label(given):
        raise Refusal(417, "Invalid character in subject ID.")
    if given and given == label:
        given = ""  # pyxnat's use_label: the label stands in for the ID
    number = given or item_editing.accession(connection, scope.archive.settings.site_name, "S")
    label = label or number
    item_editing.refuse_label(label)
    folder = f"{project.folder}/subjects/{label}"
    item = Item(
        0, Level.SUBJECT, project.id, number, label, "xnat:subjectData", project.key, folder, fields=wanted.fields
    )
    return item_editing.insert_item(connection, item, scope.user_name)


def delete_subject(scope: Scope) -> Response:
    """DELETE of a subject with its sessions; through a project that only shares it, the share goes."""
    access.require_account(scope)
    with scope.archive.database.write() as connection:
        project = _project(connection, scope) if "project" in scope.params else None
        item = objects.find_subject(connection, scope.params["subject"], project)
        if item is None or not access.may_read(connection, scope.account, (project or item).project):
            raise Refusal(404, "Unable to find the specified subject.")
        access.require_delete(connection, scope, (project or item).project, "subjects")
        if project is not None and project.id != item.project:
            sharing.unshare_subject(connection, item, project.id)
            return responses.empty()
        access.require_delete(connection, scope, item.project, "subjects")
        sessions = objects.children(connection, item, Level.EXPERIMENT)
        if not all(access.may_delete(connection, scope.account, session.project) for session in sessions):
            raise Refusal(403, "Sessions of other projects would go with the subject; move those first.")
    require_set_up(scope.archive.settings, sessions)
    item_editing.delete_items(scope.archive, [*sessions, item], remove_files=scope.query.is_true("removeFiles"))
    return responses.empty()


def _require_subject(wanted: Submitted) -> None:
    if wanted.xsi_type != "xnat:subjectData":
        raise Refusal(422, "Only xnat:Subject documents can be PUT to this address.")


def _project(connection: sqlite3.Connection, scope: Scope) -> Item | None:
    return objects.find_project(connection, scope.params["project"])


def _found(connection: sqlite3.Connection, scope: Scope) -> Item:
    name = scope.params["subject"]
    project = _project(connection, scope) if "project" in scope.params else None
    if "project" in scope.params and (project is None or not access.may_read(connection, scope.account, project.id)):
        raise Refusal(404, "Unable to identify project")
    item = objects.find_subject(connection, name, project)
    if item is not None and access.may_read(connection, scope.account, (project or item).project):
        return item
    if project is not None:
        words = f"The project {project.id} does not contain a subject identifiable by the ID or label {name}."
    else:
        words = (
            "When searching by subject ID only, you must specify the accession number and not the subject label, which "
            f"is not unique across the XNAT system. {name} is not a known subject accession ID."
        )
    raise Refusal(404, f"Unable to find the specified subject. {words}")


def status(scope: Scope) -> Response:
    """GET .../status: ``active`` or ``quarantine``; nothing is ever locked here."""
    with scope.archive.database.read() as connection:
        return responses.text(item_editing.status_of(_found(connection, scope)), media="text/html")


ROUTES: Final = (
    Route(("GET",), "/projects/{project}/subjects", list_subjects),
    Route(("POST",), "/projects/{project}/subjects", post_subject),
    Route(("GET",), "/projects/{project}/subjects/{subject}", read_subject),
    Route(("PUT",), "/projects/{project}/subjects/{subject}", put_subject),
    Route(("DELETE",), "/projects/{project}/subjects/{subject}", delete_subject),
    Route(("GET",), "/projects/{project}/subjects/{subject}/status", status),
    *sharing.routes("/projects/{project}/subjects/{subject}"),
    Route(("GET",), "/subjects", list_subjects),
    Route(("GET",), "/subjects/{subject}", read_subject),
    Route(("PUT",), "/subjects/{subject}", put_subject),
    Route(("DELETE",), "/subjects/{subject}", delete_subject),
    Route(("GET",), "/subjects/{subject}/status", status),
    *sharing.routes("/subjects/{subject}"),
)
