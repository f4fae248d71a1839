"""Who asks: logins, Basic credentials, alias tokens, guests; and the routes that open, show and end a login."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from xnatferry.server import access, responses
from xnatferry.server.accounts import is_alias
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.xnat.result_set import Table

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from xnatferry.server.accounts import Account
    from xnatferry.server.alias_tokens import AliasToken
    from xnatferry.server.archive import Archive

_COOKIE: Final = "JSESSIONID"
#: Addresses that are answered to anybody: how one logs in, and where one is (XNAT's ``configured-urls.yaml``).
_OPEN: Final = {
    "/",
    "/favicon.ico",
    "/login",
    "/data/JSESSION",
    "/REST/JSESSION",
    "/data/services/auth",
    "/REST/services/auth",
    "/xapi/siteConfig/buildInfo",
    "/xapi/siteConfig/siteId",
    "/xapi/siteConfig/siteUrl",
}
#: Stylesheets and scripts, which the login page needs too; they tell nothing.
_STATIC: Final = "/static/"
_OWN_TOKENS_ONLY: Final = "Non-admin users can only request operations on alias tokens for their own account"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request.

    Attributes:
        account: The account; None is a guest.
        login: The valid login cookie that came with the request, or "".
        refusal: The answer to send instead of going on, when credentials are wrong or missing.
    """

    account: Account | None = None
    login: str = ""
    refusal: Response | None = None


def identify(archive: Archive, request: Request, *, hashing: bool = True) -> Caller | None:
    """Find out who sends *request* (xnat-rest.md 1.1, 1.2). A Basic user other than the login's is asked for anew.

    Without *hashing* it takes no time worth a thread of its own, and is None when it takes the hash of a password to
    know.
    """
    cookie = request.cookies.get(_COOKIE, "")
    account = archive.accounts.account_of_login(cookie) if cookie else None
    header = request.headers.get("authorization", "")
    if header[:6].lower() == "basic ":
        user, password = _basic(header)
        if account is None or account.login.lower() != user.lower():
            verified = archive.accounts.known(user, password)
            if verified is None and not hashing:
                return None
            verified = verified or _verified(archive, user, password)
            if verified is None:
                return Caller(refusal=responses.container_page(401, "Unauthorized"))
            return Caller(verified)
    if account is not None:
        return Caller(account, cookie)
    path = request.scope["path"]
    if archive.settings.require_login and path not in _OPEN and not path.startswith(_STATIC):
        refusal = responses.refused(401)
        refusal.headers["WWW-Authenticate"] = f'Basic realm="{archive.settings.site_name}"'
        return Caller(refusal=refusal)
    return Caller()


