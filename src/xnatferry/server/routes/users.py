"""``/xapi/users`` and ``/xapi/access``: who the accounts are, what they may do, and the data types they may use."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Final

from xnatferry.server import access, responses
from xnatferry.server.element_security import display_of, offered_types
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.xnat.datatypes import extends

if TYPE_CHECKING:
    import sqlite3

    from starlette.responses import Response

    from xnatferry.server.accounts import Account

_GROUPS: Final = {"owner": "Owners", "member": "Members", "collaborator": "Collaborators"}
_CREATABLE: Final = ("createable", "creatable", "browseableCreateable", "browseableCreatable")
_DISPLAYS: Final = (
    "browseable",
    "browseableCreateable",
    "createable",
    "searchable",
    "searchableByDesc",
    "searchableByPluralDesc",
)


def _json(value: object) -> Response:
    return responses.text(json.dumps(value), media="application/json")


def user_name(scope: Scope) -> Response:
    """GET /xapi/users/username, /data/user."""
    return responses.text(scope.user_name)


def user_names(scope: Scope) -> Response:
    """GET /xapi/users: the login names of all accounts."""
    access.require_account(scope)
    return _json([account.login for account in scope.archive.accounts.everyone()])


def user_records(scope: Scope) -> Response:
    """GET /xapi/users/profiles: all accounts, for everybody who has one."""
    access.require_account(scope)
    return _json([_profile(scope, account) for account in scope.archive.accounts.everyone()])


def own_profile(scope: Scope) -> Response:
    """GET /xapi/users/profile."""
    return _json(_profile(scope, access.require_account(scope)))


def user_profile(scope: Scope) -> Response:
    """GET /xapi/users/profile/{name}: of anybody, for everybody who has an account."""
    access.require_account(scope)
    found = scope.archive.accounts.find(scope.params["name"])
    if found is None:
        raise Refusal(404, f"Unable to find requested file or resource: {scope.params['name']}", plain=True)
    return _json(_profile(scope, found))


def user_record(scope: Scope) -> Response:
    """GET /xapi/users/{name}: oneself, or for an administrator anybody."""
    return _json(_record(_subject(scope)))


def user_roles(scope: Scope) -> Response:
    """GET /xapi/users/{name}/roles: roles on the whole site."""
    return _json(["Administrator"] if _subject(scope).admin else [])


def user_groups(scope: Scope) -> Response:
    """GET /xapi/users/{name}/groups: the groups of projects that somebody is in."""
    account = _subject(scope)
    with scope.archive.database.read() as connection:
        return _json([row["group_id"] for row in _roles(connection, account)])


def project_access(scope: Scope) -> Response:
    """GET /xapi/access/projects: the projects one has a role in."""
    if scope.account is None:
        return _json([])
    with scope.archive.database.read() as connection:
        return _json(_roles(connection, scope.account))


def displays(_scope: Scope) -> Response:
    """GET /xapi/access/displays: the lists of data types that there are."""
    return _json(_DISPLAYS)


def display(scope: Scope) -> Response:
    """GET /xapi/access/displays/{name}: the data types that one may make, search or browse."""
    name = scope.params["name"]
    if name not in {*_DISPLAYS, *_CREATABLE}:
        raise Refusal(400, f'The requested element display "{name}" is not recognized.', plain=True)
    with scope.archive.database.read() as connection:
        types = offered_types(connection, scope.archive.settings, access.readable_projects(connection, scope.account))
    if name in _CREATABLE:
        types = [one for one in types if one != "xnat:projectData"]
    if name.startswith("browseable"):
        types = [one for one in types if extends(one, "xnat:experimentData")]
    return _json([display_of(one) for one in types])


def _subject(scope: Scope) -> Account:
    """The account that the path names.

    Raises:
        Refusal: 403, it is somebody else's and who asks is no administrator; 500 as on XNAT, it is not there.
    """
    asking, name = access.require_account(scope), scope.params["name"]
    if not asking.admin and asking.login.lower() != name.lower():
        raise Refusal(403, bare=True)
    found = scope.archive.accounts.find(name)
    if found is None:
        raise Refusal(
            500, f"There was an error in the request : An error occurred initializing the user {name}", plain=True
        )
    return found


def _record(account: Account) -> dict[str, object]:
    return {
        "id": account.key,
        "username": account.login,
        "firstName": account.firstname,
        "lastName": account.lastname,
        "email": account.email,
        "enabled": account.enabled,
        "verified": True,
        "secured": True,
        "lastModified": int(datetime.fromisoformat(account.modified).timestamp() * 1000),
    }


def _profile(scope: Scope, account: Account) -> dict[str, object]:
    seen = scope.archive.accounts.last_login(account)
    return _record(account) | ({} if seen is None else {"lastSuccessfulLogin": int(seen * 1000)})


def _roles(connection: sqlite3.Connection, account: Account) -> list[dict[str, str]]:
    rows = connection.execute(
        "SELECT items.id, items.fields, roles.role FROM roles JOIN items ON items.key = roles.project_key"
        " WHERE roles.login = ? ORDER BY items.id COLLATE NOCASE",
        (account.login,),
    )
    found = []
    for row in rows:
        fields = json.loads(row["fields"])
        found.append(
            {
                "ID": row["id"],
                "secondary_ID": fields.get("secondary_ID", row["id"]),
                "name": fields.get("name", row["id"]),
                "description": fields.get("description", ""),
                "URI": f"/data/projects/{row['id']}",
                "role": _GROUPS[row["role"]],
                "group_id": f"{row['id']}_{row['role']}",
            }
        )
    return found


#: Routes outside ``/data``.
SITE_ROUTES: Final = (
    Route(("GET",), "/xapi/users", user_names),
    Route(("GET",), "/xapi/users/username", user_name),
    Route(("GET",), "/xapi/users/profiles", user_records),
    Route(("GET",), "/xapi/users/profile", own_profile),
    Route(("GET",), "/xapi/users/profile/{name}", user_profile),
    Route(("GET",), "/xapi/users/{name}", user_record),
    Route(("GET",), "/xapi/users/{name}/roles", user_roles),
    Route(("GET",), "/xapi/users/{name}/groups", user_groups),
    Route(("GET",), "/xapi/access/projects", project_access),
    Route(("GET",), "/xapi/access/displays", displays),
    Route(("GET",), "/xapi/access/displays/{name}", display),
)
