"""Projects: create, read, list, delete, open and close them, and who has a role in them (xnat-rest.md 2)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

from xnatferry.server import access, item_editing, objects, responses
from xnatferry.server.fields import Submitted, submitted
from xnatferry.server.item_trees import item_answer
from xnatferry.server.joins import Row
from xnatferry.server.listings import Listing, table_of
from xnatferry.server.objects import Item, Level
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.xnat.result_set import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from starlette.responses import Response

_LISTING: Final = Listing(
    root="xnat:projectData",
    defaults=("ID", "secondary_ID", "name", "description", "pi_firstname", "pi_lastname"),
    key="ID",
    uri=lambda row: f"/data/projects/{row.item.id}",
    paged=False,
)
#: Queries that ask for what the user may reach; the real ones answer from a search, with other column names.
_SEARCHED: Final = (
    "accessible",
    "data",
    "prearc_code",
    "owner",
    "member",
    "collaborator",
    "admin",
    "activeSince",
    "recent",
    "favorite",
)
_SEARCHED_CODES: Final = {"quarantine_code": "proj_quarantine", "prearchive_code": "proj_prearchive_code"}
_LEVELS: Final = ("private", "protected", "public")
_ROLES: Final = {"owner": "Owners", "member": "Members", "collaborator": "Collaborators"}
#: Settings of a project, with what they are until somebody sets them.
_SETTINGS: Final = {
    "quarantine_code": "0",
    "prearchive_code": "4",
    "current_arc": "arc001",
    "scan_type_mapping": "true",
}


def project_of(connection: sqlite3.Connection, scope: Scope, message: str = "") -> Item:
    """The project that the path names, if who asks may see it.

    Raises:
        Refusal: 404 with *message*.
    """
    found = objects.find_project(connection, scope.params["project"])
    if found is None or not access.may_see(connection, scope.account, found.id):
        raise Refusal(404, message)
    return found


def list_projects(scope: Scope) -> Response:
    """GET /data/projects."""
    with scope.archive.database.read() as connection:
        rows = connection.execute("SELECT * FROM items WHERE level = 'project' ORDER BY id COLLATE NOCASE")
        readable = access.readable_projects(connection, scope.account)
        every = [objects.item_of(row) for row in rows]
        known = scope.account is not None
        items = [
            item for item in every if item.id in readable or (known and item.fields.get("accessibility") == "protected")
        ]
        if restrict := scope.query.get("restrict"):
            may = access.may_delete if restrict == "delete" else access.may_edit
            items = [item for item in items if may(connection, scope.account, item.id)]
        if any(scope.query.has(key) for key in _SEARCHED):
            return responses.listing(scope, _searched(connection, scope, items))
        # Where XNAT has to leave out projects, the query's filters get lost (ProjectListResource).
        listing = replace(_LISTING, filtered=bool(scope.account and scope.account.admin))
        return responses.listing(scope, table_of(listing, scope, [Row(item) for item in items], connection))


def _searched(connection: sqlite3.Connection, scope: Scope, items: list[Item]) -> Table:
    """The listing in the names of the display search, which are lower case."""
    number = str(scope.account.key) if scope.account else "0"
    role, seen = f"user_role_{number}", f"last_accessed_{number}"
    columns = [
        "id",
        "name",
        "description",
        "secondary_id",
        "pi",
        "project_invs",
        "project_access",
        "project_access_img",
    ]
    columns += ["insert_date", "insert_user", role, seen]
    codes = ("quarantine_code", "prearchive_code") if scope.query.is_true("prearc_code") else ()
    columns += [_SEARCHED_CODES[code] for code in codes]
    rows = []
    for item in items:
        held = access.roles_of(connection, scope.account, item.id)
        pi = ", ".join(filter(None, (item.fields.get("PI/lastname"), item.fields.get("PI/firstname"))))
        rows.append(
            {
                "id": item.id,
                "name": item.fields.get("name", ""),
                "description": item.fields.get("description", ""),
                "secondary_id": item.fields.get("secondary_ID", ""),
                "pi": pi,
                "project_access": access.accessibility_of(connection, item.id),
                "insert_date": item.inserted,
                "insert_user": item.inserted_by,
                role: next((_ROLES[one] for one in _ROLES if one in held), ""),
                **{_SEARCHED_CODES[code]: item.fields.get(f"setting:{code}", _SETTINGS[code]) for code in codes},
            }
        )
    return Table(columns, rows)


def read_project(scope: Scope) -> Response:
    """GET /data/projects/{project}."""
    with scope.archive.database.read() as connection:
        return item_answer(scope, connection, project_of(connection, scope, "Unable to find the specified experiment."))


def put_project(scope: Scope) -> Response:
    """PUT /data/projects/{project}: create or change; always an empty 200. POST too, for xnatctl: XNAT refuses it."""
    access.require_account(scope)
    if scope.method == "POST" and scope.archive.settings.strict:
        raise Refusal(405)
    wanted = submitted(scope, default_type="xnat:projectData")
    _require_project(wanted)
    _save(scope, scope.params["project"], wanted)
    return responses.empty()


def post_project(scope: Scope) -> Response:
    """POST /data/projects: create from a document, or from a query with an ID."""
    access.require_account(scope)
    wanted = submitted(scope, default_type="xnat:projectData")
    _require_project(wanted)
    name = wanted.own.get("ID", "")
    if not name:
        raise Refusal(417, "Invalid character in project ID.")
    with scope.archive.database.read() as connection:
        if objects.find_project(connection, name) is not None:
            raise Refusal(409, "Project already exists.")
    _save(scope, name, wanted)
    return responses.posted(scope, name)


def _require_project(wanted: Submitted) -> None:
    if wanted.xsi_type != "xnat:projectData":
        raise Refusal(422, "Only Project documents can be PUT to this address.")


def _save(scope: Scope, name: str, wanted: Submitted) -> None:
    if (asked := wanted.own.get("ID", "")) and asked.lower() != name.lower():
        raise Refusal(417, "The project ID for the REST call must match the value in submitted request body.")
    if not item_editing.is_label(name) or name == "Unassigned":
        raise Refusal(417, "Invalid character in project ID.")
    accessibility = scope.query.get("accessibility")
    with scope.archive.database.write() as connection:
        item = objects.find_project(connection, name)
        if item is not None and not access.may_edit(connection, scope.account, item.id):
            raise Refusal(403)
        _require_unused(connection, item, name, wanted)
        if item is None:
            item = _new_project(connection, scope, name, wanted)
        else:
            item_editing.update_item(connection, item, wanted.fields)
        if accessibility in _LEVELS:
            _set_accessibility(connection, item, accessibility)


def _require_unused(connection: sqlite3.Connection, item: Item | None, name: str, wanted: Submitted) -> None:
    """Refuse names that another project has as its ID, name, secondary ID or alias; and IDs of deleted projects."""
    if item is None:
        gone = connection.execute("SELECT id FROM deleted_projects WHERE id = ?", (name,)).fetchone()
        if gone is not None:
            raise Refusal(403, f"The project ID {name} was used in a previously deleted project and cannot be reused.")
    asked = [("Title", wanted.fields.get("name", "")), ("Running Title", wanted.fields.get("secondary_ID", ""))]
    asked += [("Alias", text) for path, text in wanted.fields.items() if path.startswith("aliases/")]
    asked += [("ID", name)] if item is None else []
    for row in connection.execute("SELECT id, fields FROM items WHERE level = 'project'"):
        if item is not None and row["id"] == item.id:
            continue
        other = json.loads(row["fields"])
        taken = {row["id"], other.get("name", ""), other.get("secondary_ID", "")}
        taken |= {text for path, text in other.items() if path.startswith("aliases/")}
        taken = {text.lower() for text in taken if text}
        hits = [
            f"Invalid Project {what}: '{text.lower()}' is already being used."
            for what, text in asked
            if text.lower() in taken
        ]
        if hits:
            raise Refusal(409, f"Requested new project conflicts with existing projects: {' '.join(hits)}")


def _new_project(connection: sqlite3.Connection, scope: Scope, name: str, wanted: Submitted) -> Item:
    fields = {"name": name, "secondary_ID": name, "accessibility": "protected"}
    fields |= {path: text for path, text in wanted.fields.items() if text}
    item = Item(0, Level.PROJECT, name, name, name, "xnat:projectData", None, name, fields=fields)
    item = item_editing.insert_item(connection, item, scope.user_name)
    access.give_role(connection, item, scope.user_name, "owner")
    return item


def delete_project(scope: Scope) -> Response:
    """DELETE /data/projects/{project}; an unknown one is 400."""
    access.require_account(scope)
    with scope.archive.database.read() as connection:
        item = objects.find_project(connection, scope.params["project"])
        if item is None or not access.may_see(connection, scope.account, item.id):
            raise Refusal(400)
        if not access.may_own(connection, scope.account, item.id):
            raise Refusal(403)
        apart = objects.sessions_apart(connection, item)
        if not all(access.may_delete(connection, scope.account, session.project) for session in apart):
            raise Refusal(403, "Sessions of other projects belong to subjects of this project; move those first.")
    item_editing.delete_items(scope.archive, [*apart, item], remove_files=scope.query.is_true("removeFiles"))
    return responses.empty()


def read_accessibility(scope: Scope) -> Response:
    """GET /data/projects/{project}/accessibility; strangers may read that of a protected project."""
    with scope.archive.database.read() as connection:
        return responses.text(access.accessibility_of(connection, _opened(connection, scope).id))


def _opened(connection: sqlite3.Connection, scope: Scope) -> Item:
    return project_of(connection, scope, f"Could not find the project with ID '{scope.params['project']}'")


def put_accessibility(scope: Scope) -> Response:
    """PUT /data/projects/{project}/accessibility/{level}."""
    level = scope.params["level"]
    with scope.archive.database.write() as connection:
        item = _opened(connection, scope)
        if not access.may_own(connection, scope.account, item.id):
            raise Refusal(403)
        level = level if level in _LEVELS else "private"  # any other word closes a project (recorded)
        _set_accessibility(connection, item, level)
    return responses.text(level)


def put_no_accessibility(scope: Scope) -> Response:
    """PUT /data/projects/{project}/accessibility, without a level."""
    with scope.archive.database.read() as connection:
        if not access.may_own(connection, scope.account, _opened(connection, scope).id):
            raise Refusal(403)
    raise Refusal(400, "You must specify the ACCESS_ID parameter for this PUT call")


def _set_accessibility(connection: sqlite3.Connection, item: Item, level: str) -> None:
    connection.execute(
        "UPDATE items SET fields = json_set(fields, '$.accessibility', ?) WHERE key = ?", (level, item.key)
    )


def read_setting(name: str, scope: Scope) -> Response:
    """GET of one setting of a project, as text."""
    with scope.archive.database.read() as connection:
        item = project_of(connection, scope)
    return responses.text(item.fields.get(f"setting:{name}", _SETTINGS[name]), media="text/html")


def put_setting(name: str, scope: Scope) -> Response:
    """PUT of one setting of a project: the value is the last part of the path."""
    value = scope.params["value"]
    with scope.archive.database.write() as connection:
        item = project_of(connection, scope)
        if not access.may_own(connection, scope.account, item.id):
            raise Refusal(403)
        if name.endswith("_code") and not re.fullmatch(r"-?\d{1,9}|true|false", value):
            raise Refusal(400, f"The submitted code {value} is invalid: must be an integer.")
        if name == "current_arc" and value != "arc001":
            raise Refusal(400, "This archive keeps its sessions in arc001.")
        connection.execute(
            "UPDATE items SET fields = json_set(fields, ?, ?) WHERE key = ?",
            (f'$."setting:{name}"', {"true": "1", "false": "0"}.get(value, value), item.key),
        )
    return responses.empty()


def users_of(scope: Scope) -> Response:
    """GET /data/projects/{project}/users: who has which role."""
    with scope.archive.database.read() as connection:
        return _users(connection, scope, _owned(connection, scope))


def put_user(scope: Scope) -> Response:
    """PUT /data/projects/{project}/users/{group}/{login}: give a role; an unknown login changes nothing."""
    with scope.archive.database.write() as connection:
        item = _owned(connection, scope)
        account = next(
            (one for one in _accounts(connection) if one["login"].lower() == scope.params["login"].lower()), None
        )
        if account is not None:
            access.give_role(connection, item, account["login"], _role(scope, item))
        return _users(connection, scope, item)


def delete_user(scope: Scope) -> Response:
    """DELETE /data/projects/{project}/users/{group}/{login}: take a role away."""
    with scope.archive.database.write() as connection:
        item = _owned(connection, scope)
        access.take_role(connection, item, scope.params["login"], _role(scope, item))
        return _users(connection, scope, item)


def _owned(connection: sqlite3.Connection, scope: Scope) -> Item:
    name = scope.params["project"]
    unknown = f"The project ID {name} does not appear to be a valid project ID. Please verify your information."
    item = project_of(connection, scope, unknown)
    if not access.may_own(connection, scope.account, item.id):
        raise Refusal(403)
    return item


def _role(scope: Scope, item: Item) -> str:
    """The role that a group is: ``Owners``, ``owner`` and ``P_owner`` are the same."""
    group = scope.params["group"].removeprefix(f"{item.id}_").lower().removesuffix("s")
    if group not in _ROLES:
        raise Refusal(404)
    return group


def _accounts(connection: sqlite3.Connection) -> list[sqlite3.Row]:
    return connection.execute("SELECT login, firstname, lastname, email FROM accounts").fetchall()


def _users(connection: sqlite3.Connection, scope: Scope, item: Item) -> Response:
    people = {row["login"]: row for row in _accounts(connection)}
    rows = [
        {
            "GROUP_ID": f"{item.id}_{row['role']}",
            "displayname": _ROLES[row["role"]],
            "login": row["login"],
            **{name: people[row["login"]][name] for name in ("firstname", "lastname", "email")},
        }
        for row in connection.execute("SELECT login, role FROM roles WHERE project_key = ? ORDER BY login", (item.key,))
        if row["login"] in people
    ]
    columns = ("GROUP_ID", "displayname", "login", "firstname", "lastname", "email")
    return responses.listing(scope, Table(columns, rows, title="Projects"))


def unknown_below(scope: Scope) -> Response:
    """Any other path below a project is 400 where the project is there (``ProjectResource``)."""
    with scope.archive.database.read() as connection:
        project_of(connection, scope)
    raise Refusal(400)


def _setting_routes() -> Iterator[Route]:
    """Routes for each setting, so that other words below a project stay unknown."""
    for name in _SETTINGS:
        yield Route(("GET",), f"/projects/{{project}}/{name}", partial(read_setting, name))
        yield Route(("PUT",), f"/projects/{{project}}/{name}/{{value}}", partial(put_setting, name))


ROUTES: Final = (
    Route(("GET",), "/projects", list_projects),
    Route(("POST",), "/projects", post_project),
    Route(("GET",), "/projects/{project}", read_project),
    Route(("PUT", "POST"), "/projects/{project}", put_project),
    Route(("DELETE",), "/projects/{project}", delete_project),
    Route(("GET",), "/projects/{project}/accessibility", read_accessibility),
    Route(("PUT",), "/projects/{project}/accessibility", put_no_accessibility),
    Route(("PUT",), "/projects/{project}/accessibility/{level}", put_accessibility),
    Route(("GET",), "/projects/{project}/users", users_of),
    Route(("PUT",), "/projects/{project}/users/{group}/{login}", put_user),
    Route(("DELETE",), "/projects/{project}/users/{group}/{login}", delete_user),
    *_setting_routes(),
    Route(("GET",), "/projects/{project}/{rest*}", unknown_below),
)
