"""The ASGI application: finds the route, authenticates, runs the route function, and turns errors into responses.

Route functions do blocking work on SQLite and disk, so they run in a bounded pool of threads, never on the event loop.
"""

from __future__ import annotations

import logging
import re
from functools import partial
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Final, TypeVar, cast
from urllib.parse import unquote

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from xnatferry.errors import ArchiveError
from xnatferry.server import responses
from xnatferry.server.blob_store import StorageFullError, UnsafeNameError
from xnatferry.server.pages import PAGE_ROUTES, is_page
from xnatferry.server.pages.login_page import login_address
from xnatferry.server.pages.rendering import moved
from xnatferry.server.request_scope import Query, Refusal, Route, Scope
from xnatferry.server.router import Router
from xnatferry.server.routes import (
    assessors,
    auth,
    custom_fields,
    custom_forms,
    downloads,
    experiments,
    files,
    imports,
    projects,
    refresh,
    resources,
    scans,
    searches,
    services,
    subjects,
    users,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response
    from starlette.types import Receive, Send
    from starlette.types import Scope as AsgiScope

    from xnatferry.server.archive import Archive

T = TypeVar("T")

_HASHES_AT_ONCE: Final = 2
_WAITING_FOR_HASHES: Final = 100
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Characters that Tomcat takes in an address only percent-encoded; it answers 400 itself (recorded). Brackets pass in
#: a query.
_UNSENT: Final = frozenset('"<>\\^`{|}')
_BRACKETS: Final = frozenset("[]")
#: What a Host header may be: Tomcat refuses others, too. Empty is that of HTTP/1.0.
_HOST: Final = re.compile(r"([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
#: What the firewall of Spring Security refuses in a path before XNAT sees it (recorded).
_FIREWALL: Final = re.compile(r"%25|%3b|;|//", re.IGNORECASE)

log = logging.getLogger(__name__)

#: Every route, in the order in which they are tried. Catch-all routes come last in their group.
ROUTES: Final[tuple[Route, ...]] = (
    *auth.ROUTES,
    *services.ROUTES,
    *searches.ROUTES,
    *refresh.ROUTES,
    *imports.ROUTES,
    *downloads.ROUTES,
    *files.ROUTES,
    *resources.ROUTES,
    *scans.ROUTES,
    *assessors.ROUTES,
    *experiments.ROUTES,
    *subjects.ROUTES,
    *projects.ROUTES,
)


#: Routes outside ``/data``, pages for people apart.
SITE_ROUTES: Final[tuple[Route, ...]] = (
    *services.SITE_ROUTES,
    *users.SITE_ROUTES,
    *custom_fields.SITE_ROUTES,
    *custom_forms.SITE_ROUTES,
    *refresh.SITE_ROUTES,
)

_DATA: Final = Router(ROUTES)
_ARCHIVE: Final = Router(route for route in ROUTES if route.archived)
_SITE: Final = Router((*SITE_ROUTES, *PAGE_ROUTES))
#: What a browser may do with an answer that does not say so itself: look at it.
_INERT: Final = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "referrer-policy": "same-origin",
}


class ArchiveApp:
    """Answers HTTP requests for one archive."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._threads: anyio.CapacityLimiter | None = None
        # Hashing a password takes 20 ms and 19 MiB on purpose; floods of wrong ones must not stop the others.
        self._hashing: anyio.CapacityLimiter | None = None

    async def __call__(self, asgi: AsgiScope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI interface)."""
        if asgi["type"] != "http":
            return
        request = Request(asgi, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        await response(asgi, receive, send)

    async def _answer(self, request: Request) -> Response:
        raw_path = request.scope.get("raw_path") or request.scope["path"].encode()
        path = raw_path.decode("latin-1")
        query = request.scope.get("query_string", b"").decode("latin-1")
        if not _HOST.fullmatch(request.headers.get("host", "")):
            return responses.container_page(400, "Bad Request")
        if early := _refused_early(request.method, path, query, strict=self._archive.settings.strict):
            return early
        try:
            response = await self._routed(request, path)
        except Refusal as refusal:
            response = responses.refused(refusal.status, refusal.message, bare=refusal.bare, plain=refusal.plain)
        except UnsafeNameError as error:
            response = responses.refused(400, str(error))
        except StorageFullError as error:
            response = responses.refused(507, str(error))
        except ArchiveError as error:
            response = responses.refused(500, str(error))
        except (UnicodeEncodeError, OverflowError):  # JSON can hold half of a letter and any number, SQLite cannot
            response = responses.refused(400, "The request holds an unpaired surrogate or a number of over 64 bits.")
        except ClientDisconnect:
            raise
        except Exception:
            log.exception("%s %s failed", request.method, path)
            response = responses.refused(500)
        cookie = responses.expiration_cookie(self._archive.settings.login_minutes)
        response.headers.append("set-cookie", cookie)
        for name, value in _INERT.items():
            response.headers.setdefault(name, value)
        return response

    async def _routed(self, request: Request, path: str) -> Response:
        if self._archive.accounts.retired:
            raise Refusal(503, "The archive is shutting down.")
        caller = auth.identify(self._archive, request, hashing=False)
        if caller is None:
            caller = await self._hashed(partial(_identified, self._archive, request))
        if caller.refusal is not None:
            if is_page(path) and "authorization" not in request.headers and request.method in _READING:
                query = request.scope.get("query_string", b"").decode("latin-1")
                return moved(login_address(path + (f"?{query}" if query else "")))
            return caller.refusal
        if request.method not in _READING and not auth.same_origin(request):
            raise Refusal(403, "The request came from a page of another site and was refused.")
        found = matching(path)
        if not found:
            raise Refusal(404)
        route, raw = next(
            ((route, raw) for route, raw in found if _serves(route, request.method)),
            (None, {}),
        )
        if route is None:
            response = responses.empty() if request.method == "OPTIONS" else responses.refused(405)
            response.headers["allow"] = ", ".join(sorted({name for route, _ in found for name in route.methods}))
            return response
        scope = Scope(
            request=request,
            archive=self._archive,
            account=caller.account,
            params={key: unquote(value) for key, value in raw.items()},
            raw_params=raw,
            query=Query(request.scope.get("query_string", b"").decode("latin-1")),
            login=caller.login,
        )
        if request.method not in _READING:
            scope.query.require_text()
        if iscoroutinefunction(route.handler):
            return cast("Response", await route.handler(scope))
        limits = self._archive.settings
        limit = (
            limits.max_document_bytes if caller.account else min(limits.max_stranger_bytes, limits.max_document_bytes)
        )
        scope.body = await self._body(request, limit)
        work = partial(cast("Callable[[Scope], Response]", route.handler), scope)
        return await (self._hashed(work) if route.hashing else self._worked(work, request.method))

    async def _worked(self, work: Callable[[], T], method: str) -> T:
        """Run a route function. Who deletes on a full disk makes room: the trash is emptied for that."""
        try:
            return await self._in_thread(work)
        except StorageFullError:
            empty = partial(self._archive.blob_store.empty_trash, older_than_days=0)
            if method != "DELETE" or not await self._in_thread(empty):
                raise
            return await self._in_thread(work)

    async def _body(self, request: Request, limit: int) -> bytes:
        """The whole body of a request that is no file upload."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > limit:
                raise Refusal(413, f"A document may have at most {limit} bytes.")
        return bytes(body)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(self._archive.settings.threads)
        return await anyio.to_thread.run_sync(work, limiter=self._threads)

    async def _hashed(self, work: Callable[[], T]) -> T:
        """Run what takes the hash of a password in a pool of its own.

        Raises:
            Refusal: 503, too many wait for theirs.
        """
        if self._hashing is None:
            self._hashing = anyio.CapacityLimiter(_HASHES_AT_ONCE)
        if self._hashing.statistics().tasks_waiting >= _WAITING_FOR_HASHES:
            raise Refusal(503, "Too many logins at the same time. Try again in a few seconds.")
        return await anyio.to_thread.run_sync(work, limiter=self._hashing)


def _refused_early(method: str, path: str, query: str, *, strict: bool) -> Response | None:
    """What the container and the firewall before XNAT answer to an address by its letters alone."""
    refused = _UNSENT & set(path + query) or _BRACKETS & set(path)
    if refused or any(code in path.lower() for code in ("%2f", "%5c", "%00")):
        return responses.container_page(400, "Bad Request")
    if not strict or not _FIREWALL.search(path):
        return None
    # The error page of the container takes these three methods only.
    return responses.container_page(500, "Rejected") if method in {"GET", "HEAD", "POST"} else responses.empty(405)


def _identified(archive: Archive, request: Request) -> auth.Caller:
    caller = auth.identify(archive, request)
    assert caller is not None  # noqa: S101  hashing, it always knows
    return caller


def matching(path: str) -> list[tuple[Route, dict[str, str]]]:
    """The routes for a whole request path, percent-encoded as sent.

    ``/data`` and ``/REST`` are the same; archive routes exist with and without ``/archive`` (``XNATApplication``).
    """
    for prefix in ("/data", "/REST"):
        if path == prefix or path.startswith(prefix + "/"):
            below = path[len(prefix) :]
            if below.startswith("/archive/"):
                return _ARCHIVE.match(below[len("/archive") :])
            return _DATA.match(below)
    if path.startswith("/archive/"):
        return _ARCHIVE.match(path[len("/archive") :])
    return _SITE.match(path)


def _serves(route: Route, method: str) -> bool:
    return method in route.methods or (method == "HEAD" and "GET" in route.methods)
