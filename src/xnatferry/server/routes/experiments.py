"""Experiments: imaging sessions and other assessors of a subject (xnat-rest.md 4)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from xnatferry.server import access, item_editing, objects, responses
from xnatferry.server.element_security import is_set_up, require_set_up
from xnatferry.server.fields import Submitted, submitted
from xnatferry.server.item_trees import item_answer
from xnatferry.server.joins import Row
from xnatferry.server.listings import Listing, table_of
from xnatferry.server.objects import Item, Level
from xnatferry.server.request_scope import Query, Refusal, Route, Scope
from xnatferry.server.resource_paths import experiment_of
from xnatferry.server.routes import scans, sharing
from xnatferry.server.routes.subjects import new_subject
from xnatferry.xnat.datatypes import data_type, extends

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starlette.responses import Response

    from xnatferry.xnat.items import ItemTree

_DEFAULTS: Final = ("ID", "project", "date", "xsiType", "label", "insert_date")
_BELOW: Final = Listing(
    root="xnat:subjectAssessorData",
    defaults=_DEFAULTS,
    key="ID",
    uri=lambda row: f"/data/experiments/{row.item.id}",
    typed_key=True,
    mixed=True,
    silent=True,
)
_SITE: Final = Listing(
    root="xnat:experimentData",
    defaults=_DEFAULTS,
    key="ID",
    uri=lambda row: f"/data/experiments/{row.item.id}",
    typed_key=True,
    title="Matching experiments",
    detailed=True,
    mixed=True,
)
_NO_SUBJECT: Final = (
    "The content of element 'xnat:subjectAssessorData' is not complete. "
    "'{\"http://nrg.wustl.edu/xnat\":subject_ID}' Required Field"
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
        found = sharing.rows_in(connection, project, (Level.EXPERIMENT,))
        rows = [row for row in found if is_set_up(scope.archive.settings, row.item.xsi_type)]
        _show_shares(connection, project, rows)
        if (named := scope.params.get("subject")) is not None:
            subject = objects.find_subject(connection, named, project)
            if subject is None:
                raise Refusal(404, f"Unable to identify subject {named}")
            rows = [row for row in rows if row.item.parent_key == subject.key]
        return _listed(connection, scope, _BELOW, rows)


def _show_shares(connection: sqlite3.Connection, project: Item, rows: Sequence[Row]) -> None:
    """Let what is shared into *project* be listed as of this project, with the label that its subject has there."""
    shared = connection.execute(
        "SELECT shares.item_key, shares.label FROM shares JOIN items ON items.key = shares.item_key"
        " WHERE shares.project = ? AND items.level = 'subject'",
        (project.id,),
    )
    labels = {row["item_key"]: row["label"] for row in shared}
    for row in rows:
        if row.item.project != project.id:
            row.project, row.subject_label = project.id, labels.get(row.item.parent_key, "")


def list_site(scope: Scope) -> Response:
    """GET /data/experiments: sessions and image assessors of all projects."""
    with scope.archive.database.read() as connection:
        readable = access.readable_projects(connection, scope.account)
        found = connection.execute("SELECT * FROM items WHERE level IN ('experiment', 'assessor') ORDER BY key")
        sees_all = scope.account is not None and scope.account.admin
        rows = [
            Row(objects.item_of(row))
            for row in found
            if row["project"] in readable and (sees_all or is_set_up(scope.archive.settings, row["xsi_type"]))
        ]
        return _listed(connection, scope, _SITE, rows)


def _listed(connection: sqlite3.Connection, scope: Scope, listing: Listing, rows: Sequence[Row]) -> Response:
    above = objects.by_keys(connection, (row.item.parent_key or 0 for row in rows))
    higher = objects.by_keys(connection, (one.parent_key or 0 for one in above.values()))
    for row in rows:
        parent = above[row.item.parent_key or 0]
        if row.item.level is Level.ASSESSOR:
            row.session, row.subject = parent, higher[parent.parent_key or 0]
        else:
            row.subject = parent
    return responses.listing(scope, table_of(listing, scope, rows, connection))


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
            access.require_edit(connection, scope, item.project, "edit experiments")
            _require_assessor(wanted.xsi_type or item.xsi_type)
            wanted.fields |= item_editing.status_changes(scope.query)
            _change(connection, scope, project, item, wanted)
            return responses.text(item.id)
        if not wanted.xsi_type:
            raise Refusal(417, "Need PUT Contents")
        if project is None:
            project = objects.find_project(connection, wanted.own.get("project", ""))
        if project is None:
            raise Refusal(422, "Submitted experiment record must include the project attribute.")
        access.require_edit(connection, scope, project.id, "create experiments")
        _require_assessor(wanted.xsi_type)
        made = _create(connection, scope, project, scope.params["experiment"], wanted)
    return responses.text(made.id, status=201)


def _addressed(connection: sqlite3.Connection, scope: Scope) -> tuple[Item | None, Item | None]:
    """The project and the experiment that the path names, where they are there."""
    project = None
    if "project" in scope.params:
        project = objects.find_project(connection, scope.params["project"])
        if project is None or not access.may_read(connection, scope.account, project.id):
            raise Refusal(404)
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
        access.require_edit(connection, scope, project.id, "create experiments")
        if objects.find_subject(connection, scope.params["subject"], project) is None:
            raise Refusal(404, f"Unable to identify subject {scope.params['subject']}")
        label = wanted.own.get("label", "")
        if label and objects.find_experiment(connection, label, project) is not None:
            raise Refusal(409, "Specified experiment already exists.")
        made = _create(connection, scope, project, label, wanted)
    return responses.posted(scope, made.id)


def _create(connection: sqlite3.Connection, scope: Scope, project: Item, name: str, wanted: Submitted) -> Item:
    if (asked := wanted.own.get("project", "")) and asked != project.id:
        raise Refusal(409, "Project must be modified through separate URI.")
    label = wanted.own.get("label") or name
    if not label:
        raise Refusal(417, "Invalid character in experiment label.")
    item_editing.refuse_label(label)
    subject = _subject(connection, scope, project, wanted)
    if subject is None:
        raise Refusal(400, _NO_SUBJECT)
    given = wanted.own.get("ID", "")
    if given and not item_editing.is_label(given):
        raise Refusal(417, "Invalid character in experiment ID.")
    number = given if given and given != label else ""
    number = number or item_editing.accession(connection, scope.archive.settings.site_name, "E")
    folder = f"{project.folder}/arc001/{label}"
    quarantined = project.fields.get("setting:quarantine_code") == "1"
    item = Item(
        0,
        Level.EXPERIMENT,
        project.id,
        number,
        label,
        wanted.xsi_type,
        subject.key,
        folder,
        fields=wanted.fields | item_editing.status_changes(Query("quarantine=true") if quarantined else scope.query),
    )
    item = item_editing.insert_item(connection, item, scope.user_name)
    _merge_scans(connection, scope, item, wanted.nested.get("scans/scan", []))
    return item


def _subject(connection: sqlite3.Connection, scope: Scope, project: Item, wanted: Submitted) -> Item | None:
    """The subject of the path, else the one that ``subject_ID`` names; made when it is not there.

    ``subject_ID`` is a label only for who names the project in the query or document as well; else XNAT tries to make a
    subject of that label, and fails where it is there.

    Raises:
        Refusal: 500, see above.
    """
    named = scope.params.get("subject")
    name = named or wanted.own.get("subject_ID", "")
    if not name:
        return None
    found = objects.find_subject(connection, name, project)
    if found is not None and not named and found.id != name and not wanted.own.get("project"):
        raise Refusal(500)
    return found or new_subject(connection, scope, project, name)


def _change(connection: sqlite3.Connection, scope: Scope, project: Item | None, item: Item, wanted: Submitted) -> None:
    wanted.refuse_rename(item)
    owner = project if project is not None and project.id == item.project else None
    owner = owner or objects.find_project(connection, item.project)
    subject = None
    if owner is not None and (project is None or project.id == item.project):
        # A session stays where it is when the subject of the path is not there.
        asked = wanted.own.get("subject_ID", "")
        subject = objects.find_subject(connection, scope.params.get("subject") or asked, owner)
        if subject is None and asked:
            subject = new_subject(connection, scope, owner, asked)
    whole = wanted.from_document and scope.query.get("allowDataDeletion") == "true"
    if whole and not wanted.own.get("project"):
        raise Refusal(409, "Project must be modified through separate URI.")
    item = item_editing.update_item(connection, item, wanted.fields, parent=subject, only=whole)
    _merge_scans(connection, scope, item, wanted.nested.get("scans/scan", []))


def _merge_scans(connection: sqlite3.Connection, scope: Scope, session: Item, trees: Sequence[ItemTree]) -> None:
    """Make or change the scans that a session's document holds."""
    seen: set[str] = set()
    for tree in trees:
        name = tree.fields.get("ID", "")
        if name in seen:
            continue  # of two scans with one ID XNAT keeps the first
        seen.add(name)
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
        item_editing.rename(scope.archive, item, label, scope.user_name)
    return responses.empty()


def delete_experiment(scope: Scope) -> Response:
    """DELETE of an experiment or image assessor; through a project that only shares it, the share goes."""
    access.require_account(scope)
    with scope.archive.database.write() as connection:
        item = _found(connection, scope)
        project = objects.find_project(connection, scope.params["project"]) if "project" in scope.params else None
        access.require_delete(connection, scope, (project or item).project, "experiments")
        if project is not None and project.id != item.project:
            connection.execute("DELETE FROM shares WHERE item_key = ? AND project = ?", (item.key, project.id))
            return responses.empty()
    require_set_up(scope.archive.settings, [item])
    item_editing.delete_items(scope.archive, [item], remove_files=scope.query.is_true("removeFiles"))
    return responses.empty()


def status(scope: Scope) -> Response:
    """GET .../status: ``active`` or ``quarantine``; nothing is ever locked here."""
    with scope.archive.database.read() as connection:
        return responses.text(item_editing.status_of(_found(connection, scope)), media="text/html")


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
    return responses.document(json.dumps({"events": events}), "json")


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
