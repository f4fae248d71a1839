"""Storing and removing files: PUT, POST and DELETE of ``.../files/PATH`` at every level (``FileList``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_plus

import anyio.to_thread

from xnatferry.server import access, catalogs, objects, resources, responses
from xnatferry.server.blob_store import UnsafeNameError, checked_name
from xnatferry.server.file_store import IncomingFile, Target
from xnatferry.server.request_scope import Refusal
from xnatferry.server.resource_paths import container_of, resource_routes, resources_by_container, segment
from xnatferry.server.resources import Described, described_by
from xnatferry.server.unpack import BrokenArchiveError, UnsafeArchiveError, format_of, unpack
from xnatferry.server.uploads import BodyIntake, FormIntake, drain, receive_body, refuse_larger, small_body
from xnatferry.server.wildcards import fits
from xnatferry.server.xnat_tables import XNAT_TABLES

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

    from starlette.responses import Response

    from xnatferry.server.blob_store import StagedFile
    from xnatferry.server.request_scope import Route, Scope
    from xnatferry.server.resources import Resource, StoredFile
    from xnatferry.server.uploads import Intake

BODY_TYPES: Final[Mapping[str, str]] = XNAT_TABLES["body_types"]
_NO_BODY: Final = (
    "In-body File posts must include the file directly as the body of the message. In this case, the request entity "
    "size is {size} but the media type is not application/zip (i.e. streaming compressed upload)."
)
_NO_TYPE: Final = (
    'Cannot invoke "org.restlet.data.MediaType.equals(Object)" because the return value of '
    '"org.restlet.resource.Representation.getMediaType()" is null'
)
_NO_DATA: Final = (
    "You tried to {method} a payload of {size} to this service, but didn't provide any data. If you think you sent "
    "data to upload, you can try to {method} with the query-string parameter inbody=true or use multipart/form-data "
    "encoding."
)
_NOTHING: Final = (
    "You tried to {method} to this service, but didn't provide any data (found request entity size of 0). "
    "Please check the format of your service request."
)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What an upload asks for.

    Attributes:
        target: Where it goes.
        name: Name in the address, "" when it has none.
        described: Format, content, tags, description.
        extract: Whether archives are to be unpacked.
        overwrite: Whether files that are there are replaced.
        update_stats: Whether the listed counts of the resource follow.
    """

    target: Target
    name: str
    described: Described
    extract: bool
    overwrite: bool
    update_stats: bool


async def upload(scope: Scope) -> Response:
    """Store what the body holds; 200 with an empty body, or with the names that were there already (8.4)."""
    try:
        is_form = _is_form(scope)
        strict = scope.archive.settings.strict
        # What breaks off within a small body cannot be told from nothing.
        data = None if is_form or strict else await small_body(scope.request)
        if data is not None:
            return await anyio.to_thread.run_sync(_store_small, scope, data)
        wanted = await anyio.to_thread.run_sync(_wanted, scope)
        intake: Intake = (
            FormIntake(scope.archive.blob_store, scope.request.headers.get("content-type", ""))
            if is_form
            else BodyIntake(scope.archive.blob_store)
        )
    except _Unstored:
        await drain(scope.request)
        return responses.empty()
    except (Refusal, UnsafeNameError):
        await drain(scope.request)
        raise
    kept = partial(_leave, scope, wanted) if strict and not (is_form or wanted.extract) else None
    staged = await receive_body(scope.request, intake, scope.archive.settings.max_upload_bytes, kept)
    if isinstance(intake, FormIntake):
        _refuse_form(scope, intake, staged)
    return await anyio.to_thread.run_sync(_store, scope, wanted, staged)


class _Unstored(Exception):  # noqa: N818  an answer
    """XNAT answers 200 and stores nothing."""


def _leave(scope: Scope, wanted: _Wanted, staged: list[tuple[str, StagedFile]]) -> None:
    """Leave what had come of an upload where it would be: XNAT writes into the file itself."""
    for _, one in staged:
        scope.archive.file_store.leave(wanted.target, wanted.name, one, scope.user_name)


