"""MD5 digests, as XNAT uses them (``CatalogUtils.calculateResourceChecksums``)."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

#: Read and send in pieces of this many bytes: 1 MiB was the fastest measured.
PIECE_BYTES: Final = 1 << 20

_MD5 = re.compile(r"[0-9a-f]{32}")


class Hasher:
    """Counts and hashes bytes."""

    __slots__ = ("_md5", "size_bytes")

    def __init__(self) -> None:
        self._md5 = hashlib.md5(usedforsecurity=False)
        self.size_bytes = 0

    def update(self, piece: bytes | memoryview) -> None:
        """Add the next piece."""
        self._md5.update(piece)
        self.size_bytes += len(piece)

    @property
    def digest(self) -> str:
        """MD5 of all bytes so far, 32 lower-case hex digits."""
        return self._md5.hexdigest()


def digest_of(pieces: Iterable[bytes]) -> str:
    """MD5 of *pieces* put together."""
    hasher = Hasher()
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest


def digest_of_file(path: Path) -> str:
    """MD5 of the file at *path*.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb", buffering=0) as stream:
        return digest_of(iter(lambda: stream.read(PIECE_BYTES), b""))


def held_back(pieces: Iterable[bytes], check: Callable[[], None]) -> Iterator[bytes]:
    """Yield *pieces*, the last one only after *check*, which raises if the file has changed.

    So a server never gets a file that changed while it was read.
    """
    held = b""
    for piece in pieces:
        if held:
            yield held
        held = piece
    check()
    if held:
        yield held


def normal_digest(text: str | None) -> str | None:
    """Return *text* as a lower-case MD5, or None when it is none (servers list an empty string without checksums)."""
    text = (text or "").strip().lower()
    return text if _MD5.fullmatch(text) else None
