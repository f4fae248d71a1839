"""Reads a zip archive from a stream, member by member, in bounded memory (APPNOTE 6.3).

XNAT writes zips as a stream: members are stored or deflated, with their sizes before or after the data. A stored member
with its size after the data cannot be read from a stream and is refused.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from xnatferry.xnat.digest import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_LOCAL = struct.Struct("<4s5H3I2H")
_MEMBER, _DIRECTORY, _END, _END64 = b"PK\3\4", b"PK\1\2", b"PK\5\6", b"PK\6\6"
_DESCRIPTOR = b"PK\7\x08"
_SIZES_FOLLOW, _ENCRYPTED = 0x8, 0x1
_STORED, _DEFLATED = 0, 8
_LIMIT32 = 0xFFFFFFFF


class ZipFormatError(ValueError):
    """The data is not a zip archive, is damaged, or cannot be read from a stream."""


def zip_members(pieces: Iterable[bytes]) -> Iterator[tuple[str, Iterator[bytes]]]:
    """Yield each file of an archive with its bytes; bytes of a member that the caller does not read are skipped.

    Args:
        pieces: The archive.

    Raises:
        ZipFormatError: It is not a zip, is damaged or incomplete, or the checksum of a member is wrong.
    """
    source = _Source(pieces)
    while (signature := source.peek(4)) == _MEMBER:
        fields = _LOCAL.unpack(source.take(_LOCAL.size))
        flags, method, crc, packed, size, name_bytes, extra_bytes = fields[2], fields[3], *fields[6:]
        raw = source.take(name_bytes)
        packed, size = _wide(source.take(extra_bytes), packed, size)
        name = raw.decode("utf-8" if _is_utf8(raw) else "cp437")  # not all writers set the flag of UTF-8
        if flags & _ENCRYPTED or method not in {_STORED, _DEFLATED} or (method == _STORED and flags & _SIZES_FOLLOW):
            raise ZipFormatError(f"{name!r} cannot be read from a stream (method {method}, flags {flags:#x})")
        body = source.limited(packed) if method == _STORED else source.inflated()
        member = _checked(body, source, name, None if flags & _SIZES_FOLLOW else (crc, size))
        if not name.endswith("/"):
            yield name, member
        for _ in member:
            pass
    if signature not in {_DIRECTORY, _END, _END64}:
        raise ZipFormatError("it is incomplete" if len(signature) < 4 else "a member has no header")
    source.drain()


def _checked(body: Iterator[bytes], source: _Source, name: str, announced: tuple[int, int] | None) -> Iterator[bytes]:
    """The bytes of one member, compared with its checksum and size, which are before or after the data."""
    crc, size = 0, 0
    for piece in body:
        crc = zlib.crc32(piece, crc)
        size += len(piece)
        yield piece
    there = announced or source.descriptor()
    if (crc, size & _LIMIT32) != (there[0], there[1] & _LIMIT32):
        raise ZipFormatError(f"{name!r} is damaged: its size or checksum is wrong")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def _wide(extra: bytes, packed: int, size: int) -> tuple[int, int]:
    """Sizes from the 64-bit field, if the 32-bit ones refer to it (APPNOTE 4.5.3: the unpacked size is first)."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        body, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == 1 and len(body) >= 16 and _LIMIT32 in {packed, size}:
            size, packed = struct.unpack_from("<2Q", body)
    return packed, size


class _Source:
    """The bytes of the archive; about one piece is in memory."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = b""

    def peek(self, size: int) -> bytes:
        """The next bytes, without taking them; fewer at the end."""
        while len(self._held) < size and (piece := next(self._pieces, None)) is not None:
            self._held += piece
        return self._held[:size]

    def _some(self) -> bytes:
        """All bytes in memory, at least one."""
        if not self.peek(1):
            raise ZipFormatError("it is incomplete")
        return self._held

    def take(self, size: int) -> bytes:
        """Take exactly *size* bytes."""
        taken = self.peek(size)
        if len(taken) < size:
            raise ZipFormatError("it is incomplete")
        self._held = self._held[size:]
        return taken

    def limited(self, size: int) -> Iterator[bytes]:
        """The next *size* bytes in pieces."""
        while size:
            piece = self._some()[:size]
            self._held = self._held[len(piece) :]
            size -= len(piece)
            yield piece

    def inflated(self) -> Iterator[bytes]:
        """The data of the deflate stream that begins here, in pieces of at most 1 MiB."""
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            while not inflater.eof:
                piece = inflater.decompress(self._some(), PIECE_BYTES)
                self._held = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
                if piece:
                    yield piece
        except zlib.error as error:
            raise ZipFormatError(f"a member is damaged: {error}") from None

    def descriptor(self) -> tuple[int, int]:
        """Checksum and size after a member: with or without a signature, of 32 or 64 bits."""
        if self.peek(4) == _DESCRIPTOR:
            self.take(4)
        ahead = self.peek(24)
        wide = ahead[12:16] not in {_MEMBER, _DIRECTORY} and ahead[20:24] in {_MEMBER, _DIRECTORY}
        crc, _, size = struct.unpack("<I2Q" if wide else "<3I", self.take(20 if wide else 12))
        return crc, size

    def drain(self) -> None:
        """Read to the end, so that the connection can be reused."""
        self._held = b""
        for _ in self._pieces:
            pass
