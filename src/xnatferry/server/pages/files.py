"""Pages of a resource and of a file, with a preview where possible."""

from __future__ import annotations

import csv
import io
import json
import os
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final

from xnatferry.server import resources
from xnatferry.server.pages.page_path import page_path_of, resource_at
from xnatferry.server.pages.receipts import proofs_in
from xnatferry.server.pages.rendering import page, page_route
from xnatferry.server.pages.viewable_files import is_viewable, viewer_address
from xnatferry.server.request_scope import Refusal, Route, Scope
from xnatferry.server.routes.downloads import open_listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from xnatferry.server.resources import Resource

_SESSION: Final = "/projects/{project}/subjects/{subject}/sessions/{experiment}"
#: Items with resources, as page addresses.
PARENTS: Final = (
    "/projects/{project}",
    "/projects/{project}/subjects/{subject}",
    _SESSION,
    f"{_SESSION}/scans/{{scan}}",
    f"{_SESSION}/assessors/{{assessor}}",
    f"{_SESSION}/reconstructions/{{reconstruction}}",
)
_FILES_A_PAGE: Final = 100
_TEXT_BYTES: Final = 256 << 10
_JSON_BYTES: Final = 1 << 20
_ROWS: Final = 200
_COLUMNS: Final = 60
_PICTURES: Final = frozenset({"png", "jpg", "jpeg", "gif", "webp", "bmp", "svg"})
_TABLES: Final = {"tsv": "\t", "csv": ","}


@dataclass(frozen=True, slots=True)
class Preview:
    """What is shown of a file.

    Attributes:
        kind: ``table``, ``text``, ``picture``, ``volume``, ``empty`` or ``none``.
        text: Its text.
        rows: Rows of a table; the first one is its header.
        cut: Whether there is more than is shown.
    """

    kind: str
    text: str = ""
    rows: Sequence[Sequence[str]] = field(default_factory=tuple)
    cut: bool = False


def read_resource(scope: Scope) -> Response:
    """GET .../resources/{resource}: its files, with digest and state."""
    words = scope.query.get("q").strip()
    with scope.archive.database.read() as connection:
        page_path = page_path_of(connection, scope)
        resource = resource_at(connection, scope, page_path)
        found = [one for one in resources.files_of(connection, [resource]) if words.lower() in one.name.lower()]
        proofs = proofs_in(scope.archive, connection, page_path.project)
    pages = max(1, -(-len(found) // _FILES_A_PAGE))
    at = min(scope.query.page(), pages)
    files = [
        (one, proofs.state(page_path.ferry_address(resource, one.name), one))
        for one in found[(at - 1) * _FILES_A_PAGE : at * _FILES_A_PAGE]
    ]
    return page(
        scope,
        "resource",
        page_path=page_path,
        resource=resource,
        crumbs=[*page_path.crumbs, (resource.label or str(resource.id), page_path.resource_address(resource))],
        files=files,
        number=len(found),
        bytes=sum(one.size_bytes for one in found),
        words=words,
        at=at,
        pages=pages,
    )


def read_file(scope: Scope) -> Response:
    """GET .../resources/{resource}/files/{file*}: one file, with a preview."""
    with scope.archive.database.read() as connection:
        page_path = page_path_of(connection, scope)
        resource = resource_at(connection, scope, page_path)
        file = resources.file_named(connection, resource, scope.params["file"])
        if file is None:
            raise Refusal(404, "Unable to identify file")
        proofs = proofs_in(scope.archive, connection, page_path.project)
    above = (resource.label or str(resource.id), page_path.resource_address(resource))
    viewer = viewer_address(page_path, resource, file.name) if is_viewable(file.name) and page_path.session else ""
    return page(
        scope,
        "file",
        page_path=page_path,
        resource=resource,
        file=file,
        crumbs=[*page_path.crumbs, above, (file.name, page_path.file_address(resource, file.name))],
        state=proofs.state(page_path.ferry_address(resource, file.name), file),
        preview=_preview(scope, resource, file.name, file.size_bytes),
        viewer=viewer,
    )


def _preview(scope: Scope, resource: Resource, name: str, size: int) -> Preview:
    ending = name.rpartition(".")[2].lower()
    if size == 0:
        return Preview("empty")
    if ending in _PICTURES:
        return Preview("picture")
    if is_viewable(name):
        return Preview("volume")
    most = _JSON_BYTES if ending == "json" else _TEXT_BYTES
    opened = open_listed(scope.archive, resource, name)
    if opened is None:
        raise Refusal(404, "The file is listed, but missing on the disk of the archive")
    with os.fdopen(opened[0], "rb") as stream:
        data = stream.read(most)
    return _of_bytes(data, ending, cut=size > len(data))


def _of_bytes(data: bytes, ending: str, *, cut: bool) -> Preview:
    """What can be shown of *data*, the beginning of a file (or all of it, when it is not *cut*)."""
    text = _text(data, cut=cut)
    if text is None:
        return Preview("none")
    if ending == "json" and not cut:
        try:
            text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
        except (ValueError, RecursionError):
            return Preview("text", text)
    if ending in _TABLES:
        try:
            rows = list(islice(csv.reader(io.StringIO(text), delimiter=_TABLES[ending]), _ROWS + 1))
        except csv.Error:
            return Preview("text", text, cut=cut)
        if rows and rows[0]:
            wide = max(len(row) for row in rows) > _COLUMNS
            cut = cut or len(rows) > _ROWS or wide
            return Preview("table", rows=[row[:_COLUMNS] for row in rows[:_ROWS]], cut=cut)
    return Preview("text", text, cut=cut)


def _text(data: bytes, *, cut: bool) -> str | None:
    """*data* as text; None when it is none. A letter that the cut has split is left out."""
    if b"\0" in data:
        return None
    for spare in range(4 if cut else 1):
        try:
            return data[: len(data) - spare].decode("utf-8-sig")
        except UnicodeDecodeError:
            continue
    return None


ROUTES: Final[tuple[Route, ...]] = tuple(
    route
    for parent in PARENTS
    for route in (
        Route(("GET",), f"{parent}/resources/{{resource}}", page_route(read_resource)),
        Route(("GET",), f"{parent}/resources/{{resource}}/files/{{file*}}", page_route(read_file)),
    )
)
