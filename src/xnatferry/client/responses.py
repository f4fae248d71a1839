"""What an answer of a server means: the one place where a status, a page or a redirect becomes an error."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from xnatferry.errors import (
    AuthenticationError,
    ForbiddenError,
    NotFoundError,
    NotXnatError,
    RefusedError,
    RemoteError,
    UnavailableError,
)
from xnatferry.xnat.error_page import is_error_page, message_of_page

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ServerResponse", "error_of", "is_login_page", "kept_names", "not_logged_in", "retry_after"]

_LOGIN_FORM = re.compile(r"Login\.vm|j_spring_security_check|<input[^>]+type=[\"']?password", re.IGNORECASE)
# What Restlet writes where XNAT gave no reason of its own.
_STANDARD = (
    "The server has not found anything matching",
    "The server encountered an unexpected condition",
    "The request could not be understood by the server",
    "The method specified in the request is not allowed",
)
_TEMPORARY = frozenset({408, 425, 429, 502, 503, 504})
_WORDS = {
    400: "the server could not make sense of the request",
    404: "there is no such thing on the server, or this account may not see it",
    405: "the server does not offer this",
    406: "the server does not accept the form of the request",
    409: "it conflicts with what the server holds",
    413: "a proxy or the server takes no body of this size; send it in smaller pieces, or have the limit raised",
    415: "the server cannot read the file",
    417: "the server expects more: a data type is missing, or the ID is not valid",
    422: "the server cannot use the document",
    500: "the server failed on this request",
}


@dataclass(frozen=True, slots=True)
class ServerResponse:
    """An answer whose body has been read.

    Attributes:
        status: HTTP status.
        headers: Header fields by lower-case name.
        body: The body, decoded from its transfer and content encodings.
        method: Method of the request.
        url: Address of the request.
        cookies: Cookies it sets.
        attempts: How many times the request was sent.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    method: str
    url: str
    cookies: Mapping[str, str] = field(default_factory=dict)
    attempts: int = 1

    @property
    def text(self) -> str:
        """The body as text; XNAT writes UTF-8."""
        return self.body.decode("utf-8", "replace")


def is_login_page(text: str) -> bool:
    """Whether *text* is the page where XNAT asks a browser to log in."""
    return is_error_page(text) and _LOGIN_FORM.search(text) is not None


def not_logged_in(response: ServerResponse) -> bool:
    """Whether *response* says that the login is missing or has expired: 401, a way to the login page, or that page."""
    if response.status == 401:
        return True
    if 300 <= response.status < 400:
        return "login" in urlsplit(response.headers.get("location", "")).path.lower()
    return response.status == 200 and is_login_page(response.text)


def error_of(response: ServerResponse) -> RemoteError | None:
    """The error that *response* stands for, or None when it is a good one.

    A page under a good status is an error as well: interfaces of XNAT answer with tables, documents or nothing.
    """
    status = response.status
    if not_logged_in(response):
        return _made(
            AuthenticationError, response, f"{_site(response)} does not accept the login; check user and password"
        )
    if 300 <= status < 400:
        return _redirected(response)
    if status == 207:
        return _made(RefusedError, response, f"the server did only a part of it: {_words(response)}")
    if 200 <= status < 300:
        if is_error_page(response.text):
            page = message_of_page(response.text) or "no text"
            return _made(NotXnatError, response, f"{response.url} answers with a web page ({page}), not as an XNAT")
        return None
    if status == 403:
        return _made(ForbiddenError, response, f"the account may not do this: {_words(response)}")
    if status == 404:
        return _made(NotFoundError, response, _words(response))
    if status in _TEMPORARY:
        return UnavailableError(
            f"{_site(response)} is not available now ({status}: {_words(response)}); try again later",
            status=status,
            method=response.method,
            url=response.url,
            retry_after_s=retry_after(response.headers.get("retry-after", "")),
        )
    return _made(RefusedError, response, f"the server refused ({status}): {_words(response)}")


def retry_after(text: str, now: datetime | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait (RFC 9110, 10.2.3), or None when it says nothing usable."""
    text = text.strip()
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (now or datetime.now(UTC))).total_seconds())


def kept_names(text: str) -> list[str]:
    """Names that the server says it kept instead of storing: the ``duplicates`` of an upload's answer, as written.

    XNAT answers 200 all the same (``FileList.handlePost``), with the content type ``text/html``.
    """
    if not text.lstrip().startswith("{"):
        return []
    try:
        found = json.loads(text)
    except ValueError:
        return []
    names = found.get("duplicates", [])
    return [str(name) for name in names] if isinstance(names, list) else []


def _redirected(response: ServerResponse) -> RemoteError:
    target = urljoin(response.url, response.headers.get("location", ""))
    here, there = urlsplit(response.url), urlsplit(target)
    if there.path.endswith(here.path) and here.path:
        prefix = there.path.removesuffix(here.path)
        right = f"{there.scheme}://{there.netloc}{prefix}"
        path = here.path[here.path.find("/data/") :] if "/data/" in here.path else ""
        site = right + here.path.removesuffix(path) if path else right
        return _made(RefusedError, response, f"{_site(response)} sends us on to {site}; use --server {site}")
    return _made(
        RefusedError, response, f"{_site(response)} sends us on to {target}; name the right server with --server"
    )


def _words(response: ServerResponse) -> str:
    """The message of the status page, or our own words where it holds only the standard sentence or nothing."""
    text = message_of_page(response.text) if response.body and response.status != 413 else ""
    if text.startswith(_STANDARD):
        text = ""
    return text or _WORDS.get(response.status, f"HTTP status {response.status}")


def _site(response: ServerResponse) -> str:
    parts = urlsplit(response.url)
    return f"{parts.scheme}://{parts.netloc}"


def _made(kind: type[RemoteError], response: ServerResponse, message: str) -> RemoteError:
    where = urlsplit(response.url).path
    if kind in {RefusedError, NotFoundError, ForbiddenError}:
        message = f"{message} [{response.method} {where}]"
    return kind(message, status=response.status, method=response.method, url=response.url.partition("?")[0])
