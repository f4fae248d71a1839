"""Stylesheets, scripts and the viewer's bundle: under names that hold a digest, so that browsers keep them for good."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from xnatferry.server.request_scope import Refusal, Route, Scope

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

#: The viewer's bundle; the build puts it there (``hatch_build.py``), it is no part of the sources.
VIEWER_BUNDLE: Final = "niivue.js"
_MEDIA: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
}
_NAMED: Final = re.compile(r"([\w-]+)\.[0-9a-f]{12}\.(\w+)")
_KEPT: Final = "public, max-age=31536000, immutable"
_SMALLEST_PACKED: Final = 1024


@dataclass(frozen=True, slots=True)
class _Asset:
    name: str
    media: str
    plain: bytes
    packed: bytes


@cache
def _asset(name: str) -> _Asset | None:
    """A static file, read once; None when there is none of that name."""
    place: Traversable = files(__package__) / "static" / name
    if not place.is_file():
        return None
    plain = place.read_bytes()
    stem, _, ending = name.rpartition(".")
    digest = hashlib.sha256(plain).hexdigest()[:12]
    packed = gzip.compress(plain, 6, mtime=0) if len(plain) >= _SMALLEST_PACKED else b""
    return _Asset(f"{stem}.{digest}.{ending}", _MEDIA[ending], plain, packed)


def is_there(name: str) -> bool:
    """Whether the package came with the static file *name*."""
    return _asset(name) is not None


def address_of(name: str) -> str:
    """The address of the static file *name*; changes with its bytes.

    Raises:
        LookupError: There is none.
    """
    found = _asset(name)
    if found is None:
        raise LookupError(f"static file not found: {name}")
    return f"/static/{found.name}"


def read(scope: Scope) -> Response:
    """GET /static/{name}: the bytes, to be kept by the browser for good."""
    named = _NAMED.fullmatch(scope.params["name"])
    found = _asset(f"{named[1]}.{named[2]}") if named and named[2] in _MEDIA else None
    if found is None or found.name != scope.params["name"]:
        raise Refusal(404)
    headers = {"content-type": found.media, "cache-control": _KEPT, "vary": "accept-encoding"}
    if found.packed and "gzip" in scope.request.headers.get("accept-encoding", ""):
        return Response(found.packed, headers=headers | {"content-encoding": "gzip"})
    return Response(found.plain, headers=headers)


ROUTES: Final = (Route(("GET",), "/static/{name}", read),)
