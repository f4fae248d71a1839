"""Experiments: imaging sessions and other assessors of a subject (xnat-rest.md 4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from xnatferry.server import access, answers, editing, objects
from xnatferry.server.fields import Submitted, submitted
from xnatferry.server.listings import Listing, Row, table_of
from xnatferry.server.objects import Item, Level
from xnatferry.server.places import experiment_of
from xnatferry.server.routes import scans, sharing
from xnatferry.server.routes.subjects import new_subject
from xnatferry.server.scope import Refusal, Route, Scope
from xnatferry.server.trees import item_answer
from xnatferry.xnat.datatypes import data_type, extends

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starlette.responses import Response

    from xnatferry.xnat.items import ItemTree

__all__ = ["ROUTES"]

_DEFAULTS: Final = ("ID", "project", "date", "xsiType", "label", "insert_date")
_BELOW: Final = Listing(
    root="xnat:subjectAssessorData",
    defaults=_DEFAULTS,
    key="ID",
    uri=lambda row: f"/data/experiments/{row.item.id}",
    typed_key=True,
)
_SITE: Final = Listing(
    root="xnat:experimentData",
    defaults=_DEFAULTS,
    key="ID",
    uri=lambda row: f"/data/experiments/{row.item.id}",
    typed_key=True,
    title="Matching experiments",
    detailed=True,
)
_MISSING: Final = "Unable to find the specified experiment."


def list_below(scope: Scope) -> Response:
    """GET .../projects/{project}/experiments and .../subjects/{subject}/experiments."""
    name = scope.params["project"]
    with scope.archive.database.read() as connection:
        project = objects.find_project(connection, name)
        if project is None or not access.may_see(connection, scope.account, project.id):
            raise Refusal(404, f"Unable to identify project {name}")
        if not access.may_read(connection, scope.account, project.id):
            raise Refusal(403)
        rows = sharing.rows_in(connection, project, (Level.EXPERIMENT,))
        if (named := scope.params.get("subject")) is not None:
            subject = objects.find_subject(connection, named, project)
            if subject is None:
                raise Refusal(404, f"Unable to identify subject {named}")
            rows = [row for row in rows if row.item.parent_key == subject.key]
        return _listed(connection, scope, _BELOW, rows)


def list_site(scope: Scope) -> Response:
    """GET /data/experiments: sessions and image assessors of all projects."""
    with scope.archive.database.read() as connection:
        readable = access.readable_projects(connection, scope.account)
        found = connection.execute("SELECT * FROM items WHERE level IN ('experiment', 'assessor') ORDER BY key")
        rows = [Row(objects.item_of(row)) for row in found if row["project"] in readable]
        return _listed(connection, scope, _SITE, rows)


def _listed(connection: sqlite3.Connection, scope: Scope, listing: Listing, rows: Sequence[Row]) -> Response:
    parents: dict[int, Item] = {}

    def parent(item: Item) -> Item:
        key = item.parent_key or 0
        if key not in parents:
            parents[key] = objects.by_key(connection, key)
        return parents[key]

    for row in rows:
        if row.item.level is Level.ASSESSOR:
            row.session = parent(row.item)
            row.subject = parent(row.session)
        else:
            row.subject = parent(row.item)

    children_of = partial(objects.children, connection)
    return answers.listing(scope, table_of(listing, scope.query, rows, children_of))


def read_experiment(scope: Scope) -> Response:
    """GET of one experiment, also for paths below it that mean nothing (routes match by prefix)."""
    with scope.archive.database.read() as connection:
        return item_answer(scope, connection, _found(connection, scope))


def _found(connection: sqlite3.Connection, scope: Scope) -> Item:
    found = experiment_of(connection, scope)
    if found is None:
        raise Refusal(404, _MISSING)
    return found


def put_experiment(scope: Scope) -> Response:
    """PUT of one experiment: create (with its subject and scans), change, move to another subject, or rename."""
    access.require_account(scope)
    with scope.archive.database.read() as connection:
        project, item = _addressed(connection, scope)
    wanted = submitted(scope, stored_type=item.xsi_type if item else "")
    label = scope.query.get("label")
    if item is not None and label and not wanted.from_document:
        return _rename(scope, item, label)
    with scope.archive.database.write() as connection:
        project, item = _addressed(connection, scope)
        if item is not None:
            access.require_edit(connection, scope, item.project)
            _require_assessor(wanted.xsi_type or item.xsi_type)
            _change(connection, scope, project, item, wanted)
            return answers.text(item.id)
        if not wanted.xsi_type:
            raise Refusal(417, "Need PUT Contents")
        if project is None:
            project = objects.find_project(connection, wanted.own.get("project", ""))
        if project is None:
            raise Refusal(422, "Submitted experiment record must include the project attribute.")
        access.require_edit(connection, scope, project.id)
        _require_assessor(wanted.xsi_type)
        made = _create(connection, scope, project, scope.params["experiment"], wanted)
    return answers.text(made.id, status=201)


def _addressed(connection: sqlite3.Connection, scope: Scope) -> tuple[Item | None, Item | None]:
    """The project and the experiment that the path names, where they are there."""
    project = None
    if "project" in scope.params:
        project = objects.find_project(connection, scope.params["project"])
        if project is None or not access.may_read(connection, scope.account, project.id):
            raise Refusal(404, "Unable to identify project")
    item = objects.find_experiment(connection, scope.params["experiment"], project)
    if project is None and item is not None and not access.may_read(connection, scope.account, item.project):
        item = None
    return project, item


def _require_assessor(xsi_type: str) -> None:
    if not extends(xsi_type, "xnat:subjectAssessorData"):
        raise Refusal(422, "Only xnat:Subject documents can be PUT to this address.")
    if xsi_type in {"xnat:subjectAssessorData", "xnat:imageSessionData"}:
        raise Refusal(400, f"{xsi_type} is no type of its own: name one that extends it, such as xnat:mrSessionData.")


def post_experiment(scope: Scope) -> Response:
    """POST .../subjects/{subject}/experiments: create; the subject must be there and the label free."""
    access.require_account(scope)
    wanted = submitted(scope)
    if not wanted.xsi_type:
        raise Refusal(417, "Need POST Contents")
    _require_assessor(wanted.xsi_type)
    with scope.archive.database.write() as connection:
        project = objects.find_project(connection, scope.params["project"])
        if project is None:
            raise Refusal(404)
        access.require_edit(connection, scope, project.id)
        if objects.find_subject(connection, scope.params["subject"], project) is None:
            raise Refusal(404, f"Unable to identify subject {scope.params['subject']}")
        label = wanted.own.get("label", "")
        if label and objects.find_experiment(connection, label, project) is not None:
            raise Refusal(409, "Specified experiment already exists.")
        made = _create(connection, scope, project, label, wanted)
    return answers.posted(scope, made.id)


def _create(connection: sqlite3.Connection, scope: Scope, project: Item, name: str, wanted: Submitted) -> Item:
    if (asked := wanted.own.get("project", "")) and asked != project.id:
        raise Refusal(409, "Project must be modified through separate URI.")
    label = wanted.own.get("label") or name
    if not label:
        raise Refusal(417, "Invalid character in experiment label.")
    editing.refuse_label(label)
    subject = _subject(connection, scope, project, wanted)
    if subject is None:
        raise Refusal(422, "Submitted experiment record must include the subject.")
    given = wanted.own.get("ID", "")
    if given and not editing.is_label(given):
        raise Refusal(417, "Invalid character in experiment ID.")
    number = given if given and given != label else ""
    number = number or editing.accession(connection, scope.archive.settings.site_name, "E")
    folder = f"{project.folder}/arc001/{label}"
    item = Item(
        0,
        Level.EXPERIMENT,
        project.id,
        number,
        label,
        wanted.xsi_type,
        subject.key,
        folder,
        fields=wanted.fields,
    )
    item = editing.insert_item(connection, item, scope.user_name)
    _merge_scans(connection, scope, item, wanted.nested.get("scans/scan", []))
    return item


def _subject(connection: sqlite3.Connection, scope: Scope, project: Item, wanted: Submitted) -> Item | None:
    """The subject of the path, else the one that ``subject_ID`` names; made when it is not there."""
    name = scope.params.get("subject") or wanted.own.get("subject_ID", "")
    if not name:
        return None
    return objects.find_subject(connection, name, project) or new_subject(connection, scope, project, name)


def _change(connection: sqlite3.Connection, scope: Scope, project: Item | None, item: Item, wanted: Submitted) -> None:
    if wanted.xsi_type and wanted.xsi_type != item.xsi_type and not extends(item.xsi_type, wanted.xsi_type):
        raise Refusal(409, f"The experiment is a {item.xsi_type}; its type cannot be changed to {wanted.xsi_type}.")
    if (asked := wanted.own.get("ID", "")) and asked not in {item.id, item.label}:
        raise Refusal(400, "ID cannot be modified")
    if (asked := wanted.own.get("project", "")) and asked != item.project:
        raise Refusal(409, "Project must be modified through separate URI.")
    if wanted.from_document and (asked := wanted.own.get("label", "")) and asked != item.label:
        raise Refusal(400, "Label must be modified through separate URI.")
    owner = project if project is not None and project.id == item.project else None
    owner = owner or objects.find_project(connection, item.project)
    subject = None
    if owner is not None and (project is None or project.id == item.project):
        subject = _subject(connection, scope, owner, wanted)
    whole = wanted.from_document and scope.query.get("allowDataDeletion") == "true"
    item = editing.update_item(connection, item, wanted.fields, parent=subject, only=whole)
    _merge_scans(connection, scope, item, wanted.nested.get("scans/scan", []))


def _merge_scans(connection: sqlite3.Connection, scope: Scope, session: Item, trees: Sequence[ItemTree]) -> None:
    """Make or change the scans that a session's document holds."""
    for tree in trees:
        name = tree.fields.get("ID", "")
        fields = {path: text for path, text in tree.fields.items() if path not in {"ID", "image_session_ID", "project"}}
        of_type = data_type(tree.xsi_type)
        if not name or of_type is None or of_type.name == "xnat:imageScanData":
            raise Refusal(400, "A scan in a session's document needs an ID and an xsi:type, such as xnat:mrScanData.")
        scans.save_scan(connection, scope, session, name, xsi_type=of_type.name, fields=fields)


