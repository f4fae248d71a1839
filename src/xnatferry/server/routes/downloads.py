"""Reading files: listings, single files and their parts, archives made on the fly, members of stored archives.

All of it is GET (and HEAD) of ``.../files[/PATH]`` at every level (``FileList``).
"""

from __future__ import annotations

import os
import re
import struct
import zipfile
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote, unquote_plus

from starlette.responses import Response

from xnatferry.server import catalogs, download_names, objects, resources, responses
from xnatferry.server.request_scope import Refusal
from xnatferry.server.resource_paths import container_of, resource_routes, resources_by_container, segment
from xnatferry.server.response_streams import PackedFile, StreamedResponse, file_pieces, packed
from xnatferry.server.wildcards import fits
from xnatferry.server.xnat_tables import XNAT_TABLES
from xnatferry.xnat.digest import PIECE_BYTES
from xnatferry.xnat.result_set import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from xnatferry.server.archive import Archive
    from xnatferry.server.request_scope import Route, Scope
    from xnatferry.server.resource_paths import ContainerResources
    from xnatferry.server.resources import Resource, StoredFile

#: What XNAT says where an address names no project and what it names is not there.
NO_PROJECT: Final = 'Cannot invoke "org.nrg.xdat.om.XnatProjectdata.getId()" because "this.proj" is null'

_MEDIA: Final[Mapping[str, str]] = XNAT_TABLES["media_types"]
_PACKED_MEDIA: Final = {"zip": "application/zip", "tar": "application/x-tar", "tar.gz": "application/x-gtar"}
# A stored archive and what is wanted of it: x.zip!inner/path, x.zip!/inner/path or x.zip/inner/path.
_IN_ARCHIVE: Final = re.compile(r"(.+?\.(?:zip|jar|rar|ear|gar|mrb))(?:!/?|/)(.+)", re.DOTALL)
#: What zipfile raises for archives that are none, damaged, encrypted, or packed by other methods.
_ZIP_DAMAGE: Final = (zipfile.BadZipFile, RuntimeError, OSError, ValueError, EOFError, ArithmeticError, struct.error)
#: Stored bytes are data, whatever they look like: a browser that shows them runs nothing of them.
_INERT: Final = {"x-content-type-options": "nosniff", "content-security-policy": "sandbox; default-src 'none'"}
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def read(scope: Scope) -> Response:
    """Answer a GET below ``files``."""
    with scope.archive.database.read() as connection:
        if container_of(connection, scope).unknown:
            raise Refusal(500, NO_PROJECT)
    raw = scope.raw_params.get("file", "")
    if not raw or raw.endswith(("/", "*")):
        return _many(scope, unquote(raw))
    return _single(scope, raw)


def _many(scope: Scope, within: str) -> Response:
    """A listing, or an archive, of all files or of those in a folder."""
    query, archive = scope.query, scope.archive
    kind = _packed_kind(query.get("format"))
    everything = query.is_true("all")
    with archive.database.read() as connection:
        held = resources_by_container(
            connection, container_of(connection, scope), segment(scope), everything=everything
        )
    if kind is not None:
        return _packed_answer(scope, held, within, kind)
    with archive.database.read() as connection:
        found = _selected(connection, scope, held, within)
    table = catalogs.file_table(found, locator=query.get("locator"), archive_root=str(archive.blob_store.archive))
    return responses.listing(scope, table)


def _selected(
    connection: sqlite3.Connection, scope: Scope, held: Sequence[ContainerResources], within: str
) -> list[tuple[ContainerResources, StoredFile]]:
    """The files of *held* that the query and the folder in the path let through."""
    found = [(one, file) for one in held for file in resources.files_of(connection, [one.resource])]
    if within.endswith("*"):
        found = [(one, file) for one, file in found if fits(file.name, within.split("*"))]
    elif within:
        found = [(one, file) for one, file in found if file.name.startswith(within)]
    if scope.query.is_false("recursive"):
        found = [(one, file) for one, file in found if "/" not in file.name[len(within) :]]
    for key in ("format", "content"):
        if wanted := scope.query.all(f"file_{key}"):
            found = [(one, file) for one, file in found if (getattr(file, key) or "NULL") in wanted]
    return found