def _is_form(scope: Scope) -> bool:
    """Whether the body is a form; otherwise it must be the file itself.

    Raises:
        Refusal: It is too large (413), neither or both (400), or empty or of unknown length (500, as XNAT says it).
    """
    size = scope.request.headers.get("content-length", "")
    inbody = scope.query.is_true("inbody")
    if scope.query.has("reference"):
        raise Refusal(400, "This archive does not read files from its own disk. Send the bytes instead of reference=.")
    refuse_larger(int(size) if size.isdecimal() else 0, scope.archive.settings.max_upload_bytes)
    if scope.media_type == "multipart/form-data":
        if inbody:
            shown = _shown_size(int(size)) if size.isdecimal() else "unknown size"
            raise Refusal(400, _NO_DATA.format(method=scope.method, size=shown))
        return True
    if inbody or scope.media_type in BODY_TYPES:
        if size in {"", "0"} and (scope.media_type != "application/zip" or size):
            raise Refusal(500, _NO_BODY.format(size=size or -1) if scope.media_type else _NO_TYPE)
        return False
    if size in {"", "0"}:
        raise Refusal(400, _NOTHING.format(method=scope.method))
    raise Refusal(400, _NO_DATA.format(method=scope.method, size=_shown_size(int(size))))


def _wanted(scope: Scope) -> _Wanted:
    """Read the address and the query.

    Raises:
        Refusal: 404, no such place; 403, not allowed; 400 or 500, the name is refused.
    """
    with scope.archive.database.read() as connection:
        if scope.archive.settings.strict and _is_unstored(connection, scope):
            raise _Unstored
        container = container_of(connection, scope)
        access.require_edit(connection, scope, container.only.project)
    query = scope.query
    label = segment(scope)
    if label is not None and not label.isdecimal():
        resources.refuse_label(label)
    return _Wanted(
        Target(container.only, container.direction, label),
        stored_name(scope.raw_params.get("file", "")),
        described_by(query),
        extract=query.is_true("extract"),
        overwrite=query.is_true("overwrite"),
        update_stats=not query.has("update-stats") or query.get("update-stats").lower() in {"true", "1"},
    )


def _is_unstored(connection: sqlite3.Connection, scope: Scope) -> bool:
    """Whether a file is for a project that can be seen and not be changed: 200 on XNAT, and nothing is stored."""
    project = objects.find_project(connection, scope.params.get("project", ""))
    return (
        project is not None
        and scope.params.keys() <= {"project", "resource", "file"}
        and access.may_see(connection, scope.account, project.id)
        and not access.may_edit(connection, scope.account, project.id)
    )


def stored_name(raw: str) -> str:
    """The name under which XNAT keeps a file that is sent to *raw*, the rest of a path as it was sent.

    It is decoded, as a form is, only when it holds ``%20`` or ``%2B``; any other escape stays in the name (8.2).

    Raises:
        UnsafeNameError: The name would leave the resource.
    """
    name = unquote_plus(raw, errors="surrogateescape") if "%20" in raw or "%2B" in raw else raw
    if name.rstrip("/"):
        checked_name(name.rstrip("/"))
        checked_name(unquote(name.rstrip("/"), errors="surrogateescape").replace("%", "_"))
    return name


def _store_small(scope: Scope, data: bytes) -> Response:
    wanted = _wanted(scope)
    with scope.archive.blob_store.receive() as receiver:
        receiver.write(data)
        staged = receiver.finish()
    return _store(scope, wanted, [("", staged)])


def _refuse_form(scope: Scope, intake: FormIntake, staged: list[tuple[str, StagedFile]]) -> None:
    """Refuse a form without files; XNAT takes ``reference`` for a path on its own disk."""
    if "reference" in intake.fields:
        intake.abandon()
        raise Refusal(400, "This archive does not read files from its own disk. Send the bytes instead of reference=.")
    if not staged:
        size = scope.request.headers.get("content-length", "")
        shown = _shown_size(int(size)) if size.isdecimal() else "unknown size"
        raise Refusal(400, _NO_DATA.format(method=scope.method, size=shown))


def _store(scope: Scope, wanted: _Wanted, staged: list[tuple[str, StagedFile]]) -> Response:
    """Unpack what is to be unpacked, store it, and say what was there already."""
    incoming: list[IncomingFile] = []
    file_store = scope.archive.file_store
    try:
        for given, one in staged:
            incoming += _arrivals(scope, wanted, given, one)
    except BaseException:
        scope.archive.blob_store.discard(arrival.staged for arrival in incoming)
        scope.archive.blob_store.discard(one for _, one in staged)
        raise
    is_new = _named(scope, wanted.target) is None
    duplicates = file_store.store(
        wanted.target,
        incoming,
        wanted.described,
        scope.user_name,
        overwrite=wanted.overwrite,
        update_stats=wanted.update_stats,
    )
    if (is_new or (duplicates and scope.archive.settings.strict)) and (made := _named(scope, wanted.target)):
        catalogs.list_leftovers(scope.archive, made, scope.user_name)
    if not duplicates:
        return responses.empty()
    body = json.dumps({"duplicates": duplicates}, ensure_ascii=False, separators=(",", ":"))
    return responses.text(body, media="text/html")