def _rename(scope: Scope, item: Item, label: str) -> Response:
    with scope.archive.database.read() as connection:
        access.require_edit(connection, scope, item.project)
        project = objects.find_project(connection, item.project)
        taken = objects.find_experiment(connection, label, project)
    if label != item.label:
        if taken is not None and taken.key != item.key:
            raise Refusal(409, "Specified label is already in use.")
        editing.rename(scope.archive, item, label, scope.user_name)
    return answers.empty()


def delete_experiment(scope: Scope) -> Response:
    """DELETE of an experiment or image assessor; through a project that only shares it, the share goes."""
    access.require_account(scope)
    with scope.archive.database.write() as connection:
        item = _found(connection, scope)
        project = objects.find_project(connection, scope.params["project"]) if "project" in scope.params else None
        access.require_delete(connection, scope, (project or item).project)
        if project is not None and project.id != item.project:
            connection.execute("DELETE FROM shares WHERE item_key = ? AND project = ?", (item.key, project.id))
            return answers.empty()
    editing.delete_items(scope.archive, [item], remove_files=scope.query.is_true("removeFiles"))
    return answers.empty()


def status(scope: Scope) -> Response:
    """GET .../status: nothing is ever locked or quarantined here."""
    with scope.archive.database.read() as connection:
        _found(connection, scope)
    return answers.text("active")


