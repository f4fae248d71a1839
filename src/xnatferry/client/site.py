"""Reads version and account of a site."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.client.http import Request
from xnatferry.errors import ForbiddenError, NotFoundError, NotXnatError, RefusedError

if TYPE_CHECKING:
    from xnatferry.client.requester import Requester

_TYPE = re.compile(r'"([A-Za-z][\w-]*:\w+)"')
_USER = re.compile(r"User '(.*)' is logged in")


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """Address, version and account of a site.

    Attributes:
        url: Its address.
        version: Its version; ``unknown`` if it does not tell.
        user: The account of the login.
    """

    url: str
    version: str
    user: str


def read_site(requester: Requester, url: str) -> SiteFacts:
    """Log in at *url* and read version and account.

    Raises:
        NotXnatError: It is not an XNAT.
        RemoteError: It cannot be reached.
    """
    text = requester.ask(Request("GET", "/data/auth")).text
    found = _USER.search(text)
    if found is None:
        raise NotXnatError(f"{url}: not an XNAT; check the server address", url=url)
    return SiteFacts(url, _version(requester), found[1])


def read_set_up_types(requester: Requester) -> frozenset[str] | None:
    """Data types of experiments that the site has set up; None if the server does not tell.

    1.7 and later list them for every account at the first address, all versions at the second.
    """
    for path in ("/xapi/schemas/datatypes/searchable", "/data/search/elements?format=json"):
        try:
            types = frozenset(_TYPE.findall(requester.ask(Request("GET", path)).text))
        except (NotFoundError, ForbiddenError, RefusedError, NotXnatError):
            continue
        if any(one.endswith("SessionData") for one in types):
            return types
    return None


def _version(requester: Requester) -> str:
    """1.7 and later: ``buildInfo``; before: a page of its own, which is "Unknown version" on a real 1.6.4."""
    try:
        info = json.loads(requester.ask(Request("GET", "/xapi/siteConfig/buildInfo")).text)
        version = str(info.get("version", "")) if isinstance(info, dict) else ""
    except (NotFoundError, ForbiddenError, RefusedError, NotXnatError, ValueError):
        version = ""
    if not version:
        try:
            version = requester.ask(Request("GET", "/data/version")).text.strip()
        except (NotFoundError, ForbiddenError, RefusedError, NotXnatError):
            version = ""
    return version if re.match(r"\d", version) else "unknown"
