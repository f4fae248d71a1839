"""Sharing: an item of one project that is seen in another, under a label of its own (xnat-rest.md 3.7, 4.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server import access, item_editing, objects, responses
from xnatferry.server.joins import Row
from xnatferry.server.objects import Item, Level
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.xnat.result_set import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from starlette.responses import Response

_FORBIDDEN: Final = "Sharing is not allowed."


def rows_in(connection: sqlite3.Connection, project: Item, levels: Sequence[Level]) -> list[Row]:
    """The items of *levels* that *project* owns or has shared into it."""
    kinds = ", ".join(f"'{level}'" for level in levels)
    found = connection.execute(
        f"""
        SELECT items.*, shares.label AS shared_label FROM items
        LEFT JOIN shares ON shares.item_key = items.key AND shares.project = :project
        WHERE items.level IN ({kinds}) AND items.key IN (
            SELECT key FROM items WHERE project = :project AND level IN ({kinds}) UNION ALL
            SELECT item_key FROM shares WHERE project = :project
        )
        ORDER BY items.key
        """,  # noqa: S608  kinds are our own words
        {"project": project.id},
    )
    return [Row(objects.item_of(row), label=row["shared_label"] or "") for row in found]


def unshare_subject(connection: sqlite3.Connection, subject: Item, project: str) -> None:
    """End the share of *subject* and of its experiments.

    Raises:
        Refusal: 403, *project* owns an experiment of it.
    """
    sessions = objects.children(connection, subject, Level.EXPERIMENT)
    if any(session.project == project for session in sessions):
        raise Refusal(403, "This operation would delete an experiment (rather than un-share it).")
    keys = [(one.key, project) for one in (subject, *sessions)]
    connection.executemany("DELETE FROM shares WHERE item_key = ? AND project = ?", keys)


def _item(connection: sqlite3.Connection, scope: Scope) -> Item:
    """The item of the path, where it may be read: in the project of the path, else in its own."""
    if "project" in scope.params:
        project = objects.find_project(connection, scope.params["project"])
        if project is None or not access.may_read(connection, scope.account, project.id):
            raise Refusal(404, "Unable to identify project")
        # XNAT finds an experiment by its project alone; the subject of the path says nothing (4).
        unused = "subject" if "experiment" in scope.params else ""
        return objects.locate(connection, {name: word for name, word in scope.params.items() if name != unused})
    item = objects.locate(connection, scope.params)
    level = "subject" if item.level is Level.SUBJECT else "experiment"
    access.require_read(connection, scope, item.project, f"Unable to identify {level}")
    return item


def list_shares(scope: Scope) -> Response:
    """GET .../projects: the owner first, then where it is shared."""
    with scope.archive.database.read() as connection:
        return responses.listing(scope, _shares(connection, _item(connection, scope)))


def _shares(connection: sqlite3.Connection, item: Item) -> Table:
    shares = connection.execute("SELECT * FROM shares WHERE item_key = ? ORDER BY project", (item.key,)).fetchall()
    rows = []
    for name, label in [(item.project, item.label), *((share["project"], share["label"]) for share in shares)]:
        project = objects.find_project(connection, name)
        fields = project.fields if project else {}
        rows.append(
            {
                "label": label,
                "ID": name,
                "Secondary_ID": fields.get("secondary_ID", ""),
                "Name": fields.get("name", ""),
            }
        )
    return Table(("label", "ID", "Secondary_ID", "Name"), rows, counted=False)


def share(scope: Scope) -> Response:
    """PUT .../projects/{other}[?label=]: share with another project, or with ``primary=true`` give it away.

    It answers with the projects of a subject, and with the ID of anything else. A share that is there gets another
    label.
    """
    access.require_account(scope)
    with scope.archive.database.write() as connection:
        item = _shareable(connection, scope)
        other = objects.find_project(connection, scope.params["other"])
        if other is None or not access.may_read(connection, scope.account, other.id):
            raise Refusal(404, f"Unable to identify project: {scope.params['other']}")
        if not access.may_edit(connection, scope.account, other.id):
            raise Refusal(403)
        label = scope.query.get("label") or item.label
        find = objects.find_subject if item.level is Level.SUBJECT else objects.find_experiment
        if not _primary(scope, item):
            _share(connection, scope, item, other)
            return _shared(connection, scope, item)
        if item.project == other.id:
            raise Refusal(409, "Already assigned to project:" + other.id)
        _require_giving(connection, scope, item)
        if (there := find(connection, label, other)) is not None and there.key != item.key:
            raise Refusal(409, "Specified label is already in use.")
    moved = item_editing.change_project(scope.archive, item, other, label, scope.user_name)
    with scope.archive.database.read() as connection:
        return _shared(connection, scope, moved)


def _shareable(connection: sqlite3.Connection, scope: Scope) -> Item:
    """The item of the path, if it may be shared out.

    Raises:
        Refusal: 403, as XNAT says it of a subject that is not there as well.
    """
    try:
        item = _item(connection, scope)
    except Refusal as refusal:
        raise Refusal(403, _FORBIDDEN) if "experiment" not in scope.params else refusal from refusal
    if not access.may_edit(connection, scope.account, item.project):
        raise Refusal(403, _FORBIDDEN)
    return item


def _share(connection: sqlite3.Connection, scope: Scope, item: Item, other: Item) -> None:
    """Share *item* with *other*, or give the share that is there the label that is asked for."""
    label = scope.query.get("label")
    find = objects.find_subject if item.level is Level.SUBJECT else objects.find_experiment
    there = connection.execute(
        "SELECT label FROM shares WHERE item_key = ? AND project = ?", (item.key, other.id)
    ).fetchone()
    owned = item.project == other.id
    if (there and label in {"", there["label"]}) or (owned and item.level is not Level.SUBJECT):
        raise Refusal(409, "Already assigned to project:" + other.id)
    taken = find(connection, label or item.label, other)
    if taken is not None and (taken.key != item.key or (label and not there)):
        raise Refusal(409, "Label already in use:" + (label or item.label))
    if not owned:
        connection.execute(
            "INSERT INTO shares VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET label = excluded.label",
            (item.key, other.id, label or item.label),
        )


def _shared(connection: sqlite3.Connection, scope: Scope, item: Item) -> Response:
    if item.level is not Level.SUBJECT:
        return responses.text(item.id)
    return responses.listing(scope, _shares(connection, item), ("html", "xml"))


def _primary(scope: Scope, item: Item) -> bool:
    """Whether ownership is to move: for experiments XNAT takes nothing but ``true`` (xnat-rest.md 0.3)."""
    if item.level is Level.SUBJECT:
        return scope.query.is_true("primary")
    return scope.query.get("primary") == "true"


def _require_giving(connection: sqlite3.Connection, scope: Scope, item: Item) -> None:
    if item.level is Level.ASSESSOR:
        raise Refusal(501, "An assessor belongs to the project of its session: move the session.")
    if not access.may_delete(connection, scope.account, item.project):
        raise Refusal(403, f"Specified user account has insufficient privileges for {item.level}s in this project.")


def unshare(scope: Scope) -> Response:
    """DELETE .../projects/{other}."""
    access.require_account(scope)
    with scope.archive.database.write() as connection:
        item = _item(connection, scope)
        other = objects.find_project(connection, scope.params["other"])
        if other is None:
            raise Refusal(404, f"Unable to identify project {scope.params['other']}")
        access.require_edit(connection, scope, other.id)
        if item.level is Level.SUBJECT:
            unshare_subject(connection, item, other.id)
        else:
            connection.execute("DELETE FROM shares WHERE item_key = ? AND project = ?", (item.key, other.id))
    return responses.empty()


def routes(template: str) -> tuple[Route, ...]:
    """The sharing routes of the items at *template*."""
    return (
        Route(("GET",), f"{template}/projects", list_shares),
        Route(("PUT",), f"{template}/projects/{{other}}", share),
        Route(("DELETE",), f"{template}/projects/{{other}}", unshare),
    )
