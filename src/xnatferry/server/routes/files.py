"""Storing and removing files: PUT, POST and DELETE of ``.../files/PATH`` at every level (``FileList``)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, unquote_plus

import anyio.to_thread

from xnatferry.server import access, answers, resources
from xnatferry.server.landing import Arrival, Target
from xnatferry.server.places import holdings, place_of, resource_routes, segment
from xnatferry.server.resources import Described, described_by
from xnatferry.server.scope import Refusal
from xnatferry.server.unpack import BrokenArchiveError, UnsafeArchiveError, format_of, unpack
from xnatferry.server.uploads import BodyIntake, FormIntake, drain, receive_body, refuse_larger, small_body
from xnatferry.server.vault import UnsafeNameError, checked_name
from xnatferry.server.wildcards import fits

if TYPE_CHECKING:
    from starlette.responses import Response

    from xnatferry.server.resources import StoredFile
    from xnatferry.server.scope import Route, Scope
    from xnatferry.server.uploads import Intake
    from xnatferry.server.vault import Staged

__all__ = ["BODY_TYPES", "ROUTES", "stored_name"]

#: Media types that say by themselves that the body is the file, with the ending of a file sent without a name.
BODY_TYPES: Final = {
    "application/dicom": "dcm",
    "application/msword": "doc",
    "application/octet-stream": "bin",
    "application/pdf": "pdf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.ms-powerpoint": "ppt",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/x-gtar": "tar.gz",
    "application/x-gzip": "gz",
    "application/x-tar": "tar",
    "application/xar": "xar",
    "application/zip": "zip",
    "image/bmp": "bmp",
    "image/gif": "gif",
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/svg+xml": "svg",
    "image/tiff": "tiff",
    "image/x-icon": "ico",
    "text/csv": "csv",
    "text/plain": "txt",
    "text/xml": "xml",
    "video/avi": "avi",
    "video/mp4": "mp4",
    "video/mpeg": "mpeg",
    "video/quicktime": "mov",
    "video/x-ms-wmv": "wmv",
}
_IN_FORM: Final = (
    "In-body File posts must include the file directly as the body of the message "
    "(not as part of multi-part form data)."
)
_NO_BODY: Final = "In-body File posts must include the file directly as the body of the message."
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
        data = None if is_form else await small_body(scope.request)
        if data is not None:
            return await anyio.to_thread.run_sync(_store_small, scope, data)
        wanted = await anyio.to_thread.run_sync(_wanted, scope)
        intake: Intake = (
            FormIntake(scope.archive.vault, scope.request.headers.get("content-type", ""))
            if is_form
            else BodyIntake(scope.archive.vault)
        )
    except (Refusal, UnsafeNameError):
        await drain(scope.request)
        raise
    staged = await receive_body(scope.request, intake, scope.archive.settings.max_upload_bytes)
    if isinstance(intake, FormIntake):
        _refuse_form(scope, intake, staged)
    return await anyio.to_thread.run_sync(_store, scope, wanted, staged)


def _is_form(scope: Scope) -> bool:
    """Whether the body is a form; otherwise it must be the file itself.

    Raises:
        Refusal: It is too large (413), neither (400), both (406), or empty or of unknown length (500, as XNAT says it).
    """
    size = scope.request.headers.get("content-length", "")
    inbody = scope.query.is_true("inbody")
    if scope.query.has("reference"):
        raise Refusal(400, "This archive does not take files from its own disk: send the bytes instead of reference=.")
    refuse_larger(int(size) if size.isdecimal() else 0, scope.archive.settings.max_upload_bytes)
    if scope.media_type == "multipart/form-data":
        if inbody:
            raise Refusal(406, _IN_FORM)
        return True
    if inbody or scope.media_type in BODY_TYPES:
        if size in {"", "0"} and (scope.media_type != "application/zip" or size):
            raise Refusal(500, _NO_BODY)
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
        place = place_of(connection, scope)
        access.require_edit(connection, scope, place.only.project)
    query = scope.query
    label = segment(scope)
    if label is not None and not label.isdecimal():
        resources.refuse_label(label)
    return _Wanted(
        Target(place.only, place.direction, label),
        stored_name(scope.raw_params.get("file", "")),
        described_by(query),
        extract=query.is_true("extract"),
        overwrite=query.is_true("overwrite"),
        update_stats=not query.has("update-stats") or query.get("update-stats").lower() in {"true", "1"},
    )


def stored_name(raw: str) -> str:
    """The name under which XNAT keeps a file that is sent to *raw*, the rest of a path as it was sent.

    It is decoded, as a form is, only when it holds ``%20`` or ``%2B``; any other escape stays in the name (8.2).

    Raises:
        Refusal: 500, the name is one of XNAT's own.
        UnsafeNameError: The name would leave the resource.
    """
    name = unquote_plus(raw, errors="surrogateescape") if "%20" in raw or "%2B" in raw else raw
    if name.rstrip("/"):
        checked_name(name.rstrip("/"))
        checked_name(unquote(name.rstrip("/"), errors="surrogateescape").replace("%", "_"))
    _refuse_catalog(name)
    return name


def _refuse_catalog(name: str) -> None:
    if name.endswith("_catalog.xml"):
        raise Refusal(500, f"XNAT cannot catalog {name}: names ending in _catalog.xml are kept for catalogs.")


def _store_small(scope: Scope, data: bytes) -> Response:
    wanted = _wanted(scope)
    with scope.archive.vault.receive() as receiver:
        receiver.write(data)
        staged = receiver.finish()
    return _store(scope, wanted, [("", staged)])


def _refuse_form(scope: Scope, intake: FormIntake, staged: list[tuple[str, Staged]]) -> None:
    """Refuse a form without files; XNAT takes ``reference`` for a path on its own disk."""
    if "reference" in intake.fields:
        intake.abandon()
        raise Refusal(400, "This archive does not take files from its own disk: send the bytes instead of reference=.")
    if not staged:
        size = scope.request.headers.get("content-length", "")
        shown = _shown_size(int(size)) if size.isdecimal() else "unknown size"
        raise Refusal(400, _NO_DATA.format(method=scope.method, size=shown))


def _store(scope: Scope, wanted: _Wanted, staged: list[tuple[str, Staged]]) -> Response:
    """Unpack what is to be unpacked, store it, and say what was there already."""
    arrivals: list[Arrival] = []
    landing = scope.archive.landing
    try:
        for given, one in staged:
            arrivals += _arrivals(scope, wanted, given, one)
    except BaseException:
        scope.archive.vault.discard(arrival.staged for arrival in arrivals)
        scope.archive.vault.discard(one for _, one in staged)
        raise
    duplicates = landing.store(
        wanted.target,
        arrivals,
        wanted.described,
        scope.user_name,
        overwrite=wanted.overwrite,
        update_stats=wanted.update_stats,
    )
    if not duplicates:
        return answers.empty()
    body = json.dumps({"duplicates": duplicates}, ensure_ascii=False, separators=(",", ":"))
    return answers.text(body, media="text/html")


def _arrivals(scope: Scope, wanted: _Wanted, given: str, staged: Staged) -> list[Arrival]:
    """What one file of a request becomes: itself, or the members of the archive that it is."""
    name = wanted.name or given or f"upload.{BODY_TYPES.get(scope.media_type, 'unsupported')}"
    if name.endswith("/"):
        name += given
    kind = format_of(name) if wanted.extract else None
    if kind is None:
        _refuse_catalog(name)
        checked_name(name)
        return [Arrival(name, staged)]
    try:
        members = unpack(staged, kind, scope.archive.vault, scope.archive.settings.limits, name.rpartition("/")[2])
    except UnsafeArchiveError as error:
        raise Refusal(400, f"Nothing was stored: {error}.") from error
    except BrokenArchiveError as error:
        raise Refusal(500, f"Nothing was stored: {error}.") from error
    scope.archive.vault.discard(staged)
    # XNAT unpacks such members and never lists them: they would stand where it keeps its own catalogs.
    scope.archive.vault.discard(one for member, one in members if member.endswith("_catalog.xml"))
    return [Arrival(member, one) for member, one in members if not member.endswith("_catalog.xml")]


def remove(scope: Scope) -> Response:
    """Remove files: one by its exact name, a folder by its name and ``/``, more by a trailing ``*`` (8.9).

    Without a path all files of the resource go. XNAT 1.8 also removes what merely starts with the path; here ``sub-1``
    does not take ``sub-10`` with it.
    """
    raw = scope.raw_params.get("file", "")
    with scope.archive.database.read() as connection:
        place = place_of(connection, scope)
        item = place.only
        access.require_delete(connection, scope, item.project)
        held = holdings(connection, place, segment(scope))
        if not held or not (raw or segment(scope)):
            raise Refusal(400, "Unable to determine resource, parent, or security.")
        files = list(resources.files_of(connection, [one.resource for one in held]))
    found = _matching(files, raw)
    if not found:
        if scope.query.is_true("accept-not-found"):
            return answers.empty(204)
        raise Refusal(404, "No matched files")
    scope.archive.landing.remove_files(item, found, keep_bytes=scope.query.is_false("removeFiles"))
    return answers.empty()


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