def _packed_kind(name: str) -> str | None:
    """``zip``, ``tar`` or ``tar.gz`` for a format that asks for an archive."""
    name = name.lower()
    by_media = {media: kind for kind, media in _PACKED_MEDIA.items()} | {"tgz": "tar.gz", "tar.gz": "tar.gz"}
    return name if name in _PACKED_MEDIA else by_media.get(name)


def _packed_answer(scope: Scope, held: Sequence[ContainerResources], within: str, kind: str) -> Response:
    with ExitStack() as stack:
        for one in sorted(held, key=lambda one: one.resource.id):
            stack.enter_context(scope.archive.file_store.holding(one.resource))
        connection = stack.enter_context(scope.archive.database.read())
        found = _selected(connection, scope, held, within)
        if not found:
            raise Refusal(404)
        names = download_names.member_names(connection, scope.query, found)
        title = download_names.archive_name(connection, found[0][0].item)
    blob_store = scope.archive.blob_store
    files = [
        PackedFile(name, blob_store.archive / one.folder / file.name, file.size_bytes)
        for name, (one, file) in zip(names, found, strict=True)
    ]
    return _archive_answer(files, kind, title)


def _archive_answer(files: Sequence[PackedFile], kind: str, title: str) -> Response:
    pieces, size = packed(files, kind)
    headers = {"content-type": _PACKED_MEDIA[kind], "content-disposition": _disposition(f"{title}.{kind}")}
    if size is not None:
        headers["content-length"] = str(size)
    return StreamedResponse(pieces, headers)


def _single(scope: Scope, raw: str) -> Response:
    """One file, by its name as listed or in any of its encodings."""
    with scope.archive.database.read() as connection:
        held = resources_by_container(connection, container_of(connection, scope), segment(scope))
    names = list(dict.fromkeys((raw, unquote(raw), unquote_plus(raw))))
    for one in held:
        for name in names:
            found = open_listed(scope.archive, one.resource, name)
            if found is not None:
                return _file_answer(scope, one, name, *found)
    for one in held:
        for name in names:
            inside = _IN_ARCHIVE.fullmatch(name)
            found = open_listed(scope.archive, one.resource, inside[1]) if inside else None
            if inside and found is not None:
                return _member_answer(found[0], inside[1], inside[2])
    if scope.query.is_true("accept-not-found"):
        return responses.empty(204)
    raise Refusal(404, bare=len(held) == 1)


def open_listed(archive: Archive, resource: Resource, name: str) -> tuple[int, Path] | None:
    """A listed file of a resource, open for reading; a packed twin ``NAME.gz`` stands in for one that has gone."""
    with archive.file_store.reading(resource, name), archive.database.read() as connection:
        file = resources.file_named(connection, resource, name)
        if file is None:
            return None
        folder = resources.folder_of(objects.by_key(connection, resource.item_key), resource)
        path = archive.blob_store.archive / folder / name
        for container in (path, path.with_name(path.name + ".gz")):
            with suppress(FileNotFoundError):
                return os.open(container, os.O_RDONLY | os.O_NOFOLLOW), container
    return None


