"""Probes of the server itself: version, plugins, data types, permissions, size limit of uploads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xnatferry.client.http import Request
from xnatferry.selftest.site import require

if TYPE_CHECKING:
    from xnatferry.selftest.site import Site


def version(site: Site) -> str:
    """The server tells its version."""
    found = site.remote.check()
    site.facts |= {"server": found.url, "version": found.version, "account": found.user}
    require(found.version != "unknown", "the server does not tell its version")
    return f"XNAT {found.version}, logged in as {found.user}"


def plugins(site: Site) -> str:
    """The server lists its plugins."""
    listed = site.ask_json("/xapi/plugins")
    require(isinstance(listed, dict | list), "the server does not list its plugins for this account")
    names = sorted(str(name) for name in listed or ())
    site.facts["plugins"] = ", ".join(names) or "none"
    return f"plugins: {site.facts['plugins']}"


def session_types(site: Site) -> str:
    """The usual session types are set up."""
    listed = site.ask_json("/xapi/schemas/datatypes/searchable")
    require(isinstance(listed, list), "the server does not list the data types that are set up")
    types = sorted(str(name) for name in listed or () if str(name).endswith("SessionData"))
    site.facts["session types"] = ", ".join(types)
    missing = {"xnat:mrSessionData", "xnat:petSessionData", "xnat:eegSessionData", "xnat:megSessionData"} - set(types)
    require(not missing, f"not set up: {', '.join(sorted(missing))}")
    return f"set up: {site.facts['session types']}"


def rights(site: Site) -> str:
    """The account is an owner of the project."""
    rows = site.ask_json(f"/data/projects/{site.project}/users?format=json")
    listed = rows.get("ResultSet", {}).get("Result", []) if isinstance(rows, dict) else []
    roles = [str(row.get("displayname", "")) for row in listed if row.get("login") == site.facts.get("account")]
    site.facts["role"] = ", ".join(roles) or "not listed (an administrator?)"
    require(not roles or "Owners" in roles, f"role: {site.facts['role']}")
    return f"role: {site.facts['role']}"


def upload_limit(site: Site) -> str:
    """A request of 16 MiB is accepted."""
    size = 16 << 20
    session = site.session("limit")
    site.remote.ensure_session(session)
    resource = f"{session.path}/resources/LIMIT/files/zeros.bin"
    query = (("inbody", "true"), ("overwrite", "true"))
    headers = (("Content-Type", "application/octet-stream"),)
    block = bytes(1 << 20)
    site.remote.requester.ask(
        Request("PUT", resource, query, headers, lambda: (block for _ in range(size >> 20)), size)
    )
    files = site.remote.list_files(session)
    require(
        [file.size_bytes for file in files] == [size],
        f"sent {size} bytes, but the server lists {[f.size_bytes for f in files]}",
    )
    return "a request of 16 MiB is accepted"
