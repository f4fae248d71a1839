"""Alias tokens: a login name and secret that stand for an account and can be withdrawn (``AliasTokenRestlet``)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from xnatferry.client.http import Request
from xnatferry.client.settings import Secret
from xnatferry.errors import ForbiddenError, NotFoundError, NotXnatError, RefusedError

if TYPE_CHECKING:
    from xnatferry.client.requester import Requester

__all__ = ["invalidate_token", "issue_token"]


def issue_token(talk: Requester) -> tuple[str, Secret] | None:
    """A new alias and its secret, good for two days unless the site says otherwise; None where it gives no tokens.

    Raises:
        RemoteError: The site cannot be asked.
    """
    try:
        response = talk.ask(Request("GET", "/data/services/tokens/issue", (("format", "json"),)), repeat=False)
        found = json.loads(response.text)
        alias, secret = found["alias"], str(found["secret"])  # 1.6 writes the secret in digits
    except (NotFoundError, ForbiddenError, RefusedError, NotXnatError) as error:
        if error.status is None:
            raise
        return None
    except (ValueError, LookupError, TypeError):
        return None
    return (alias, Secret(secret)) if isinstance(alias, str) and alias and secret else None


def invalidate_token(talk: Requester, alias: str) -> bool:
    """End a token of ours; returns whether there was one.

    Raises:
        RemoteError: The site cannot be asked.
    """
    try:
        talk.ask(Request("GET", f"/data/services/tokens/invalidate/{quote(alias, safe='')}"), repeat=False)
    except NotFoundError as error:
        if error.status is None:
            raise
        return False
    return True
