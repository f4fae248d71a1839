"""What clients ask beside the data: version, settings, schemas."""

from __future__ import annotations

import json
import time
from importlib.metadata import version
from typing import Final

from starlette.responses import Response

from xnatferry.server import responses
from xnatferry.server.element_security import is_set_up
from xnatferry.server.pages import login_page
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.routes import users
from xnatferry.xnat.datatypes import extends, schema_bytes, type_names
from xnatferry.xnat.result_set import Table

#: The version of XNAT whose behaviour we keep to; clients choose their ways by it.
XNAT_VERSION: Final = "1.8.11"
_SCHEMAS: Final = ("xdat", "xnat")
_UNFOUND: Final = "Unable to find requested file or resource: "


def _json(value: object) -> Response:
    return responses.text(json.dumps(value), media="application/json")


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
    """GET /xapi/siteConfig/buildInfo/{property}; one that is unknown is an empty 200."""
    value = _build_info(scope).get(scope.params["property"])
    return responses.empty() if value is None else responses.text(value)


def _settings(scope: Scope) -> dict[str, object]:
    """The settings of the site that who asks may know (``SiteConfigAccess``)."""
    settings = scope.archive.settings
    found: dict[str, object] = {
        "siteId": settings.site_name,
        "siteUrl": str(scope.request.base_url).rstrip("/"),
        "checksums": True,
        "uiAllowNonAdminProjectCreation": True,
    }
    if scope.account is not None and scope.account.admin:
        found |= {
            "initialized": True,
            "requireLogin": settings.require_login,
            "sessionTimeout": f"{settings.login_minutes} minutes",
            "archivePath": str(scope.archive.blob_store.archive),
        }
    return found


def site_config(scope: Scope) -> Response:
    """GET /xapi/siteConfig: the settings that clients look at."""
    return _json(_settings(scope))


def site_setting(scope: Scope) -> Response:
    """GET /xapi/siteConfig/{name}: one setting, texts without quotes."""
    name = scope.params["name"]
    value = _settings(scope).get(name)
    if value is None:
        raise Refusal(404, f"{_UNFOUND}No site configuration property named {name}", plain=True)
    return responses.text(value if isinstance(value, str) else json.dumps(value), media="application/json")


def uptime(scope: Scope) -> Response:
    """GET /xapi/siteConfig/uptime: since the archive was started; days, hours and minutes where there are any."""
    minutes, seconds = divmod(time.monotonic() - scope.archive.started, 60)
    hours, minutes = divmod(int(minutes), 60)
    days, hours = divmod(hours, 24)
    parts = {"days": days, "hours": hours, "minutes": minutes}
    return _json({name: str(number) for name, number in parts.items() if number} | {"seconds": f"{seconds:.3f}"})


def schemas(_scope: Scope) -> Response:
    """GET /xapi/schemas: every name that is listed can be read."""
    return _json(list(_SCHEMAS))


def schema(scope: Scope) -> Response:
    """GET /xapi/schemas/{name} and the address that documents name as their schema location."""
    name = scope.params["name"].removesuffix(".xsd")
    if name not in _SCHEMAS or scope.params.get("folder", name) != name:
        folder = scope.params.get("folder", name)
        raise Refusal(404, f"{_UNFOUND}classpath:schemas/{folder}/{name}.xsd", plain=True)
    return Response(schema_bytes(name), media_type="application/xml")


def datatypes(_scope: Scope) -> Response:
    """GET /xapi/schemas/datatypes."""
    return _json(type_names())


def searchable(scope: Scope) -> Response:
    """GET /xapi/schemas/datatypes/searchable: the types of imaging sessions that are set up."""
    types = (one for one in type_names() if extends(one, "xnat:imageSessionData"))
    return _json([one for one in types if is_set_up(scope.archive.settings, one)])


def prearchive(scope: Scope) -> Response:
    """GET /data/prearchive, .../experiments, .../projects[/{project}]: nothing ever waits there."""
    return responses.listing(scope, Table((), (), counted=False))


def workflows(scope: Scope) -> Response:
    """GET /data/workflows: nothing ever runs in the background."""
    return responses.listing(scope, Table(("id", "status"), ()))


ROUTES: Final = (
    Route(("GET",), "/user", users.user_name, archived=False),
    Route(("GET",), "/prearchive", prearchive, archived=False),
    Route(("GET",), "/prearchive/experiments", prearchive, archived=False),
    Route(("GET",), "/prearchive/projects", prearchive, archived=False),
    Route(("GET",), "/prearchive/projects/{project}", prearchive, archived=False),
    Route(("GET",), "/workflows", workflows, archived=False),
)

#: Routes outside ``/data``.
SITE_ROUTES: Final = (
    Route(("GET",), "/", login_page.front_page),
    Route(("GET",), "/xapi/siteConfig", site_config),
    Route(("GET",), "/xapi/siteConfig/buildInfo", build_info),
    Route(("GET",), "/xapi/siteConfig/buildInfo/{property}", build_property),
    Route(("GET",), "/xapi/siteConfig/uptime", uptime),
    Route(("GET",), "/xapi/siteConfig/{name}", site_setting),
    Route(("GET",), "/xapi/schemas", schemas),
    Route(("GET",), "/xapi/schemas/datatypes", datatypes),
    Route(("GET",), "/xapi/schemas/datatypes/searchable", searchable),
    Route(("GET",), "/xapi/schemas/{name}", schema),
    Route(("GET",), "/xapi/schemas/{folder}/{name}", schema),
    Route(("GET",), "/schemas/{folder}/{name}", schema),
)