def _basic(header: str) -> tuple[str, str]:
    """User and password of a Basic header; a provider named before the user is cut off."""
    try:
        text = base64.b64decode(header[6:].strip(), validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return "", ""
    user, _, password = text.partition(":")
    return user.rpartition("/")[2], password


def _verified(archive: Archive, user: str, password: str) -> Account | None:
    if is_alias(user):
        return archive.accounts.account_of_token(user, password)
    return archive.accounts.verify(user, password)


def _logged_in(scope: Scope, response: Response) -> Response:
    """Give the caller a login cookie, unless the request brought one."""
    if not scope.login and scope.account is not None:
        set_cookie(scope, response, scope.archive.accounts.open_login(scope.account))
    return response


def set_cookie(scope: Scope, response: Response, cookie: str) -> None:
    """Send the login cookie."""
    secure = "; Secure" if scope.request.scope["scheme"] == "https" else ""
    response.headers.append("set-cookie", f"{_COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Lax{secure}")


def jsession(scope: Scope) -> Response:
    """GET, POST /data/JSESSION: the login's cookie as text."""
    cookie = scope.login
    if not cookie and scope.account is not None:
        cookie = scope.archive.accounts.open_login(scope.account)
    if not cookie:
        # A guest gets a token that stands for nothing: pyxnat and datalad connect that way.
        return responses.text("0" * 32)
    response = responses.text(cookie)
    if cookie != scope.login:
        set_cookie(scope, response, cookie)
    return response


def end_login(scope: Scope) -> Response:
    """DELETE /data/JSESSION."""
    if scope.login:
        scope.archive.accounts.close_login(scope.login)
    return responses.empty()


def who(scope: Scope) -> Response:
    """GET /data/auth: a sentence that xnatpy parses."""
    return _logged_in(scope, responses.text(f"User '{scope.user_name}' is logged in"))


def services_auth(scope: Scope) -> Response:
    """PUT, POST /data/services/auth with a form body: xnatpy's login."""
    form = dict(scope.form())
    user = form.get("username") or form.get("j_username") or ""
    password = form.get("password") or form.get("j_password") or ""
    account = scope.archive.accounts.verify(user, password)
    if account is None:
        raise Refusal(401, "Authentication failed.")
    cookie = scope.archive.accounts.open_login(account)
    response = responses.text(cookie)
    set_cookie(scope, response, cookie)
    return response


def issue_token(scope: Scope) -> Response:
    """GET /data/services/tokens/issue[/user/{user}]: an alias and secret in place of user and password."""
    owner = _token_owner(scope)
    return _token_json(_shown(scope.archive.accounts.tokens.issue(owner.key), owner))


def show_tokens(scope: Scope) -> Response:
    """GET /data/services/tokens/show[/user/{user}]: without their secrets, of which nothing is kept."""
    owner = _token_owner(scope)
    return _token_json([_shown(one, owner) for one in scope.archive.accounts.tokens.of(owner.key)])


def validate_token(scope: Scope) -> Response:
    """GET /data/services/tokens/validate/{alias}/{secret}: whose it is, when the secret fits."""
    token, owner = _found_token(scope)
    valid = scope.archive.accounts.tokens.checked(token.alias, scope.params["secret"])
    return _token_json({"valid": owner.login} if valid and owner else {})


def invalidate_token(scope: Scope) -> Response:
    """GET /data/services/tokens/invalidate/{alias}: one's own; an administrator's request ends anybody's."""
    token, _ = _found_token(scope)
    scope.archive.accounts.tokens.revoke(token.alias)
    return _token_json({"result": "OK"})


def _token_owner(scope: Scope) -> Account:
    """Whose tokens are asked for: one's own, or those of the user in the path.

    Raises:
        Refusal: 403, somebody else's without being an administrator; 400, there is no such user.
    """
    account = access.require_account(scope)
    name = scope.params.get("user", account.login)
    if name.lower() == account.login.lower():
        return account
    if not account.admin:
        raise Refusal(403, _OWN_TOKENS_ONLY)
    owner = scope.archive.accounts.find(name)
    if owner is None:
        raise Refusal(400, f"An error occurred retrieving the user: {name}")
    return owner


def _found_token(scope: Scope) -> tuple[AliasToken, Account | None]:
    """The token that the path names by alias or number, and who may use it (None: nobody any more)."""
    account, name = access.require_account(scope), scope.params["alias"]
    token = scope.archive.accounts.tokens.find(name)
    if token is None:
        raise Refusal(404, f"Can't find an alias token with the {'alias' if is_alias(name) else 'ID'} {name}")
    if not account.admin and token.account_key != account.key:
        raise Refusal(403, _OWN_TOKENS_ONLY)
    return token, scope.archive.accounts.by_key(token.account_key)


def _shown(token: AliasToken, owner: Account) -> dict[str, object]:
    created, expires = int(token.created * 1000), int(token.expires * 1000)
    times = {"created": created, "timestamp": created, "disabled": 0, "estimatedExpirationTime": expires}
    shown = {"id": token.number, "alias": token.alias, "xdatUserId": owner.login, "enabled": True, **times}
    secret = {"secret": token.secret} if token.secret else {}
    return {**shown, **secret, "singleUse": False, "expired": False}


def _token_json(value: object) -> Response:
    return responses.text(json.dumps(value), media="application/json")


def users(scope: Scope) -> Response:
    """GET /data/users: everybody who may log in."""
    access.require_account(scope)
    columns = ("xdat_user_id", "login", "firstname", "lastname", "email")
    rows = [
        {
            "xdat_user_id": str(one.key),
            "login": one.login,
            "firstname": one.firstname,
            "lastname": one.lastname,
            "email": one.email,
        }
        for one in scope.archive.accounts.everyone()
        if one.enabled
    ]
    return responses.listing(scope, Table(columns, rows, title="Projects"))


def same_origin(request: Request) -> bool:
    """Whether a browser sent *request* from a page of this archive; other programs name no origin."""
    origin = request.headers.get("origin", "") or request.headers.get("referer", "")
    try:
        return not origin or urlsplit(origin).netloc == request.headers.get("host", "")
    except ValueError:  # no address
        return False


ROUTES: Final = (
    Route(("GET", "POST", "PUT"), "/JSESSION", jsession, archived=False),
    Route(("DELETE",), "/JSESSION", end_login, archived=False),
    Route(("GET",), "/auth", who, archived=False),
    Route(("PUT", "POST"), "/services/auth", services_auth, archived=False, hashing=True),
    Route(("GET",), "/services/tokens/issue", issue_token, archived=False),
    Route(("GET",), "/services/tokens/issue/user/{user}", issue_token, archived=False),
    Route(("GET",), "/services/tokens/show", show_tokens, archived=False),
    Route(("GET",), "/services/tokens/show/user/{user}", show_tokens, archived=False),
    Route(("GET",), "/services/tokens/validate/{alias}/{secret}", validate_token, archived=False),
    Route(("GET",), "/services/tokens/invalidate/{alias}", invalidate_token, archived=False),
    Route(("GET",), "/users", users, archived=False),
)
