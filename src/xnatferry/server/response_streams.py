"""Streamed response bodies: files, ranges of files, and archives created while they are sent."""

from __future__ import annotations

import os
import tarfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from xnatferry.xnat.digest import PIECE_BYTES
from xnatferry.xnat.zips import ZipMember, ZipStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

_CHECK_EVERY: Final = 16
_TAR_BLOCK: Final = 512


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file on its way into an archive.

    Attributes:
        name: Its path in the archive.
        path: Where its bytes are.
        size_bytes: Its length.
    """

    name: str
    path: Path
    size_bytes: int


class StreamedResponse(Response):
    """An answer whose body is made in a worker thread, about 1 MiB at a time, while it is sent.

    Args:
        pieces: The body; closed when it has been sent or the client is gone.
        headers: All headers; with ``content-length`` where the length is known, so that a cut is noticed.
        status: HTTP status.
    """

    def __init__(self, pieces: Iterator[bytes], headers: Mapping[str, str], status: int = 200) -> None:
        super().__init__(None, status, headers)
        if "content-length" not in headers:
            del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (the ASGI interface)."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        request = Request(scope, receive)
        try:
            if scope["method"] != "HEAD":
                await self._send_body(request, send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            close = getattr(self._pieces, "close", None)
            if close is not None:
                await anyio.to_thread.run_sync(close)

    async def _send_body(self, request: Request, send: Send) -> None:
        number = 0
        while piece := await anyio.to_thread.run_sync(_gathered, self._pieces):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            number += 1
            # The server drops what is sent to a client that has gone, so somebody must ask.
            if number % _CHECK_EVERY == 0 and await request.is_disconnected():
                return


def _gathered(pieces: Iterator[bytes]) -> bytes:
    """The next pieces, about 1 MiB of them; empty at the end."""
    found: list[bytes] = []
    size = 0
    for piece in pieces:
        found.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            break
    return found[0] if len(found) == 1 else b"".join(found)


def file_pieces(descriptor: int, start: int, size_bytes: int) -> Iterator[bytes]:
    """Yield *size_bytes* from *start* on of an open file, and close it.

    Raises:
        OSError: While iterating, when the file has become shorter; the client notices the truncated response.
    """
    try:
        while size_bytes:
            piece = os.pread(descriptor, min(PIECE_BYTES, size_bytes), start)
            if not piece:
                raise OSError("the file became shorter while it was sent")
            start += len(piece)
            size_bytes -= len(piece)
            yield piece
    finally:
        os.close(descriptor)


def packed(files: Sequence[PackedFile], kind: str) -> tuple[Iterator[bytes], int | None]:
    """An archive of *files* as a stream, and its exact length where that is known.

    Args:
        files: The members; names must be unique.
        kind: ``zip``, ``tar`` or ``tar.gz``.
    """
    if kind == "zip":
        stream = ZipStream([ZipMember(file.name, file.size_bytes, _opener(file)) for file in files])
        return iter(stream), stream.size_bytes
    if kind == "tar":
        return _tar(files), None
    return _gzipped(_tar(files)), None


def _opener(file: PackedFile) -> Callable[[], Iterable[bytes]]:
    return lambda: file_pieces(os.open(file.path, os.O_RDONLY), 0, file.size_bytes)


def _tar(files: Sequence[PackedFile]) -> Iterator[bytes]:
    for file in files:
        member = tarfile.TarInfo(file.name)
        member.size = file.size_bytes
        yield member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        yield from _opener(file)()
        yield bytes(-file.size_bytes % _TAR_BLOCK)
    yield bytes(2 * _TAR_BLOCK)


def _gzipped(pieces: Iterator[bytes]) -> Iterator[bytes]:
    deflate = zlib.compressobj(level=1, wbits=31)
    for piece in pieces:
        if data := deflate.compress(piece):
            yield data
    yield deflate.flush()
