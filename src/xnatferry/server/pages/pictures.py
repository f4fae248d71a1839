"""Pictures of scans: those that a push stored (resource ``SNAPSHOTS``), else drawn on demand and kept by digest.

XNAT's own pages look for the same resource, and in it for files whose content is ``ORIGINAL`` or ``THUMBNAIL``.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import BoundedSemaphore
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from xnatferry.durable import replacing
from xnatferry.server import resources
from xnatferry.server.pages.page_path import page_path_of
from xnatferry.server.pages.rendering import page_route
from xnatferry.server.pages.viewable_files import is_volume
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.routes.downloads import open_listed

if TYPE_CHECKING:
    import sqlite3

    from xnatferry.server.pages.page_path import PagePath
    from xnatferry.server.resources import Resource, StoredFile

log = logging.getLogger(__name__)

_LABEL: Final = "SNAPSHOTS"
#: Word in the address to the content that XNAT gives such a file.
_CONTENTS: Final = {"snapshot": "ORIGINAL", "thumbnail": "THUMBNAIL"}
_MEDIA: Final = {
    b"GIF8": "image/gif",
    b"\x89PNG": "image/png",
    b"RIFF": "image/webp",
    b"\xff\xd8\xff\xe0": "image/jpeg",
}
_LARGEST_STORED: Final = 8 << 20
#: Larger files are not drawn on demand, as that takes too long for a page.
_LARGEST_DRAWN: Final = 256 << 20
#: Drawing takes a second of a processor and some memory: not for every thread of the server at once.
_DRAWING: Final = BoundedSemaphore(2)


@dataclass(frozen=True, slots=True)
class _Source:
    resource: Resource
    file: StoredFile
    stored: bool


def picture_of(connection: sqlite3.Connection, scan: PagePath, kind: str = "thumbnail") -> _Source | None:
    """What a picture of the scan is made from: a stored one wins; None when there is nothing to show."""
    drawable = None
    for resource in resources.resources_of(connection, [scan.item.key]):
        for file in resources.files_of(connection, [resource]):
            if resource.label == _LABEL:
                if file.content == _CONTENTS[kind]:
                    return _Source(resource, file, stored=True)
            elif drawable is None and file.digest and is_volume(file.name) and 0 < file.size_bytes <= _LARGEST_DRAWN:
                drawable = _Source(resource, file, stored=False)
    return drawable


def read(kind: str, scope: Scope) -> Response:
    """GET .../scans/{scan}/snapshot and /thumbnail."""
    with scope.archive.database.read() as connection:
        source = picture_of(connection, page_path_of(connection, scope), kind)
    if source is None:
        raise Refusal(404, "No snapshot available")
    mark = f'"{source.file.digest}-{kind}"'
    headers = {"etag": mark, "cache-control": "private, no-cache"}
    if scope.request.headers.get("if-none-match") == mark:
        return Response(b"", 304, headers)
    data = _stored(scope, source) if source.stored else _drawn(scope, source, kind)
    media = _MEDIA.get(data[:4])
    if media is None:
        raise Refusal(404, "No picture of this image can be drawn")
    return Response(data, media_type=media, headers=headers)


def _stored(scope: Scope, source: _Source) -> bytes:
    opened = open_listed(scope.archive, source.resource, source.file.name)
    if opened is None:
        return b""
    with os.fdopen(opened[0], "rb") as file:
        return file.read(_LARGEST_STORED)


def _drawn(scope: Scope, source: _Source, kind: str) -> bytes:
    """The picture out of the cache, where an empty file stands for an image that cannot be drawn."""
    folder = scope.archive.settings.root / "cache" / "pictures"
    kept = {name: folder / f"{source.file.digest}-{name}" for name in _CONTENTS}
    with _DRAWING:
        if not kept[kind].is_file():
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name, data in zip(_CONTENTS, _draw(scope, source), strict=True):
                with replacing(kept[name]) as part:
                    part.write_bytes(data)
    return kept[kind].read_bytes()


def _draw(scope: Scope, source: _Source) -> tuple[bytes, bytes]:
    from xnatferry.pictures import snapshots  # noqa: PLC0415  # brings numpy: only who asks for a picture waits for it

    opened = open_listed(scope.archive, source.resource, source.file.name)
    if opened is None:
        return b"", b""
    descriptor, path = opened
    os.close(descriptor)
    try:
        large, small = snapshots(Path(path))
    except Exception as error:  # noqa: BLE001  whatever an image of anybody can do to the libraries that read it
        log.info("%s cannot be drawn: %s", path, error)
        return b"", b""
    return large.data, small.data


_SCAN: Final = "/projects/{project}/subjects/{subject}/sessions/{experiment}/scans/{scan}"
ROUTES: Final = tuple(Route(("GET",), f"{_SCAN}/{kind}", page_route(partial(read, kind))) for kind in _CONTENTS)
