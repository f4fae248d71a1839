"""Alias tokens: an alias and a secret that log in to an account, and can be invalidated (``AliasTokenRestlet``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from xnatferry.client.http import Request
from xnatferry.client.settings import Secret
from xnatferry.errors import ForbiddenError, NotFoundError, NotXnatError, RefusedError

if TYPE_CHECKING:
    from xnatferry.client.requester import Requester


def issue_token(requester: Requester) -> tuple[str, Secret] | None:
    """A new alias and its secret, valid for two days by default; None if the site issues no tokens.

    Raises:
        RemoteError: The site cannot be reached.
    """
    try:
        response = requester.ask(Request("GET", "/data/services/tokens/issue", (("format", "json"),)), repeat=False)
        found = json.loads(response.text)
        alias, secret = found["alias"], str(found["secret"])  # 1.6 writes the secret in digits
    except (NotFoundError, ForbiddenError, RefusedError, NotXnatError) as error:
        if error.status is None:
            raise
        return None
    except (ValueError, LookupError, TypeError):
        return None
    return (alias, Secret(secret)) if isinstance(alias, str) and alias and secret else None


def invalidate_token(requester: Requester, alias: str) -> bool:
    """Invalidate a token of this account; returns whether it existed.

    Raises:
        RemoteError: The site cannot be reached.
    """
    try:
        requester.ask(Request("GET", f"/data/services/tokens/invalidate/{quote(alias, safe='')}"), repeat=False)
    except NotFoundError as error:
        if error.status is None:
            raise
        return False
    return True
