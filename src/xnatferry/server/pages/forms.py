"""Forms sent by browsers: their fields, and the CSRF token.

The application refuses changes that another site's page asks for (`routes.auth.same_origin`), but a request that names
no origin passes there, for programs. A form must prove more: its token is made from the login cookie, or before a login
from a cookie of the login page, with a key that dies with the process.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final

from xnatferry.server.request_scope import Refusal

if TYPE_CHECKING:
    from starlette.responses import Response

    from xnatferry.server.request_scope import Scope

#: What the login page's token is made from, before there is a login.
FORM_COOKIE: Final = "XNATFERRY_FORM"
TOKEN_FIELD: Final = "XNAT_CSRF"  # noqa: S105  XNAT's name of the field
_KEY: Final = secrets.token_bytes(32)
_COOKIE_BYTES: Final = 16


def form_token(scope: Scope, cookie: str = "") -> str:
    """The token for forms on a page that answers *scope*; "" when there is nothing to bind it to.

    Args:
        scope: The request.
        cookie: A form cookie that the answer gives; by default the one that came with the request.
    """
    cookie = cookie or scope.request.cookies.get(FORM_COOKIE, "")
    if scope.login:
        bound = f"login:{scope.login}"
    elif scope.account is not None:
        bound = f"account:{scope.account.login}"
    elif cookie:
        bound = f"form:{cookie}"
    else:
        return ""
    return hmac.digest(_KEY, bound.encode(), "sha256").hex()


def new_form_cookie() -> str:
    """A new cookie for the login page."""
    return secrets.token_hex(_COOKIE_BYTES)


def set_form_cookie(scope: Scope, response: Response, cookie: str) -> None:
    """Send the login page's cookie."""
    secure = "; Secure" if scope.request.scope["scheme"] == "https" else ""
    response.headers.append("set-cookie", f"{FORM_COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict{secure}")


def form_of(scope: Scope) -> dict[str, str]:
    """The fields of a form of our pages.

    Raises:
        Refusal: 403, its token is not that of the login that sends it.
    """
    fields = dict(scope.form())
    expected = form_token(scope)
    if not expected or not hmac.compare_digest(expected.encode(), fields.get(TOKEN_FIELD, "").encode()):
        raise Refusal(403, "This form has expired. Go back, reload the page, and send the form again.")
    return fields


def local_target(wanted: str) -> str:
    """*wanted* when it is a path on this site, else the front page: a login must not lead elsewhere."""
    inside = wanted.startswith("/") and not wanted.startswith(("//", "/\\")) and wanted.isprintable()
    return wanted if inside else "/"