def _file_answer(scope: Scope, one: ContainerResources, name: str, descriptor: int, path: Path) -> Response:
    base = path.name
    kind = _packed_kind(scope.query.get("format"))
    if kind is not None and not base.endswith(f".{kind}"):
        size = os.fstat(descriptor).st_size
        os.close(descriptor)
        with scope.archive.database.read() as connection:
            title = download_names.archive_name(connection, one.item)
        return _archive_answer([PackedFile(base, path, size)], kind, title)
    if scope.query.is_true("listContents") and _IN_ARCHIVE.fullmatch(name + "!x"):
        return responses.listing(scope, _contents(descriptor, name))
    status = os.fstat(descriptor)
    start, length, headers = _range(scope, status.st_size)
    headers |= {
        "content-type": _media_type(base),
        "content-disposition": _disposition(base),
        "cache-control": "must-revalidate",
        "last-modified": format_datetime(datetime.fromtimestamp(int(status.st_mtime), UTC), usegmt=True),
        "content-length": str(length),
        **_INERT,
    }
    code = 206 if "content-range" in headers else 200
    if scope.method == "HEAD" or length == 0:
        os.close(descriptor)
        return Response(b"", code, headers)
    if length <= PIECE_BYTES:
        return Response(b"".join(file_pieces(descriptor, start, length)), code, headers)
    return StreamedResponse(file_pieces(descriptor, start, length), headers, code)


def _range(scope: Scope, size_bytes: int) -> tuple[int, int, dict[str, str]]:
    """Start and length of the part that is asked for, and what the headers say about it.

    Recorded: a genuine server answers 206, cut short where the range ends beyond the file.

    Raises:
        Refusal: 416, the range starts beyond the file.
    """
    asked = _RANGE.fullmatch(scope.request.headers.get("range", "").replace(" ", ""))
    if asked is None or not (asked[1] or asked[2]) or scope.method == "HEAD" or not size_bytes:
        return 0, size_bytes, {"accept-ranges": "bytes"}
    if asked[1]:
        start = int(asked[1])
        end = min(int(asked[2]) if asked[2] else size_bytes, size_bytes - 1)
    else:
        start, end = max(0, size_bytes - int(asked[2])), size_bytes - 1
    if start > end:
        raise Refusal(416, f"The file has {size_bytes} bytes; the range starts at {start}.")
    return start, end - start + 1, {"accept-ranges": "bytes", "content-range": f"bytes {start}-{end}/{size_bytes}"}


def _member_answer(descriptor: int, name: str, member: str) -> Response:
    """A member of a stored zip: media type by its ending, no length and no disposition (8.8)."""
    with ExitStack() as stack:
        archive = _zip(stack, descriptor, name)
        try:
            opened = stack.enter_context(archive.open(member))
        except KeyError as error:
            raise Refusal(404, bare=True) from error
        except _ZIP_DAMAGE as error:
            raise Refusal(415, f"{member} cannot be read from {name}: {error}") from error
        kept = stack.pop_all()

    def pieces() -> Iterator[bytes]:
        with kept:
            while piece := opened.read(PIECE_BYTES):
                yield piece

    return StreamedResponse(pieces(), {"content-type": _media_type(member), **_INERT})


def _contents(descriptor: int, name: str) -> Table:
    with ExitStack() as stack:
        archive = _zip(stack, descriptor, name)
        rows = [{"File Name": one.filename, "Size": str(one.file_size)} for one in archive.infolist()]
    return Table(("File Name", "Size"), rows, title="Files", counted=False, meta=catalogs.FILES_META)


def _zip(stack: ExitStack, descriptor: int, name: str) -> zipfile.ZipFile:
    try:
        return stack.enter_context(zipfile.ZipFile(stack.enter_context(os.fdopen(descriptor, "rb"))))
    except _ZIP_DAMAGE as error:
        raise Refusal(415, f"{name} cannot be read as a zip archive: {error}") from error


def _media_type(name: str) -> str:
    return _MEDIA.get(name.rpartition(".")[2].lower(), "application/octet-stream")


def _disposition(name: str) -> str:
    """An attachment of that name; the semicolon at the end is XNAT's."""
    plain = re.sub(r'[^\x20-\x7e]|["\\]', "_", name)
    extra = "" if plain == name else f" filename*=UTF-8''{quote(name, safe='')};"
    return f'attachment; filename="{plain}";{extra}'


ROUTES: Final[tuple[Route, ...]] = (
    *resource_routes(("GET",), "/resources/{resource}/files/{file*}", read),
    *resource_routes(("GET",), "/files/{file*}", read),
)
