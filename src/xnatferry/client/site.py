"""Says what answers at an address."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.client.http import Request
from xnatferry.errors import ForbiddenError, NotFoundError, NotXnatError, RefusedError

if TYPE_CHECKING:
    from xnatferry.client.requester import Requester

__all__ = ["SiteFacts", "read_site"]

_USER = re.compile(r"User '(.*)' is logged in")


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """A site as it presents itself.

    Attributes:
        url: Its address.
        version: Its version, ``unknown`` where it does not say.
        user: The account we are logged in with.
    """

    url: str
    version: str
    user: str


def read_site(talk: Requester, url: str) -> SiteFacts:
    """Log in at *url* and read who answers.

    Raises:
        NotXnatError: It is no XNAT.
        RemoteError: It cannot be asked.
    """
    text = talk.ask(Request("GET", "/data/auth")).text
    found = _USER.search(text)
    if found is None:
        raise NotXnatError(f"{url} answers, but not as an XNAT; is something missing from the address?", url=url)
    return SiteFacts(url, _version(talk), found[1])


def _version(talk: Requester) -> str:
    """1.7 and later: ``buildInfo``; before: a page of its own, which a genuine 1.6.4 fills with "Unknown version"."""
    try:
        told = json.loads(talk.ask(Request("GET", "/xapi/siteConfig/buildInfo")).text)
        version = str(told.get("version", "")) if isinstance(told, dict) else ""
    except (NotFoundError, ForbiddenError, RefusedError, NotXnatError, ValueError):
        version = ""
    if not version:
        try:
            version = talk.ask(Request("GET", "/data/version")).text.strip()
        except (NotFoundError, ForbiddenError, RefusedError, NotXnatError):
            version = ""
    return version if re.match(r"\d", version) else "unknown"
