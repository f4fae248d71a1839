"""Accounts of the site, for administrators; roles in a project, for its owners; and one's own account."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.errors import UsageError
from xnatferry.server import access
from xnatferry.server.accounts import FERRY
from xnatferry.server.pages.forms import form_of
from xnatferry.server.pages.projects import about_project
from xnatferry.server.pages.rendering import address, moved, page, page_route
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.routes.projects import project_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from xnatferry.server.accounts import Account

_SHORTEST: Final = 8


def _require_admin(scope: Scope) -> Account:
    account = access.require_account(scope)
    if not account.admin:
        raise Refusal(403, "Permission denied: only administrators can see the accounts.")
    return account


def list_accounts(scope: Scope) -> Response:
    """GET /accounts."""
    _require_admin(scope)
    return _accounts_page(scope)


def _accounts_page(scope: Scope, *, problem: str = "", fields: Mapping[str, str] | None = None) -> Response:
    status = 400 if problem else 200
    everyone = scope.archive.accounts.everyone()
    return page(scope, "accounts", status=status, accounts=everyone, problem=problem, fields=fields or {}, own=FERRY)


def change_accounts(scope: Scope) -> Response:
    """POST /accounts: add, disable or enable an account, or set its password."""
    admin = _require_admin(scope)
    fields = form_of(scope)
    accounts, login = scope.archive.accounts, fields.get("login", "").strip()
    try:
        match fields.get("act"):
            case "add":
                _refuse_short(fields.get("password", ""))
                accounts.create(
                    login,
                    fields.get("password", ""),
                    admin=fields.get("admin") == "yes",
                    firstname=fields.get("firstname", "").strip(),
                    lastname=fields.get("lastname", "").strip(),
                    email=fields.get("email", "").strip(),
                )
            case "disable" | "enable" as act:
                if login.lower() in {admin.login.lower(), FERRY}:
                    return _accounts_page(
                        scope,
                        problem=f"{login} cannot be disabled: it is your own account, or that of the command line.",
                    )
                accounts.disable(login, disabled=act == "disable")
            case "password":
                _refuse_short(fields.get("password", ""))
                accounts.set_password(login, fields.get("password", ""))
            case _:
                raise Refusal(400, "Unknown form")
    except UsageError as error:
        return _accounts_page(scope, problem=str(error), fields=fields)
    return moved("/accounts")


def _refuse_short(password: str) -> None:
    if len(password) < _SHORTEST:
        raise UsageError(f"the password is too short; use at least {_SHORTEST} characters")


def own_account(scope: Scope) -> Response:
    """GET /account: the own account and its roles."""
    account = access.require_account(scope)
    with scope.archive.database.read() as connection:
        readable = sorted(access.readable_projects(connection, account))
        roles = [(name, sorted(held)) for name in readable if (held := access.roles_of(connection, account, name))]
    return page(scope, "account", roles=roles)


def list_members(scope: Scope) -> Response:
    """GET /projects/{project}/members: for its owners, as the REST listing."""
    return _members_page(scope)


def _members_page(scope: Scope, problem: str = "") -> Response:
    with scope.archive.database.read() as connection:
        item = project_of(connection, scope)
        if not access.may_own(connection, scope.account, item.id):
            raise Refusal(403, "Permission denied: only owners of the project can see its members.")
        about = about_project(connection, scope, item)
        rows = connection.execute(
            "SELECT roles.login, role, firstname, lastname, enabled FROM roles"
            " LEFT JOIN accounts ON accounts.login = roles.login"
            " WHERE project_key = ? ORDER BY roles.login COLLATE NOCASE, role",
            (item.key,),
        ).fetchall()
    status = 400 if problem else 200
    return page(scope, "members", status=status, **about, rows=rows, roles=access.ROLES, problem=problem, tab="members")


def change_members(scope: Scope) -> Response:
    """POST /projects/{project}/members: add or remove a role."""
    fields = form_of(scope)
    login, role = fields.get("login", "").strip(), fields.get("role", "")
    if role not in access.ROLES:
        raise Refusal(400, f"unknown role {role}")
    with scope.archive.database.write() as connection:
        item = project_of(connection, scope)
        if not access.may_own(connection, scope.account, item.id):
            raise Refusal(403, "Permission denied: only owners of the project can change its members.")
        if fields.get("act") == "remove":
            access.take_role(connection, item, login, role)
            known = True
        else:
            row = connection.execute("SELECT login FROM accounts WHERE login = ?", (login,)).fetchone()
            known = row is not None
            if row is not None:
                access.give_role(connection, item, row["login"], role)
    if not known:
        return _members_page(scope, f"Account {login} not found. An administrator can add it.")
    return moved(address("projects", item.id, "members"))


ROUTES: Final = (
    Route(("GET",), "/accounts", page_route(list_accounts)),
    Route(("POST",), "/accounts", page_route(change_accounts)),
    Route(("GET",), "/account", page_route(own_account)),
    Route(("GET",), "/projects/{project}/members", page_route(list_members)),
    Route(("POST",), "/projects/{project}/members", page_route(change_members)),
)