def history(scope: Scope) -> Response:
    """GET .../history: when it got another label or project, in the form of XNAT's ``WorkflowBasedHistoryBuilder``."""
    with scope.archive.database.read() as connection:
        item = _found(connection, scope)
        rows = connection.execute("SELECT * FROM renames WHERE item_key = ? ORDER BY number", (item.key,)).fetchall()
    events = [
        {
            "event_id": row["number"],
            "event_action": row["action"],
            "event_date": int(datetime.fromisoformat(row["renamed"]).replace(tzinfo=UTC).timestamp() * 1000),
            "event_user": row["login"],
            "event_type": "WEB_SERVICE",
            "event_category": "DATA",
            "event_status": "Complete",
            "changesets": [],
        }
        for row in rows
    ]
    return answers.document(json.dumps({"events": events}), "json")


def _routes(template: str) -> tuple[Route, ...]:
    return (
        Route(("GET",), template, read_experiment),
        Route(("PUT",), template, put_experiment),
        Route(("DELETE",), template, delete_experiment),
        Route(("GET",), f"{template}/status", status),
        Route(("GET",), f"{template}/history", history),
        *sharing.routes(template),
    )


ROUTES: Final = (
    Route(("GET",), "/projects/{project}/experiments", list_below),
    Route(("GET",), "/projects/{project}/subjects/{subject}/experiments", list_below),
    Route(("POST",), "/projects/{project}/subjects/{subject}/experiments", post_experiment),
    Route(("GET",), "/experiments", list_site),
    *_routes("/projects/{project}/subjects/{subject}/experiments/{experiment}"),
    *_routes("/projects/{project}/experiments/{experiment}"),
    *_routes("/experiments/{experiment}"),
    Route(("GET",), "/projects/{project}/experiments/{experiment}/{rest*}", read_experiment),
)
