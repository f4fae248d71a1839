"""Permissions: the only module that decides who may do what.

Owners read, edit and delete; members read and edit; collaborators read; everybody reads what is in a public project and
sees that a protected one exists; administrators may do everything (XNAT's ``Permissions.canReadProject`` and roles).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server.request_scope import Refusal

if TYPE_CHECKING:
    import sqlite3

    from xnatferry.server.accounts import Account
    from xnatferry.server.objects import Item
    from xnatferry.server.request_scope import Scope

#: From most to least rights.
ROLES: Final = ("owner", "member", "collaborator")
_EDITORS: Final = {"owner", "member"}


def roles_of(connection: sqlite3.Connection, account: Account | None, project: str) -> set[str]:
    """The roles of *account* in *project* (an ID): of `ROLES`."""
    if account is None:
        return set()
    rows = connection.execute(
        "SELECT role FROM roles JOIN items ON items.key = roles.project_key"
        " WHERE items.level = 'project' AND items.id = ? COLLATE NOCASE AND roles.login = ?",
        (project, account.login),
    )
    return {row["role"] for row in rows}


def give_role(connection: sqlite3.Connection, project: Item, login: str, role: str) -> None:
    """Give *login* a role in *project*, in place of the one it has (``UserGroupManager.addUserToGroup``)."""
    connection.execute("DELETE FROM roles WHERE project_key = ? AND login = ?", (project.key, login))
    connection.execute("INSERT INTO roles VALUES (?, ?, ?)", (project.key, login, role))


def take_role(connection: sqlite3.Connection, project: Item, login: str, role: str) -> None:
    """Take a role in *project* from *login*; no effect if it does not have it."""
    connection.execute(
        "DELETE FROM roles WHERE project_key = ? AND login = ? COLLATE NOCASE AND role = ?", (project.key, login, role)
    )


def accessibility_of(connection: sqlite3.Connection, project: str) -> str:
    """``private``, ``protected`` or ``public``; ``private`` for a project that is not there."""
    row = connection.execute(
        "SELECT json_extract(fields, '$.accessibility') AS level FROM items"
        " WHERE level = 'project' AND id = ? COLLATE NOCASE",
        (project,),
    ).fetchone()
    return (row["level"] or "protected") if row else "private"


def may_see(connection: sqlite3.Connection, account: Account | None, project: str) -> bool:
    """Whether the project itself may be seen: protected ones by everybody."""
    return may_read(connection, account, project) or accessibility_of(connection, project) == "protected"


def may_read(connection: sqlite3.Connection, account: Account | None, project: str) -> bool:
    """Whether what is in *project* may be read."""
    if account is not None and account.admin:
        return True
    return bool(roles_of(connection, account, project)) or accessibility_of(connection, project) == "public"


def may_edit(connection: sqlite3.Connection, account: Account | None, project: str) -> bool:
    """Whether things may be made and changed in *project*."""
    return account is not None and (account.admin or bool(_EDITORS & roles_of(connection, account, project)))


def may_delete(connection: sqlite3.Connection, account: Account | None, project: str) -> bool:
    """Whether things may be deleted in *project*: members may not (``TestSharing``)."""
    return account is not None and (account.admin or "owner" in roles_of(connection, account, project))


def may_own(connection: sqlite3.Connection, account: Account | None, project: str) -> bool:
    """Whether the project itself may be changed, opened, shared out or deleted."""
    return may_delete(connection, account, project)


def readable_projects(connection: sqlite3.Connection, account: Account | None) -> set[str]:
    """IDs of all projects in which *account* may read."""
    if account is not None and account.admin:
        return {row["id"] for row in connection.execute("SELECT id FROM items WHERE level = 'project'")}
    rows = connection.execute(
        "SELECT id FROM items WHERE level = 'project' AND (json_extract(fields, '$.accessibility') = 'public'"
        " OR key IN (SELECT project_key FROM roles WHERE login = ?))",
        (account.login if account else "",),
    )
    return {row["id"] for row in rows}


def require_account(scope: Scope) -> Account:
    """The account of the request.

    Raises:
        Refusal: 403: a guest never writes.
    """
    if scope.account is None:
        raise Refusal(403)
    return scope.account


def require_read(connection: sqlite3.Connection, scope: Scope, project: str, message: str = "") -> None:
    """Raise 404 with *message*, as for something that is not there, unless the account may read in *project*."""
    if not may_read(connection, scope.account, project):
        raise Refusal(404, message)


def require_edit(connection: sqlite3.Connection, scope: Scope, project: str, what: str = "edit sessions") -> None:
    """Raise 404 where nothing may be read, 403 where nothing may be changed; *what* is an act and its objects."""
    require_read(connection, scope, project)
    if not may_edit(connection, scope.account, project):
        act, objects = what.split()
        raise Refusal(403, f"Specified user account has insufficient {act} privileges for {objects} in this project.")


def require_delete(connection: sqlite3.Connection, scope: Scope, project: str, what: str = "") -> None:
    """Raise 404 where nothing may be read, 403 where nothing (of *what*, ``subjects``) may be deleted."""
    require_read(connection, scope, project)
    if not may_delete(connection, scope.account, project):
        words = f"User cannot delete {what} for project {project}" if what else ""
        raise Refusal(403, words or "User account doesn't have permission to modify this session.")
