"""Makes upload requests in the form that XNAT accepts (``FileList.handlePost``)."""

from __future__ import annotations

from secrets import token_hex
from typing import TYPE_CHECKING

from xnatferry.client.http import Body, Request
from xnatferry.errors import UsageError
from xnatferry.xnat.labels import is_plain_name
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.zips import ZipMember, ZipStream

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARCHIVES = {".tar.gz": "application/x-gzip", ".tgz": "application/x-gzip", ".tar": "application/x-tar"} | {
    ".zip": "application/zip"
}


def file_request(
    address: Address,
    body: Body,
    size_bytes: int,
    *,
    overwrite: bool,
    format: str,  # noqa: A002  # XNAT's word
    content: str,
) -> Request:
    """The PUT of one file: in the body of the request, or as a form if it is empty, as a body must not be empty.

    XNAT stores the escapes of a URL, so a name that needs escapes is sent in an archive of one file.
    """
    if not is_plain_name(address.file or ""):
        archive = ZipStream([ZipMember(address.file or "", size_bytes, body)])
        return archive_request(
            address.child(Level.FILE, None),
            lambda: archive,
            archive.size_bytes,
            name="upload.zip",
            overwrite=overwrite,
            format=format,
            content=content,
        )
    query = _query(overwrite=overwrite, format=format, content=content)
    if size_bytes == 0:
        return _form_request(address, query)
    return Request(
        "PUT",
        address.path,
        (("inbody", "true"), *query),
        (("Content-Type", "application/octet-stream"),),
        body,
        size_bytes,
    )


def archive_request(
    address: Address,
    body: Body,
    size_bytes: int,
    *,
    name: str,
    overwrite: bool,
    format: str,  # noqa: A002  # XNAT's word
    content: str,
    tags: str = "",
) -> Request:
    """The PUT of an archive to be extracted.

    XNAT detects an archive by the ending of its name, in lower case; 1.6.4 does not extract a ``.tgz``, and no version
    handles other ``.gz`` files, such as images, correctly.

    Raises:
        UsageError: *name* has no ending of an archive.
    """
    ending = next((known for known in _ARCHIVES if name.lower().endswith(known)), None)
    if ending is None:
        raise UsageError(f"{name}: XNAT extracts only .zip, .tar, .tar.gz and .tgz; use one of these formats")
    sent = f"upload{'.tar.gz' if ending == '.tgz' else ending}"
    query = _query(overwrite=overwrite, format=format, content=content)
    if tags:
        query += (("tags", tags),)
    return Request(
        "PUT",
        address.child(Level.FILE, sent).path,
        (("inbody", "true"), ("extract", "true"), *query),
        (("Content-Type", _ARCHIVES[ending]),),
        body,
        size_bytes,
    )


def _query(*, overwrite: bool, format: str, content: str) -> tuple[tuple[str, str], ...]:  # noqa: A002  # XNAT's word
    # Any value but "false" and "0" counts as true, so a false flag is written out.
    return (
        ("overwrite", "true" if overwrite else "false"),
        *((key, value) for key, value in (("format", format), ("content", content)) if value),
    )


def _form_request(address: Address, query: tuple[tuple[str, str], ...]) -> Request:
    boundary = token_hex(16)
    # The name in the URL counts; the one in the form only has to be there.
    form = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="empty"\r\n'
        f"Content-Type: application/octet-stream\r\n\r\n\r\n--{boundary}--\r\n"
    ).encode("ascii")

    def body() -> Iterator[bytes]:
        yield form

    return Request(
        "PUT",
        address.path,
        query,
        (("Content-Type", f"multipart/form-data; boundary={boundary}"),),
        body,
        len(form),
    )
