"""Renders templates: always escaped, with a strict content security policy; errors become pages."""

from __future__ import annotations

import re
from datetime import datetime
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from starlette.responses import Response

from xnatferry.server.pages import static
from xnatferry.server.pages.forms import form_token
from xnatferry.server.request_scope import Refusal, Scope
from xnatferry.server.responses import STANDARD
from xnatferry.xnat.model import quote_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jinja2 import Environment

_POLICY: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
_TITLES: Final = {
    400: "Invalid request",
    403: "Permission denied",
    404: "Not found",
    409: "Conflict",
    500: "Internal error",
}
#: What stands in an address for itself; ``%`` is that of an escape.
_AS_IS: Final = "/?#[]@!$&'()*+,;=:%"
_MODALITY: Final = re.compile(r"xnat:(\w+?)(?:Session|Scan|Assessor)?Data")


def address(*segments: str) -> str:
    """The path of a page: segments are quoted, a slash within one too."""
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


def shown_bytes(size: int) -> str:
    """A size as text: ``840 bytes``, ``1.2 MB`` (powers of 1000)."""
    amount, units = float(size), ["kB", "MB", "GB", "TB"]
    if size < 1000:
        return "1 byte" if size == 1 else f"{size} bytes"
    unit = ""
    while amount >= 999.5 and units:
        amount, unit = amount / 1000, units.pop(0)
    return f"{amount:.0f} {unit}" if amount >= 99.95 else f"{amount:.1f} {unit}"


def _shown_time(stamp: str) -> str:
    """A stored moment to the minute, or as it is when it is none."""
    try:
        return datetime.fromisoformat(stamp).strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return stamp


def _modality(xsi_type: str) -> str:
    """``MR`` for ``xnat:mrSessionData``: the word XNAT shows; other types stay as they are."""
    found = _MODALITY.fullmatch(xsi_type)
    return found[1].upper() if found else xsi_type


def _query(values: Mapping[str, object], **changes: object) -> str:
    """A query with some keys changed; keys without a value are left out."""
    kept = {key: value for key, value in {**values, **changes}.items() if value not in {"", None, 0}}
    return f"?{urlencode(kept)}" if kept else "?"


@cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415  programs that use REST never need it

    templates = Environment(
        loader=PackageLoader("xnatferry.server.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(bytes=shown_bytes, count="{:,}".format, modality=_modality, time=_shown_time)
    templates.globals |= {"address": address, "asset": static.address_of, "query": _query, "quote_name": quote_name}
    return templates


def page(
    scope: Scope,
    template: str,
    *,
    status: int = 200,
    policy: Mapping[str, str] | None = None,
    **values: Any,
) -> Response:
    """*template* filled with *values* as an answer that no cache keeps.

    Args:
        scope: The request.
        template: Name of the template, without ``.html``.
        status: HTTP status.
        policy: Directives of the content security policy that this page needs otherwise.
        **values: What the template shows; ``crumbs`` are pairs of words and address above the page.
    """
    common = {
        "site": scope.archive.settings.site_name,
        "account": scope.account,
        "token": form_token(scope),
        "here": scope.request.scope["path"],
        "crumbs": (),
    }
    text = _templates().get_template(f"{template}.html").render({**common, **values})
    rules = "; ".join(f"{name} {sources}" for name, sources in {**_POLICY, **(policy or {})}.items())
    headers = {"content-security-policy": rules, "cache-control": "no-store"}
    # JSON can hold half of a letter (an unpaired surrogate), which no page can.
    return Response(text.encode(errors="replace"), status_code=status, media_type="text/html", headers=headers)


def moved(target: str) -> Response:
    """See *target* instead (303): after a form, or for an address that has a better one."""
    location = quote(target, safe=_AS_IS, errors="replace")
    return Response(b"", status_code=303, headers={"location": location, "cache-control": "no-store"})


def page_route(handler: Callable[[Scope], Response]) -> Callable[[Scope], Response]:
    """A route function whose refusals are shown as pages."""

    @wraps(handler)
    def answered(scope: Scope) -> Response:
        try:
            return handler(scope)
        except Refusal as refusal:
            title = _TITLES.get(refusal.status, "Request failed")
            words = refusal.message or STANDARD.get(refusal.status, "The request was refused")
            return page(scope, "error", status=refusal.status, title=title, words=words)

    return answered
