"""Pages for login and logout, and the page at ``/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from xnatferry.server.pages import projects
from xnatferry.server.pages.forms import (
    FORM_COOKIE,
    form_of,
    form_token,
    local_target,
    new_form_cookie,
    set_form_cookie,
)
from xnatferry.server.pages.rendering import moved, page, page_route
from xnatferry.server.request_scope import Route, Scope
from xnatferry.server.routes.auth import set_cookie

if TYPE_CHECKING:
    from starlette.responses import Response


def login_address(target: str) -> str:
    """Address of the login page that redirects to *target* afterwards."""
    return f"/login?next={quote(target, safe='')}"


def front_page(scope: Scope) -> Response:
    """GET /: the projects, or for strangers the login page; 200 without a redirect, which bxl asks for.

    Clients use it to test the connection; with Basic credentials or an alias token it gives the login cookie.
    """
    if scope.account is None and scope.archive.settings.require_login:
        return _login_page(scope, "/")
    response = projects.list_projects(scope)
    if scope.account is not None and not scope.login:
        set_cookie(scope, response, scope.archive.accounts.open_login(scope.account))
    return response


def ask(scope: Scope) -> Response:
    """GET /login."""
    target = local_target(scope.query.get("next", "/"))
    return moved(target) if scope.login else _login_page(scope, target)


def log_in(scope: Scope) -> Response:
    """POST /login: checks name and password and redirects to the requested page."""
    fields = form_of(scope)
    target = local_target(fields.get("next", "/"))
    account = scope.archive.accounts.verify(fields.get("username", ""), fields.get("password", ""))
    if account is None:
        return _login_page(scope, target, name=fields.get("username", ""), failed=True)
    response = moved(target)
    # Always a new cookie, so that no attacker can know it in advance.
    set_cookie(scope, response, scope.archive.accounts.open_login(account))
    return response


def _login_page(scope: Scope, target: str, *, name: str = "", failed: bool = False) -> Response:
    cookie = scope.request.cookies.get(FORM_COOKIE, "") or new_form_cookie()
    token = form_token(scope, cookie)
    status = 401 if failed else 200
    response = page(scope, "login", status=status, target=target, name=name, failed=failed, token=token)
    set_form_cookie(scope, response, cookie)
    return response


def log_out(scope: Scope) -> Response:
    """POST /logout."""
    form_of(scope)
    if scope.login:
        scope.archive.accounts.close_login(scope.login)
    return moved("/login")


ROUTES: Final = (
    Route(("GET",), "/login", page_route(ask)),
    Route(("POST",), "/login", page_route(log_in), hashing=True),
    Route(("POST",), "/logout", page_route(log_out)),
)
