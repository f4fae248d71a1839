"""Converts answers of a server (status, page, redirect) into errors, with their messages."""

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
    ConflictError,
    ForbiddenError,
    NotFoundError,
    NotXnatError,
    RefusedError,
    RemoteError,
    UnavailableError,
)
from xnatferry.xnat.error_page import is_error_page, message_of_page

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xnatferry.xnat.model import Address
    from xnatferry.xnat.result_set import Row

_LOGIN_FORM = re.compile(r"Login\.vm|j_spring_security_check|<input[^>]+type=[\"']?password", re.IGNORECASE)
# Standard sentences of Restlet, when XNAT gives no reason.
_STANDARD = (
    "The server has not found anything matching",
    "The server encountered an unexpected condition",
    "The request could not be understood by the server",
    "The method specified in the request is not allowed",
)
_TEMPORARY = frozenset({408, 425, 429, 502, 503, 504})
_WORDS = {
    400: "bad request",
    404: "not found on the server, or not visible for this account",
    405: "the server does not support this operation",
    406: "the server does not support the format of the request",
    409: "conflict with an existing object",
    413: "the request is too large for the server or a proxy; use --max-body, or ask for a higher limit",
    415: "the server cannot read the file",
    417: "a data type is missing, or the ID is not valid",
    422: "the server cannot process the document",
    500: "internal error of the server",
}


@dataclass(frozen=True, slots=True)
class ServerResponse:
    """An answer with its body.

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
    """Whether *text* is the login page of XNAT."""
    return is_error_page(text) and _LOGIN_FORM.search(text) is not None


def not_logged_in(response: ServerResponse) -> bool:
    """Whether the login is missing or has expired: 401, a redirect to the login page, or that page."""
    if response.status == 401:
        return True
    if 300 <= response.status < 400:
        return "login" in urlsplit(response.headers.get("location", "")).path.lower()
    return response.status == 200 and is_login_page(response.text)


def error_of(response: ServerResponse) -> RemoteError | None:
    """The error of *response*, or None when it is successful.

    A web page with a successful status is an error too: the REST API answers with tables, documents or nothing.
    """
    status = response.status
    if not_logged_in(response):
        return _made(AuthenticationError, response, f"{_site(response)}: wrong user name or password")
    if 300 <= status < 400:
        return _redirected(response)
    if status == 207:
        return _made(RefusedError, response, f"the server carried out only a part of the request: {_reason(response)}")
    if 200 <= status < 300:
        if is_error_page(response.text):
            page = message_of_page(response.text) or "no text"
            return _made(
                NotXnatError, response, f"{response.url}: not an XNAT (web page: {page}); check the server address"
            )
        return None
    if status == 403:
        return _made(ForbiddenError, response, f"Permission denied: {_reason(response)}")
    if status == 404:
        return _made(NotFoundError, response, _reason(response))
    if status in _TEMPORARY:
        return UnavailableError(
            f"{_site(response)}: temporarily unavailable ({status}: {_reason(response)}); try again later",
            status=status,
            method=response.method,
            url=response.url,
            retry_after_s=retry_after(response.headers.get("retry-after", "")),
        )
    return _made(RefusedError, response, f"refused by the server ({status}): {_reason(response)}")


def retry_after(text: str, now: datetime | None = None) -> float | None:
    """Seconds of a ``Retry-After`` header (RFC 9110, 10.2.3), or None when it is not valid."""
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
    """Names of files that the server did not replace: ``duplicates`` in the answer to an upload.

    XNAT answers 200 also in this case (``FileList.handlePost``), with the content type ``text/html``.
    """
    if not text.lstrip().startswith("{"):
        return []
    try:
        found = json.loads(text)
    except ValueError:
        return []
    names = found.get("duplicates", [])
    return [str(name) for name in names] if isinstance(names, list) else []


def project_refused(project: str, error: RemoteError) -> RemoteError:
    """Why a project cannot be created; a 403 has more causes than the server tells."""
    if not isinstance(error, ForbiddenError):
        return error
    return _again(
        error,
        f"{project}: project not created: a project with this ID was deleted before (XNAT never accepts it again), "
        "is not visible for this account, or the account must not create projects; choose another ID with --project, "
        f"or ask an administrator (server: {error})",
    )


def removal_refused(what: str, hidden: Sequence[Row], error: ForbiddenError) -> ForbiddenError:
    """Why *what* cannot be removed: the site has not set up the types of its sessions *hidden*."""
    named = ", ".join(f"{row['label']} ({row['xsiType']})" for row in hidden)
    return _again(
        error,
        f"{what}: not removed: nobody can delete sessions of a type that the site has not set up: {named}; ask an "
        "administrator to set up the type (Administer > Data Types) and remove them again, or remove the whole project",
    )


def _again(error: ForbiddenError, message: str) -> ForbiddenError:
    return ForbiddenError(message, status=error.status, method=error.method, url=error.url)


def _redirected(response: ServerResponse) -> RemoteError:
    target = urljoin(response.url, response.headers.get("location", ""))
    here, there = urlsplit(response.url), urlsplit(target)
    if there.path.endswith(here.path) and here.path:
        prefix = there.path.removesuffix(here.path)
        right = f"{there.scheme}://{there.netloc}{prefix}"
        path = here.path[here.path.find("/data/") :] if "/data/" in here.path else ""
        site = right + here.path.removesuffix(path) if path else right
        return _made(RefusedError, response, f"{_site(response)}: redirected to {site}; use --server {site}")
    return _made(
        RefusedError, response, f"{_site(response)}: redirected to {target}; use --server with the right address"
    )


def _reason(response: ServerResponse) -> str:
    """The message of the status page, or a text of `_WORDS` if it has only a standard sentence or none."""
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


def check_removable(address: Address, names: Sequence[str]) -> None:
    """XNAT 1.8 removes every file whose name begins with this name; a ``*`` at its end stands for any ending.

    Raises:
        NotFoundError: The file is not listed.
        ConflictError: Other files would be removed too.
    """
    name = address.file or ""
    if name not in names:
        raise NotFoundError(f"{address}: file not found", status=404, url=address.path)
    if others := sorted(other for other in names if other.startswith(name.rstrip("*")) and other != name):
        raise ConflictError(
            f"{address}: not removed: XNAT 1.8 would also remove {', '.join(others[:3])}, whose names begin with "
            "this name; remove the longer names first, or the resource"
        )
