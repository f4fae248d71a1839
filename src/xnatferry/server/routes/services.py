"""What clients ask beside the data: version, settings, schemas, and who they are."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from xnatferry.server import access, answers
from xnatferry.server.pages import entrance
from xnatferry.server.scope import Refusal, Route, Scope
from xnatferry.xnat.datatypes import schema_bytes, type_names
from xnatferry.xnat.tables import Table

if TYPE_CHECKING:
    from xnatferry.server.accounts import Account

__all__ = ["ROUTES", "SITE_ROUTES"]

#: The version of XNAT whose behaviour we keep to; clients choose their ways by it.
XNAT_VERSION: Final = "1.8.11"
_SCHEMAS: Final = ("xdat", "xnat")


def _json(value: object) -> Response:
    return answers.text(json.dumps(value), media="application/json")


def _build_info(scope: Scope) -> dict[str, str]:
    return {
        "version": XNAT_VERSION,
        "buildNumber": f"xnatferry-{version('xnatferry')}",
        "buildDate": "Unknown",
        "timestamp": "Unknown",
        "sha": "Unknown",
        "shaFull": "Unknown",
        "commit": "Unknown",
        "branch": "Unknown",
        "tag": "Unknown",
        "isDirty": "false",
        "hostName": scope.archive.settings.host,
        "displayHostName": "never",
        "nodeId": "",
    }


def build_info(scope: Scope) -> Response:
    """GET /xapi/siteConfig/buildInfo."""
    return _json(_build_info(scope))


def build_property(scope: Scope) -> Response:
    """GET /xapi/siteConfig/buildInfo/{property}."""
    value = _build_info(scope).get(scope.params["property"])
    if value is None:
        raise Refusal(404)
    return answers.text(value)


def site_config(scope: Scope) -> Response:
    """GET /xapi/siteConfig: the settings that clients look at."""
    settings = scope.archive.settings
    return _json(
        {
            "initialized": True,
            "siteId": settings.site_name,
            "siteUrl": str(scope.request.base_url).rstrip("/"),
            "requireLogin": settings.require_login,
            "sessionTimeout": f"{settings.login_minutes} minutes",
            "archivePath": str(scope.archive.vault.archive),
            "checksums": True,
            "uiAllowNonAdminProjectCreation": True,
        }
    )


def schemas(_scope: Scope) -> Response:
    """GET /xapi/schemas: every name that is listed can be read."""
    return _json(list(_SCHEMAS))


def schema(scope: Scope) -> Response:
    """GET /xapi/schemas/{name} and the address that documents name as their schema location."""
    name = scope.params["name"].removesuffix(".xsd")
    if name not in _SCHEMAS:
        raise Refusal(404)
    return Response(schema_bytes(name), media_type="application/xml")


def datatypes(_scope: Scope) -> Response:
    """GET /xapi/schemas/datatypes."""
    return _json(type_names())


def user_name(scope: Scope) -> Response:
    """GET /xapi/users/username, /data/user."""
    return answers.text(scope.user_name)


def user_record(scope: Scope) -> Response:
    """GET /xapi/users/{name}: oneself, or for an administrator anybody."""
    asking = access.require_account(scope)
    found = scope.archive.accounts.find(scope.params["name"])
    if found is None or not (asking.admin or asking.login == found.login):
        raise Refusal(404)
    return _json(_profile(found))


def user_names(scope: Scope) -> Response:
    """GET /xapi/users: the login names of all accounts."""
    access.require_account(scope)
    return _json([account.login for account in scope.archive.accounts.everyone()])


def user_records(scope: Scope) -> Response:
    """GET /xapi/users/profiles: all accounts, for administrators."""
    if not access.require_account(scope).admin:
        raise Refusal(403)
    return _json([_profile(account) for account in scope.archive.accounts.everyone()])


def _profile(account: Account) -> dict[str, object]:
    return {
        "id": account.key,
        "username": account.login,
        "firstName": account.firstname,
        "lastName": account.lastname,
        "email": account.email,
        "enabled": account.enabled,
        "verified": True,
        "admin": account.admin,
    }


def project_access(scope: Scope) -> Response:
    """GET /xapi/access/projects: the projects one has a role in."""
    with scope.archive.database.read() as connection:
        found = [
            {"ID": name, "role": next((role for role in access.ROLES if role in held), "admin")}
            for name in sorted(access.readable_projects(connection, scope.account))
            if (held := access.roles_of(connection, scope.account, name)) or (scope.account and scope.account.admin)
        ]
    return _json(found)


def prearchive(scope: Scope) -> Response:
    """GET /data/prearchive, .../experiments, .../projects[/{project}]: nothing ever waits there."""
    return answers.listing(scope, Table((), (), counted=False))


def workflows(scope: Scope) -> Response:
    """GET /data/workflows: nothing ever runs in the background."""
    return answers.listing(scope, Table(("id", "status"), ()))


ROUTES: Final = (
    Route(("GET",), "/user", user_name, archived=False),
    Route(("GET",), "/prearchive", prearchive, archived=False),
    Route(("GET",), "/prearchive/experiments", prearchive, archived=False),
    Route(("GET",), "/prearchive/projects", prearchive, archived=False),
    Route(("GET",), "/prearchive/projects/{project}", prearchive, archived=False),
    Route(("GET",), "/workflows", workflows, archived=False),
)

#: Routes outside ``/data``.
SITE_ROUTES: Final = (
    Route(("GET",), "/", entrance.front_page),
    Route(("GET",), "/xapi/siteConfig", site_config),
    Route(("GET",), "/xapi/siteConfig/buildInfo", build_info),
    Route(("GET",), "/xapi/siteConfig/buildInfo/{property}", build_property),
    Route(("GET",), "/xapi/schemas", schemas),
    Route(("GET",), "/xapi/schemas/datatypes", datatypes),
    Route(("GET",), "/xapi/schemas/{name}", schema),
    Route(("GET",), "/schemas/{folder}/{name}", schema),
    Route(("GET",), "/xapi/users", user_names),
    Route(("GET",), "/xapi/users/username", user_name),
    Route(("GET",), "/xapi/users/profiles", user_records),
    Route(("GET",), "/xapi/users/{name}", user_record),
    Route(("GET",), "/xapi/access/projects", project_access),
)
