"""Receives request bodies: one file as the body itself, or the file parts of a form.

Bodies are read piece by piece; the pieces are hashed and written in a worker thread while the next ones arrive, so
memory stays constant whatever the size. An interrupted upload leaves no files.
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Protocol

import anyio.to_thread
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from xnatferry.server.blob_store import StorageFullError
from xnatferry.server.request_scope import Refusal
from xnatferry.xnat.digest import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

    from xnatferry.server.blob_store import BlobStore, StagedFile

_SMALL_BYTES: Final = 256 << 10
_DRAINED_BYTES: Final = 16 << 20
_FIELD_BYTES: Final = 64 << 10
_PART_HEAD_BYTES: Final = 16 << 10
_PARTS: Final = 10_000


class Intake(Protocol):
    """Takes in a body. ``write`` and what follows block, and are called from one thread at a time."""

    def write(self, piece: bytes) -> None:
        """Take the next piece."""

    def finish(self) -> list[tuple[str, StagedFile]]:
        """File name as the client gave it ("" for a plain body) and staged file of each file, all durable."""

    def abandon(self) -> None:
        """Remove everything; after `finish` too, when what was staged is not wanted."""


class BodyIntake:
    """The body is one file."""

    def __init__(self, blob_store: BlobStore) -> None:
        self._file = _Incoming(blob_store, "")

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        self._file.write(piece)

    def finish(self) -> list[tuple[str, StagedFile]]:
        """The one file, without a name."""
        return [self._file.finish()]

    def abandon(self) -> None:
        """Remove what was written."""
        self._file.close()


class _Incoming:
    """A file that is being received, for callers that cannot stay in a ``with`` block."""

    def __init__(self, blob_store: BlobStore, name: str) -> None:
        self._name = name
        self._stack = ExitStack()
        self._receiver = self._stack.enter_context(blob_store.receive())

    def write(self, piece: bytes | memoryview) -> None:
        with self._watched():
            self._receiver.write(piece)

    def finish(self) -> tuple[str, StagedFile]:
        with self._watched():
            staged = self._receiver.finish()
        self._stack.close()
        return self._name, staged

    def close(self) -> None:
        self._stack.close()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """Let the blob store handle an error: it removes the file and reports a full disk."""
        try:
            yield
        except BaseException as error:
            self._stack.__exit__(type(error), error, error.__traceback__)
            raise


class FormIntake:
    """The body is ``multipart/form-data``: every part with a file name is a file.

    Attributes:
        fields: Values of the other parts, by their names.

    Raises:
        Refusal: 400, the body is no such form.
    """

    def __init__(self, blob_store: BlobStore, content_type: str) -> None:
        _, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if not boundary:
            raise Refusal(400, "The multipart/form-data body has no boundary in its Content-Type.")
        self.fields: dict[str, str] = {}
        self._blob_store = blob_store
        self._staged: list[tuple[str, StagedFile]] = []
        self._file: _Incoming | None = None
        self._header = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._field = ""
        self._text = bytearray()
        self._parts = self._head_bytes = 0
        self._ended = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._take_header,
                    "on_header_value": self._take_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._open_part,
                    "on_part_data": self._take_data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise Refusal(400, f"The multipart/form-data body cannot be read: {error}") from error

    def write(self, piece: bytes) -> None:
        """Parse the next piece; file content is written to the blob store."""
        try:
            self._parser.write(piece)
        except FormParserError as error:
            raise Refusal(400, f"The multipart/form-data body cannot be read: {error}") from error

    def finish(self) -> list[tuple[str, StagedFile]]:
        """The files, in the order of the form."""
        if not self._ended:
            raise Refusal(400, "The multipart/form-data body ends before its closing boundary.")
        return self._staged

    def abandon(self) -> None:
        """Remove what was written."""
        if self._file is not None:
            self._file.close()
        self._blob_store.discard(staged for _, staged in self._staged)

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise Refusal(413, f"A form may have at most {_PARTS} parts; send many files as one archive.")
        self._head_bytes = 0
        self._headers = {}
        self._text = bytearray()

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._count_head(end - start)
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._count_head(end - start)
        self._value += data[start:end]

    def _count_head(self, size_bytes: int) -> None:
        self._head_bytes += size_bytes
        if self._head_bytes > _PART_HEAD_BYTES:
            raise Refusal(413, f"The head of a form's part may have at most {_PART_HEAD_BYTES} bytes.")

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header = self._value = b""

    def _open_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        name = options.get(b"filename")
        if name is None:
            return
        # Of a path, such as old browsers send (C:\data\x.nii), XNAT keeps the last part (recorded).
        base = name.decode("utf-8", "replace").rpartition("\\")[2].rpartition("/")[2]
        self._file = _Incoming(self._blob_store, base)

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])
        elif len(self._text) + end - start > _FIELD_BYTES:
            raise Refusal(
                413, f"A form field may have at most {_FIELD_BYTES} bytes; send files as parts with a filename."
            )
        else:
            self._text += data[start:end]

    def _end_part(self) -> None:
        if self._file is None:
            self.fields[self._field] = self._text.decode("utf-8", "replace")
            return
        self._staged.append(self._file.finish())
        self._file = None

    def _end(self) -> None:
        self._ended = True


async def receive_body(
    request: Request,
    intake: Intake,
    limit_bytes: int,
    broken: Callable[[list[tuple[str, StagedFile]]], None] | None = None,
) -> list[tuple[str, StagedFile]]:
    """Read the whole body into *intake*; returns what it staged.

    Args:
        request: The request.
        intake: What takes the body in.
        limit_bytes: Most bytes that a body may have.
        broken: Takes what had come when the client broke off; without it nothing is left then.

    Raises:
        Refusal: 413, the body has more than *limit_bytes*.
        ClientDisconnect: The client broke off.
    """
    loop = asyncio.get_running_loop()
    stream = request.stream()
    writing: asyncio.Future[None] | None = None
    pieces: list[bytes] = []
    size = total = 0
    try:
        async for piece in stream:
            pieces.append(piece)
            size += len(piece)
            total += len(piece)
            refuse_larger(total, limit_bytes)
            if size >= PIECE_BYTES:
                if writing is not None:
                    await writing
                writing = loop.run_in_executor(None, intake.write, b"".join(pieces))
                pieces, size = [], 0
        if writing is not None:
            await writing
        return await anyio.to_thread.run_sync(_finish, intake, b"".join(pieces))
    except BaseException as error:
        if writing is not None and not writing.done():
            await asyncio.wait([writing])
        if broken is not None and isinstance(error, ClientDisconnect):
            staged = await anyio.to_thread.run_sync(_finish, intake, b"".join(pieces))
            await anyio.to_thread.run_sync(broken, staged)
            raise
        intake.abandon()
        if isinstance(error, Refusal | StorageFullError):
            await drain(request, stream)
        raise


def refuse_larger(size_bytes: int, limit_bytes: int) -> None:
    """Refuse a body of more than *limit_bytes* (413)."""
    if size_bytes > limit_bytes:
        raise Refusal(413, f"An upload may have at most {limit_bytes} bytes.")


def _finish(intake: Intake, rest: bytes) -> list[tuple[str, StagedFile]]:
    if rest:
        intake.write(rest)
    return intake.finish()


async def small_body(request: Request) -> bytes | None:
    """The body, when it is announced as a small one; None leaves it unread."""
    length = request.headers.get("content-length", "")
    if not length.isdecimal() or int(length) > _SMALL_BYTES:
        return None
    return await request.body()


async def drain(request: Request, stream: AsyncIterator[bytes] | None = None) -> None:
    """Read the rest of the body for a while: some clients read a response only after their last byte.

    *stream* is what is being read already, None for a body of which nothing has been read.
    """
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > _DRAINED_BYTES:
        return
    left = _DRAINED_BYTES
    async for piece in stream or request.stream():
        left -= len(piece)
        if left < 0:
            return
