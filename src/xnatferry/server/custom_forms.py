"""Custom forms: descriptions of JSON custom fields (form.io), each in use for a data type on the site or in a project.

What people fill in stands in the custom fields of the item under the form's UUID (xnat/customforms of XNAT 1.8).
"""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence


class Use(NamedTuple):
    """Where a form is in use.

    Attributes:
        id: Its number.
        project: ID of the project; "" for the whole site.
        data_type: Data type whose items it describes.
        enabled: Whether it is shown.
    """

    id: int
    project: str
    data_type: str
    enabled: bool


class Form(NamedTuple):
    """One form with where it is in use, the whole site first."""

    id: int
    uuid: str
    definition: dict[str, Any]
    position: int
    created: datetime
    created_by: str
    uses: Sequence[Use]


def forms(connection: sqlite3.Connection) -> list[Form]:
    """All forms, in the order in which they are shown: by position, the newest first."""
    uses: dict[int, list[Use]] = {}
    for row in connection.execute(
        "SELECT custom_form_uses.*, items.id AS project FROM custom_form_uses"
        " LEFT JOIN items ON items.key = custom_form_uses.project_key ORDER BY project_key IS NOT NULL, 1"
    ):
        one = Use(row["id"], row["project"] or "", row["data_type"], row["status"] == "enabled")
        uses.setdefault(row["form_id"], []).append(one)
    return [
        Form(
            row["id"],
            row["uuid"],
            json.loads(row["definition"]),
            row["position"],
            datetime.fromisoformat(row["created"]),
            row["created_by"],
            uses.get(row["id"], []),
        )
        for row in connection.execute("SELECT * FROM custom_forms ORDER BY position, id DESC")
    ]


def add(connection: sqlite3.Connection, definition: dict[str, Any], position: int, user: str) -> tuple[int, str]:
    """Keep a new form; returns its number and UUID."""
    name, stamp = str(uuid.uuid4()), datetime.now(UTC).isoformat(timespec="milliseconds")
    row = connection.execute(
        "INSERT INTO custom_forms (uuid, definition, position, created, created_by) VALUES (?, ?, ?, ?, ?)",
        (name, json.dumps(definition), position, stamp, user),
    )
    return row.lastrowid or 0, name


def change(connection: sqlite3.Connection, number: int, definition: dict[str, Any], position: int) -> str | None:
    """Give a form another definition; returns its UUID, None when it is not there."""
    row = connection.execute(
        "UPDATE custom_forms SET definition = ?, position = ? WHERE id = ? RETURNING uuid",
        (json.dumps(definition), position, number),
    ).fetchone()
    return row["uuid"] if row else None


def use(connection: sqlite3.Connection, number: int, data_type: str, project_key: int | None) -> None:
    """Put a form to use for *data_type*, in a project or (None) on the site; once is enough."""
    connection.execute(
        "INSERT INTO custom_form_uses (form_id, project_key, data_type) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (number, project_key, data_type),
    )


def set_status(connection: sqlite3.Connection, form: int, use_id: int, status: str) -> bool:
    """Enable or disable a form where it is in use; returns whether it is."""
    return (
        connection.execute(
            "UPDATE custom_form_uses SET status = ? WHERE id = ? AND form_id = ?", (status, use_id, form)
        ).rowcount
        > 0
    )


def remove_use(connection: sqlite3.Connection, form: Form, use_id: int) -> str:
    """Take a form out of use; with data in it, it is only disabled. Returns ``deleted``, ``disabled`` or ""."""
    if has_data(connection, form):
        return "disabled" if set_status(connection, form.id, use_id, "disabled") else ""
    gone = connection.execute("DELETE FROM custom_form_uses WHERE id = ? AND form_id = ?", (use_id, form.id)).rowcount
    if len(form.uses) == gone:
        connection.execute("DELETE FROM custom_forms WHERE id = ?", (form.id,))
    return "deleted" if gone else ""


def has_data(connection: sqlite3.Connection, form: Form) -> bool:
    """Whether the custom fields of any item hold what was filled in."""
    return (
        connection.execute(
            "SELECT 1 FROM items WHERE json_extract(fields, '$.custom_fields') LIKE ?", (f'%"{form.uuid}"%',)
        ).fetchone()
        is not None
    )


def wizard(shown: Iterable[Form]) -> dict[str, Any]:
    """One form with a page for each of *shown*, as the pages of items present them (``FormsIOJsonUtils``)."""
    pages: list[dict[str, Any]] = []
    for form in shown:
        title = str(form.definition.get("title", ""))
        inside = form.definition.get("components")
        if form.definition.get("display") == "wizard":
            panels = [one for one in inside or () if isinstance(one, dict) and one.get("type") == "panel"]
            pages += [
                _page(f"{title} - {one['title']}" if "title" in one else title, len(pages) + number, form, one)
                for number, one in enumerate(panels, 1)
            ]
        else:
            pages.append(_page(title, len(pages) + 1, form, form.definition))
    if not pages:
        return {}
    return {"title": "Custom Variables", "display": "wizard", "settings": "{}", "components": pages}


_PANEL: Final = {
    "type": "panel",
    "input": False,
    "tableView": False,
    "collapsible": False,
    "saveOnEnter": False,
    "scrollToTop": False,
    "navigateOnEnter": False,
    "breadcrumbClickable": True,
}


def _page(title: str, number: int, form: Form, root_lock: dict[str, Any]) -> dict[str, Any]:
    container = {"key": form.uuid, "type": "container", "input": True, "label": form.uuid, "tableView": False}
    if isinstance(inside := root_lock.get("components"), list) and inside:
        container["components"] = inside
    return {"key": f"page{number}", "label": title, "title": title, **_PANEL, "components": [container]}
