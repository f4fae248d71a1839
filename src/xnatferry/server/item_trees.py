"""Whole items with everything below them, put together from rows, for item JSON and XML."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING

from xnatferry.server import access, objects, resources, responses
from xnatferry.server.objects import Item, Level
from xnatferry.xnat.item_json import encode_item_json
from xnatferry.xnat.item_xml import encode_item_xml
from xnatferry.xnat.items import ItemTree

if TYPE_CHECKING:
    import sqlite3

    from starlette.responses import Response

    from xnatferry.server.accounts import Account
    from xnatferry.server.archive import Archive
    from xnatferry.server.request_scope import Scope

_LISTS = {
    Level.SUBJECT: {"experiments/experiment": Level.EXPERIMENT},
    Level.EXPERIMENT: {
        "scans/scan": Level.SCAN,
        "reconstructions/reconstructedImage": Level.RECONSTRUCTION,
        "assessors/assessor": Level.ASSESSOR,
    },
}
_LABELLED = {Level.SUBJECT, Level.EXPERIMENT, Level.ASSESSOR}
#: The field in which an item names what it belongs to.
_PARENT_FIELD = {
    Level.EXPERIMENT: "subject_ID",
    Level.SCAN: "image_session_ID",
    Level.ASSESSOR: "imageSession_ID",
    Level.RECONSTRUCTION: "image_session_ID",
}
_RESOURCE_LIST = {Level.SCAN: "file", Level.ASSESSOR: "{}/file", Level.RECONSTRUCTION: "{}/file"}


def item_answer(scope: Scope, connection: sqlite3.Connection, item: Item) -> Response:
    """*item* as ``format=`` or ``Accept`` ask; a script that asks for nothing gets XML."""
    name = responses.format_of(scope, ("xml", "json", "html"))
    tree = tree_of(connection, scope.archive, item, scope.account)
    if scope.query.is_true("includeHistory"):
        tree.past = _history(connection, item)
    if name == "json":
        return responses.document(encode_item_json(tree), "json")
    if name == "xml":
        return responses.document(encode_item_xml(tree, str(scope.request.base_url).rstrip("/")), "xml")
    return responses.document(_page(item, tree), "html")


def tree_of(connection: sqlite3.Connection, archive: Archive, item: Item, account: Account | None) -> ItemTree:
    """*item* with its resources, scans, assessors and so on; sessions of a subject only where *account* may read."""
    tree = ItemTree(item.xsi_type, dict(item.fields), key=item.key, started=item.modified)
    tree.fields.pop("accessibility", None)
    tree.fields["ID"] = item.id
    if item.level in _LABELLED:
        tree.fields |= {"project": item.project, "label": item.label}
    elif item.level is Level.SCAN and "project" in item.fields:
        tree.fields["project"] = item.project
    elif item.level is Level.PROJECT:
        tree.fields["active"] = "1"
    if item.level in _PARENT_FIELD:
        tree.fields[_PARENT_FIELD[item.level]] = objects.by_key(connection, item.parent_key).id
    shares = connection.execute("SELECT * FROM shares WHERE item_key = ? ORDER BY project", (item.key,)).fetchall()
    if shares:
        tree.nested["sharing/share"] = [
            ItemTree(
                "xnat:projectParticipant" if item.level is Level.SUBJECT else "xnat:experimentData_share",
                {"project": share["project"], "label": share["label"]},
                key=item.key,
                started=item.modified,
            )
            for share in shares
        ]
    for path, level in _LISTS.get(item.level, {}).items():
        below = [
            tree_of(connection, archive, one, account)
            for one in objects.children(connection, item, level)
            if level is not Level.EXPERIMENT or _readable(connection, account, one)
        ]
        if below:
            tree.nested[path] = below
    _add_resources(connection, archive, item, tree)
    return tree


def _readable(connection: sqlite3.Connection, account: Account | None, session: Item) -> bool:
    """Whether a session may be read in its own project, or in one that shares it."""
    shares = connection.execute("SELECT project FROM shares WHERE item_key = ?", (session.key,))
    projects = [session.project, *(row["project"] for row in shares)]
    return any(access.may_read(connection, account, project) for project in projects)


def _add_resources(connection: sqlite3.Connection, archive: Archive, item: Item, tree: ItemTree) -> None:
    for one in resources.resources_of(connection, [item.key]):
        path = _RESOURCE_LIST.get(item.level, "resources/resource").format(one.direction)
        folder = archive.blob_store.archive / resources.folder_of(item, one)
        fields = {
            "label": one.label,
            "URI": f"{folder}/{one.catalog or one.label or one.id}_catalog.xml",
            "description": one.description,
            "format": one.format,
            "content": one.content,
            "file_count": "" if one.file_count is None else str(one.file_count),
            "file_size": "" if one.file_size is None else str(one.file_size),
        }
        kept = {name: text for name, text in fields.items() if text}
        tree.nested.setdefault(path, []).append(
            ItemTree("xnat:resourceCatalog", kept, key=one.id, started=item.modified)
        )


def _history(connection: sqlite3.Connection, item: Item) -> list[tuple[dict[str, str], str, str]]:
    rows = connection.execute("SELECT * FROM history WHERE item_key = ? ORDER BY rowid DESC", (item.key,))
    found = []
    for row in rows:
        fields = {"ID": item.id, **json.loads(row["fields"])}
        if item.level in _LABELLED:
            fields |= {"label": row["label"], "project": item.project}
        if item.level in _PARENT_FIELD:
            fields[_PARENT_FIELD[item.level]] = row["parent_id"]
        found.append((fields, row["started"], row["ended"]))
    return found


def _page(item: Item, tree: ItemTree) -> str:
    """A plain HTML page; it does not begin like an error page."""
    rows = "".join(f"<tr><th>{escape(path)}</th><td>{escape(text)}</td></tr>" for path, text in tree.fields.items())
    return f'<table class="x_rs_t"><caption>{escape(item.level)} {escape(item.label)}</caption>{rows}</table>'
