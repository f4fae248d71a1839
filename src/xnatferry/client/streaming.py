"""Bytes of one server's file as a stream that another request can send on: read ahead by a few pieces, never stored."""

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

__all__ = ["relay_stream"]

#: Pieces of at most 1 MiB that wait for the other side.
_AHEAD = 4
_LOOK_EVERY_S = 0.2


class _GoneError(Exception):
    """Nobody reads any more."""


class _Belt:
    """Carries pieces from the thread that fetches to the one that sends."""

    def __init__(self) -> None:
        self._waiting: queue.Queue[bytes | BaseException | None] = queue.Queue(_AHEAD)
        self.gone = threading.Event()

    def put(self, piece: bytes | BaseException | None) -> None:
        while not self.gone.is_set():
            try:
                self._waiting.put(piece, timeout=_LOOK_EVERY_S)
            except queue.Full:
                continue
            return
        raise _GoneError

    def pieces(self) -> Iterator[bytes]:
        while (piece := self._waiting.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            yield piece


def relay_stream(
    receive: Callable[[Callable[[Iterable[bytes]], None]], object], address: Address, held: RemoteFile
) -> Iterator[bytes]:
    """The bytes of a file while they come, proven at the end.

    A thread reads ahead, so that both sides are busy. When the source breaks off it is asked again, and what has passed
    already is skipped.

    Args:
        receive: Calls its argument with the pieces of the file, again from the start after a temporary failure.
        address: The file, for messages.
        held: Its row of the listing: size, and digest where there is one.

    Raises:
        VerifyError: What came is not what is listed.
        RemoteError: The file cannot be fetched.
    """
    belt = _Belt()
    passed = Hasher()

    def take(pieces: Iterable[bytes]) -> None:
        skip = passed.size_bytes
        for piece in pieces:
            fresh = piece[skip:] if skip < len(piece) else b""
            skip = max(0, skip - len(piece))
            if fresh:
                passed.update(fresh)
                belt.put(fresh)

    def fetch() -> None:
        try:
            receive(take)
            outcome: BaseException | None = None
        except BaseException as error:  # noqa: BLE001  # raised again where the pieces are read
            outcome = error.with_traceback(None)
        with suppress(_GoneError):
            belt.put(outcome)

    thread = threading.Thread(target=fetch, name="relay", daemon=True)
    thread.start()
    try:
        yield from belt.pieces()
    finally:
        belt.gone.set()
    if passed.size_bytes != held.size_bytes or (held.digest is not None and passed.digest != held.digest):
        raise VerifyError(
            f"{address}: {passed.size_bytes} bytes with digest {passed.digest} came from the source, "
            f"{held.size_bytes} with {held.digest or 'no digest'} are listed there"
        )
