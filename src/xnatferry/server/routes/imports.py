"""The import service: what it is asked is checked as on XNAT, and no session is imported (xnat-rest.md 10).

Its handlers make sessions out of DICOM files, or of XNAT's own archives. Data that never was DICOM has no session in it
to be found: files of it are stored by PUT, archives of them with ``extract=true``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xnatferry.server import access
from xnatferry.server.request_scope import Refusal, Route
from xnatferry.server.routes.files import BODY_TYPES
from xnatferry.server.uploads import FormIntake, drain, receive_body, refuse_larger

if TYPE_CHECKING:
    from starlette.responses import Response

    from xnatferry.server.request_scope import Scope

_HANDLERS: Final = {"SI", "DICOM-zip", "gradual-DICOM", "XAR", "inbox", "automation"}
_PRESTORED: Final = re.compile(r"/user/cache/resources/[^/]+/files/.+")


async def import_session(scope: Scope) -> Response:
    """POST /data/services/import: refused, with XNAT's words where it would refuse as well.

    Raises:
        Refusal: 400, not exactly one file, or one that holds no session that this archive could read; 404, no such
            handler or prestored file; 403, a guest; 413, the body is too large.
    """
    try:
        access.require_account(scope)
        fields = {key: scope.query.get(key) for key in ("import-handler", "src") if scope.query.has(key)}
        size = scope.request.headers.get("content-length", "")
        refuse_larger(int(size) if size.isdecimal() else 0, scope.archive.settings.max_upload_bytes)
        is_form = scope.media_type == "multipart/form-data"
        intake = (
            FormIntake(scope.archive.blob_store, scope.request.headers.get("content-type", "")) if is_form else None
        )
    except Refusal:
        await drain(scope.request)
        raise
    if intake is not None:
        try:
            number = len(await receive_body(scope.request, intake, scope.archive.settings.max_upload_bytes))
        finally:
            intake.abandon()
        fields |= intake.fields
    else:
        await drain(scope.request)
        number = int(size != "0" and (scope.query.is_true("inbody") or scope.media_type in BODY_TYPES))
    raise _refusal(fields, number)


def _refusal(fields: dict[str, str], number: int) -> Refusal:
    """Why nothing is imported: *fields* of the request, and how many files came with it."""
    if "src" in fields:
        return (
            Refusal(404, "Unknown src file.")
            if _PRESTORED.fullmatch(fields["src"])
            else Refusal(400, "src uri is invalid.")
        )
    if number > 1:
        return Refusal(400, "Importer is limited to one uploaded resource at a time.")
    if number == 0:
        return Refusal(400, "Unable to identify upload format.")
    if (handler := fields.get("import-handler", "SI")) not in _HANDLERS:
        return Refusal(404, f"Unknown importer {handler}.")
    return Refusal(
        400,
        "No session was found in the upload: this archive reads no DICOM and no XAR. Make the session by PUT, and send "
        "files to .../resources/LABEL/files/NAME, an archive of them with extract=true.",
    )


ROUTES: Final = (Route(("POST",), "/services/import", import_session, archived=False),)
