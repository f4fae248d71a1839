"""Reads zip archives by their central directory, one entry at a time (APPNOTE 6.3).

Not ``zipfile``: that one holds an object per entry, however many there are, and takes no other inflate. Sizes and
checksums come from the central directory, so archives written as a stream (flag 0x0008, ours and Java's) are read like
any other.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from xnatferry.xnat.decompression import INFLATE_ERRORS, raw_inflater
from xnatferry.xnat.digest import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_END: Final = struct.Struct("<4s4H2IH")
_END64: Final = struct.Struct("<4sQ2H2I4Q")
_END64_LOCATOR: Final = struct.Struct("<4sIQI")
_CENTRAL: Final = struct.Struct("<4s6H3I5H2I")
_LOCAL: Final = struct.Struct("<4s5H3I2H")
_LIMIT32: Final = 0xFFFFFFFF
_COMMENT_BYTES: Final = 0xFFFF
_STORED, _DEFLATED = 0, 8


class BrokenZipError(ValueError):
    """The file is no zip archive, or a damaged one, or packed by a method that XNAT does not read either."""


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One entry of the central directory.

    Attributes:
        name: As it is written there.
        size_bytes: Announced length when unpacked.
        packed_bytes: Length inside the archive.
        crc: Announced CRC-32.
        method: 0 stored, 8 deflated.
        encrypted: Whether a password is needed.
        mode: Unix file mode, 0 when the archive has none.
        offset: Where its local header begins, in the file.
    """

    name: str
    size_bytes: int
    packed_bytes: int
    crc: int
    method: int
    encrypted: bool
    mode: int
    offset: int


class ZipDirectory:
    """The central directory of a zip archive; iterating reads it anew, entry by entry.

    Args:
        file: Opened for reading bytes, seekable; read by one thread at a time.

    Raises:
        BrokenZipError: There is no central directory.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._start, self._size, self._shift = _find_directory(file)

    def __iter__(self) -> Iterator[ZipEntry]:
        """Yield the entries in their order.

        Raises:
            BrokenZipError: The directory is damaged.
        """
        position, end = self._start, self._start + self._size
        while position < end:
            self._file.seek(position)
            fixed = _exactly(self._file, _CENTRAL.size)
            entry, length = _entry(self._file, fixed, self._shift)
            position += _CENTRAL.size + length
            yield entry
        if position != end:
            raise BrokenZipError("the central directory is damaged")

    def pieces(self, entry: ZipEntry) -> Iterator[bytes]:
        """Yield the unpacked bytes of *entry*, never more than it announced.

        Raises:
            BrokenZipError: Wrong length or checksum, or a method other than stored and deflated.
        """
        self._file.seek(self._data_start(entry))
        size, crc = 0, 0
        for piece in _unpacked(_limited(self._file, entry.packed_bytes), entry):
            size += len(piece)
            if size > entry.size_bytes:
                break
            crc = zlib.crc32(piece, crc)
            yield piece
        if size != entry.size_bytes or crc != entry.crc:
            raise BrokenZipError(f"{entry.name!r} is damaged: its length or checksum is wrong")

    def _data_start(self, entry: ZipEntry) -> int:
        self._file.seek(entry.offset)
        signature, *_, name_bytes, extra_bytes = _LOCAL.unpack(_exactly(self._file, _LOCAL.size))
        if signature != b"PK\3\4":
            raise BrokenZipError(f"{entry.name!r} is not at the offset of the central directory")
        return int(entry.offset + _LOCAL.size + name_bytes + extra_bytes)


def _find_directory(file: BinaryIO) -> tuple[int, int, int]:
    """Start and length of the central directory, and by how many bytes the whole archive is shifted in the file."""
    length = file.seek(0, 2)
    tail_start = max(0, length - _END.size - _COMMENT_BYTES)
    file.seek(tail_start)
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) - at < _END.size:
        raise BrokenZipError("the file is not a zip archive, or is truncated")
    _, disk, _, _, _, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if end >= _END64_LOCATOR.size:
        file.seek(end - _END64_LOCATOR.size)
        signature, _, end64, _ = _END64_LOCATOR.unpack(_exactly(file, _END64_LOCATOR.size))
        if signature == b"PK\6\7":
            file.seek(end64)
            signature, _, _, _, disk, _, _, _, size, offset = _END64.unpack(_exactly(file, _END64.size))
            if signature != b"PK\6\6":
                raise BrokenZipError("the 64-bit end record is missing")
            end = end64
    if disk not in {0, 0xFFFF} or size + offset > end:
        raise BrokenZipError("the central directory is damaged, or on another volume")
    return end - size, size, end - size - offset


def _entry(file: BinaryIO, fixed: bytes, shift: int) -> tuple[ZipEntry, int]:
    """The entry that begins with *fixed*, and the length of its variable part."""
    (signature, _, _, flags, method, _, _, crc, packed, size, name_bytes, extra_bytes, comment_bytes, _, _, attributes,
     offset) = _CENTRAL.unpack(fixed)  # fmt: skip
    if signature != b"PK\1\2":
        raise BrokenZipError("the central directory is damaged")
    raw = _exactly(file, name_bytes)
    extra = _exactly(file, extra_bytes)
    size, packed, offset = _wide(extra, size, packed, offset)
    entry = ZipEntry(_text(raw), size, packed, crc, method, bool(flags & 1), attributes >> 16, offset + shift)
    return entry, name_bytes + extra_bytes + comment_bytes


def _wide(extra: bytes, *values: int) -> list[int]:
    """*values* with those that say "see the 64-bit field" taken from extra field 1, in order (APPNOTE 4.5.3)."""
    wide = iter(())
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 1:
            body = extra[4 : 4 + length]
            wide = iter(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
            break
        extra = extra[4 + length :]
    try:
        return [next(wide) if value == _LIMIT32 else value for value in values]
    except (StopIteration, RuntimeError) as error:
        raise BrokenZipError("the 64-bit sizes are missing") from error


def _text(raw: bytes) -> str:
    """A name: UTF-8 whether announced or not (macOS does not), else the code page of old."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437")


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise BrokenZipError("the file is truncated")
    return data


def _limited(file: BinaryIO, size: int) -> Iterator[bytes]:
    while size:
        piece = _exactly(file, min(size, PIECE_BYTES))
        size -= len(piece)
        yield piece


def _unpacked(packed: Iterator[bytes], entry: ZipEntry) -> Iterator[bytes]:
    if entry.method == _STORED:
        yield from packed
        return
    if entry.method != _DEFLATED:
        raise BrokenZipError(
            f"{entry.name!r} uses compression method {entry.method}; pack it with deflate (8) or stored (0)"
        )
    inflater = raw_inflater()
    try:
        for piece in packed:
            rest = piece
            while rest and not inflater.eof:
                yield inflater.decompress(rest, PIECE_BYTES)
                rest = inflater.unconsumed_tail
        while not inflater.eof and (piece := inflater.decompress(b"", PIECE_BYTES)):
            yield piece
    except INFLATE_ERRORS as error:
        raise BrokenZipError(f"{entry.name!r} is damaged: {error}") from error
