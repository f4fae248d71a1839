"""Streams a file of one server into a request to another; a few pieces are read in advance, nothing is stored."""

from __future__ import annotations

import queue
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from xnatferry.errors import VerifyError
from xnatferry.xnat.digest import Hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from xnatferry.xnat.model import Address
    from xnatferry.xnat.records import RemoteFile

#: Pieces of at most 1 MiB that are read in advance.
_AHEAD = 4
_POLL_S = 0.2


class _ReaderClosedError(Exception):
    """The reader has stopped."""


class _PieceQueue:
    """Passes pieces from the reading thread to the sending thread."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self.closed = threading.Event()

    def put(self, piece: bytes | BaseException | None) -> None:
        while not self.closed.is_set():
            try:
                self._waiting.put(piece, timeout=_POLL_S)
            except queue.Full:
                continue
            return
        raise _ReaderClosedError

    def pieces(self) -> Iterator[bytes]:
        while (piece := self._waiting.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece


def relay_stream(
    receive: Callable[[Callable[[Iterable[bytes]], None]], object], address: Address, held: RemoteFile
) -> Iterator[bytes]:
    """The bytes of a file as they are read, verified at the end.

    A thread reads in advance. When the connection to the source is lost, the file is requested again, and the bytes
    that were already passed on are skipped.

    Args:
        receive: Calls its argument with the pieces of the file, again from the start after a temporary failure.
        address: The file, for messages.
        held: Its row of the listing: size, and digest where there is one.

    Raises:
        VerifyError: The bytes differ from the listing.
        RemoteError: The file cannot be fetched.
    """
    pieces_queue = _PieceQueue()
    passed = Hasher()

    def take(pieces: Iterable[bytes]) -> None:
        skip = passed.size_bytes
        for piece in pieces:
            fresh = piece[skip:] if skip < len(piece) else b""
            skip = max(0, skip - len(piece))
            if fresh:
                passed.update(fresh)
                pieces_queue.put(fresh)

    def fetch() -> None:
        try:
            receive(take)
            outcome: BaseException | None = None
        except BaseException as error:  # noqa: BLE001  # raised again where the pieces are read
            outcome = error.with_traceback(None)
        with suppress(_ReaderClosedError):
            pieces_queue.put(outcome)

    thread = threading.Thread(target=fetch, name="relay", daemon=True)
    thread.start()
    try:
        yield from pieces_queue.pieces()
    finally:
        pieces_queue.closed.set()
    if passed.size_bytes != held.size_bytes or (held.digest is not None and passed.digest != held.digest):
        raise VerifyError(
            f"{address}: received {passed.size_bytes} bytes with MD5 {passed.digest} from the source, but it lists "
            f"{held.size_bytes} bytes with {f'MD5 {held.digest}' if held.digest else 'no MD5'}"
        )