def _named(scope: Scope, target: Target) -> Resource | None:
    with scope.archive.database.read() as connection:
        return resources.named(connection, target.item, target.direction, target.resource or "")


def _arrivals(scope: Scope, wanted: _Wanted, given: str, staged: StagedFile) -> list[IncomingFile]:
    """What one file of a request becomes: itself, or the members of the archive that it is."""
    name = wanted.name or given or f"upload.{BODY_TYPES.get(scope.media_type, 'unsupported')}"
    if name.endswith("/"):
        name += given
    kind = format_of(name) if wanted.extract else None
    if kind is None:
        checked_name(name)
        return [IncomingFile(name, staged)]
    try:
        members = unpack(staged, kind, scope.archive.blob_store, scope.archive.settings.limits, name.rpartition("/")[2])
    except UnsafeArchiveError as error:
        raise Refusal(400, f"Nothing was stored: {error}.") from error
    except BrokenArchiveError as error:
        if scope.archive.settings.strict and kind == "zip":
            scope.archive.blob_store.discard(staged)
            return []
        raise Refusal(500, f"Nothing was stored: {error}.") from error
    scope.archive.blob_store.discard(staged)
    # XNAT unpacks such members and never lists them: they would stand where it keeps its own catalogs.
    scope.archive.blob_store.discard(one for member, one in members if member.endswith("_catalog.xml"))
    return [IncomingFile(member, one) for member, one in members if not member.endswith("_catalog.xml")]


def remove(scope: Scope) -> Response:
    """Remove files: one by its exact name, a folder by its name and ``/``, more by a trailing ``*`` (8.9).

    Without a path all files of the resource go. XNAT 1.8 also removes what merely starts with the path; here ``sub-1``
    does not take ``sub-10`` with it.
    """
    raw = scope.raw_params.get("file", "")
    with scope.archive.database.read() as connection:
        container = container_of(connection, scope)
        item = container.only
        access.require_delete(connection, scope, item.project)
        held = resources_by_container(connection, container, segment(scope))
        if not held or not (raw or segment(scope)):
            raise Refusal(400, "Unable to determine resource, parent, or security.")
        files = list(resources.files_of(connection, [one.resource for one in held]))
    strict = scope.archive.settings.strict
    found = _beginning(files, stored_name(raw)) if strict else _matching(files, raw)
    if not found:
        if scope.query.is_true("accept-not-found"):
            return responses.empty(204)
        raise Refusal(404, "No matched files")
    scope.archive.file_store.remove_files(item, found, keep_bytes=scope.query.is_false("removeFiles"))
    return responses.empty()


def _beginning(files: list[StoredFile], name: str) -> list[StoredFile]:
    """The files that XNAT takes *name* for: all whose path begins so (``findCatEntriesWithinPath``)."""
    pattern = name.split("*")
    return [file for file in files if file.name.startswith(name) or (not pattern[-1] and fits(file.name, pattern))]


def _matching(files: list[StoredFile], raw: str) -> list[StoredFile]:
    """The files that *raw*, the rest of a path as it was sent, means."""
    for name in dict.fromkeys((raw, unquote(raw), unquote_plus(raw))):
        if name.endswith("*"):
            found = [file for file in files if fits(file.name, name.split("*"))]
        elif not name or name.endswith("/"):
            found = [file for file in files if file.name.startswith(name)]
        else:
            found = [file for file in files if file.name == name]
        if found:
            return found
    return []


def _shown_size(size_bytes: int) -> str:
    """A size as XNAT words it: ``5 B``, ``1 KB``."""
    for unit in ("B", "KB", "MB"):
        if size_bytes < 1024:
            return f"{size_bytes} {unit}"
        size_bytes //= 1024
    return f"{size_bytes} GB"


ROUTES: Final[tuple[Route, ...]] = (
    *resource_routes(("PUT", "POST"), "/resources/{resource}/files/{file*}", upload),
    *resource_routes(("PUT", "POST"), "/files/{file*}", upload),
    *resource_routes(("DELETE",), "/resources/{resource}/files/{file*}", remove),
    *resource_routes(("DELETE",), "/files/{file*}", remove),
)
