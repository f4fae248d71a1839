"""Responses in XNAT's formats: text, documents, listings in four formats, status pages."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from starlette.responses import Response

from xnatferry.server.request_scope import Refusal
from xnatferry.server.xnat_tables import XNAT_TABLES
from xnatferry.xnat.error_page import error_page
from xnatferry.xnat.result_set import encode_csv, encode_html, encode_json, encode_xml

if TYPE_CHECKING:
    from xnatferry.server.request_scope import Scope
    from xnatferry.xnat.result_set import Table

STANDARD: Final = {int(status): words for status, words in XNAT_TABLES["status_sentences"].items()}

#: What XML 1.0 cannot hold, in UTF-8.
_UNFIT: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]|\xef\xbf[\xbe\xbf]")
_MEDIA: Final = {"json": "application/json", "xml": "text/xml", "csv": "text/csv", "html": "text/html"}
_ENCODERS: Final = {"json": encode_json, "xml": encode_xml, "csv": encode_csv, "html": encode_html}


def empty(status: int = 200) -> Response:
    """No body: ``Content-Length: 0`` and no media type."""
    return Response(b"", status_code=status)


def text(body: str, *, status: int = 200, media: str = "text/plain") -> Response:
    """A short text, without a line end."""
    return Response(body, status_code=status, media_type=media)


def document(body: str | bytes, format: str) -> Response:  # noqa: A002  XNAT's word
    """A whole item in *format* (``json``, ``xml`` or ``html``)."""
    return Response(_well_formed(body) if format == "xml" else body, media_type=_MEDIA[format])


def _well_formed(body: str | bytes) -> bytes:
    """An XML document with U+FFFD for characters that XML cannot hold; earlier versions stored such."""
    data = body if isinstance(body, bytes) else body.encode(errors="replace")
    return _UNFIT.sub("\N{REPLACEMENT CHARACTER}".encode(), data)


def posted(scope: Scope, name: str) -> Response:
    """What a POST to a collection answers: the absolute address of the new thing, as text and as ``Location``."""
    asked = scope.request.url
    path = quote(f"{asked.path.rstrip('/')}/{name}", safe="/:@!$&'()*+,;=")  # a header takes no other letters
    url = f"{asked.scheme}://{asked.netloc}{path}"
    return Response(url, media_type="text/plain", headers={"Location": url})


def format_of(scope: Scope, offered: tuple[str, ...]) -> str:
    """Which of *offered* formats the request wants: ``format=`` wins over ``Accept``; the first is the default.

    Raises:
        Refusal: 406, neither names one of them.
    """
    asked = scope.query.get("format").lower()
    if asked:
        asked = next((name for name, media in _MEDIA.items() if media == asked), asked)
        if asked not in offered:
            raise Refusal(406)
        return asked
    accept = scope.request.headers.get("accept", "*/*").lower()
    for part in accept.split(","):
        media = part.partition(";")[0].strip()
        for name in offered:
            if media in {_MEDIA[name], "*/*"} or (name == "xml" and media == "application/xml"):
                return name
    raise Refusal(406)


def listing(scope: Scope, table: Table, offered: tuple[str, ...] = ("json", "html", "xml")) -> Response:
    """*table* as ``format=`` asks: JSON, XML, CSV, or HTML for any other word; else one of *offered* by ``Accept``.

    Raises:
        Refusal: 406, ``Accept`` takes none of these.
    """
    if scope.query.get("format"):
        try:
            name = format_of(scope, ("json", "html", "xml", "csv"))
        except Refusal:
            name = "html"
    else:
        name = format_of(scope, offered)
    body = _ENCODERS[name](table)
    return Response(_well_formed(body) if name == "xml" else body, media_type=_MEDIA[name])


def refused(status: int, message: str = "", *, bare: bool = False, plain: bool = False) -> Response:
    """XNAT's status page with *message*, or the standard sentence of *status*; *bare* sends no body, *plain* text."""
    if bare:
        return empty(status)
    if plain:
        return text(message, status=status)
    page = error_page(status, message or STANDARD.get(status, "The request was refused"))
    return Response(page, status_code=status, media_type="text/html")


def container_page(status: int, title: str) -> Response:
    """The error page of the servlet container, which answers before XNAT's own layer is reached."""
    page = (
        f'<!doctype html><html lang="en"><head><title>HTTP Status {status}: {title}</title></head>'
        f"<body><h1>HTTP Status {status}: {title}</h1></body></html>"
    )
    return Response(page, status_code=status, media_type="text/html")


def expiration_cookie(login_minutes: int) -> str:
    """The ``SESSION_EXPIRATION_TIME`` cookie: now and the login's length, ms; xnatpy insists on the quotes."""
    return f'SESSION_EXPIRATION_TIME="{int(time.time() * 1000)},{login_minutes * 60_000}"; Path=/'
