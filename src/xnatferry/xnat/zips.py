"""Zip archives made while they are sent: length known beforehand, one pass over the data, readable by XNAT.

XNAT unpacks with Java's ``ZipInputStream`` (``ZipUtils.extractMap``), which refuses a *stored* member whose checksum
comes after its data ("only DEFLATED entries can have EXT descriptor"). So members are written as deflate streams made
of stored blocks (RFC 1951, 3.2.4): nothing is compressed, 5 bytes are added for every 65,535, the length of the archive
follows from the sizes alone, and the CRC-32 may follow the data. FreeSurfer volumes are compressed already; text is a
few per cent of a subject.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_DESCRIPTOR = struct.Struct("<4s3I")
_DESCRIPTOR64 = struct.Struct("<4sI2Q")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_END64_LOCATOR = struct.Struct("<4sIQI")

#: The least that is handed on at once, but for the end; so little that a slow, paced body never stands still for long.
_TOGETHER = 1 << 16

_BLOCK = 0xFFFF
_LIMIT32 = 0xFFFFFFFF
_LIMIT16 = 0xFFFF
_FLAGS = 0x0808  # checksum and sizes follow the data; names are UTF-8
_DEFLATED = 8
# 1980-01-01 00:00, the earliest date of the format: the same files make the same archive every day.
_TIME, _DATE = 0, 0x21
_FILE_MODE = 0o100644 << 16


@dataclass(frozen=True, slots=True)
class ZipMember:
    """One file of an archive.

    Attributes:
        name: Path in the archive, with ``/``.
        size_bytes: Exactly how many bytes *open* will yield.
        open: Gives the bytes anew at each call.
    """

    name: str
    size_bytes: int
    open: Callable[[], Iterable[bytes]]

    @property
    def packed_bytes(self) -> int:
        """Bytes of its deflate stream of stored blocks."""
        blocks = max(1, -(-self.size_bytes // _BLOCK))
        return self.size_bytes + 5 * blocks

    @property
    def large(self) -> bool:
        """Whether its sizes need 64 bits."""
        return self.packed_bytes >= _LIMIT32


class ZipStream:
    """A zip archive that can be iterated over, each time from the start.

    Args:
        members: Files in the order of the archive; names must be unique.

    Raises:
        ValueError: While iterating, when a member yields more or fewer bytes than it announced.
    """

    def __init__(self, members: Sequence[ZipMember]) -> None:
        self._members = tuple(members)
        if len({member.name for member in self._members}) != len(self._members):
            raise ValueError("two members of one archive have the same name")

    @property
    def size_bytes(self) -> int:
        """Exact length of the archive."""
        body = self._body_bytes()
        directory = sum(len(_central(member, 0, offset)) for member, offset in self._offsets())
        return body + directory + len(self._end(directory, body))

    def __iter__(self) -> Iterator[bytes]:
        """Yield the archive in pieces of about the size that the members yield; small ones travel together."""
        held: list[bytes] = []
        size = 0
        for piece in self._parts():
            held.append(piece)
            size += len(piece)
            if size >= _TOGETHER:
                yield b"".join(held)
                held, size = [], 0
        yield b"".join(held)

    def _parts(self) -> Iterator[bytes]:
        checksums: list[int] = []
        for member in self._members:
            yield _local(member)
            crc = 0
            for piece, crc in _blocks(member):  # noqa: B007  # the last checksum is wanted
                yield piece
            checksums.append(crc)
            yield _descriptor(member, crc)
        directory = b"".join(
            _central(member, crc, offset) for (member, offset), crc in zip(self._offsets(), checksums, strict=True)
        )
        yield directory + self._end(len(directory), self._body_bytes())

    def _body_bytes(self) -> int:
        return sum(_head_bytes(member) + member.packed_bytes + _tail_bytes(member) for member in self._members)

    def _offsets(self) -> Iterator[tuple[ZipMember, int]]:
        offset = 0
        for member in self._members:
            yield member, offset
            offset += _head_bytes(member) + member.packed_bytes + _tail_bytes(member)

    def _end(self, directory_bytes: int, start: int) -> bytes:
        count = len(self._members)
        end = _END.pack(
            b"PK\5\6",
            0,
            0,
            min(count, _LIMIT16),
            min(count, _LIMIT16),
            min(directory_bytes, _LIMIT32),
            min(start, _LIMIT32),
            0,
        )
        if count < _LIMIT16 and directory_bytes < _LIMIT32 and start < _LIMIT32:
            return end
        end64 = _END64.pack(b"PK\6\6", 44, 45, 45, 0, 0, count, count, directory_bytes, start)
        return end64 + _END64_LOCATOR.pack(b"PK\6\7", 0, start + directory_bytes, 1) + end


def _version(member: ZipMember, offset: int = 0) -> int:
    return 45 if member.large or offset >= _LIMIT32 else 20


def _head_bytes(member: ZipMember) -> int:
    return _LOCAL.size + len(member.name.encode()) + (20 if member.large else 0)


def _tail_bytes(member: ZipMember) -> int:
    return (_DESCRIPTOR64 if member.large else _DESCRIPTOR).size


def _local(member: ZipMember) -> bytes:
    name = member.name.encode()
    extra = struct.pack("<2H2Q", 1, 16, 0, 0) if member.large else b""
    size = _LIMIT32 if member.large else 0
    return (
        _LOCAL.pack(b"PK\3\4", _version(member), _FLAGS, _DEFLATED, _TIME, _DATE, 0, size, size, len(name), len(extra))
        + name
        + extra
    )


def _descriptor(member: ZipMember, crc: int) -> bytes:
    layout = _DESCRIPTOR64 if member.large else _DESCRIPTOR
    return layout.pack(b"PK\7\x08", crc, member.packed_bytes, member.size_bytes)


def _central(member: ZipMember, crc: int, offset: int) -> bytes:
    name = member.name.encode()
    wide = b""
    if member.large:
        wide += struct.pack("<2Q", member.size_bytes, member.packed_bytes)
    if offset >= _LIMIT32:
        wide += struct.pack("<Q", offset)
    extra = struct.pack("<2H", 1, len(wide)) + wide if wide else b""
    return (
        _CENTRAL.pack(
            b"PK\1\2",
            0x0300 | _version(member, offset),
            _version(member, offset),
            _FLAGS,
            _DEFLATED,
            _TIME,
            _DATE,
            crc,
            _LIMIT32 if member.large else member.packed_bytes,
            _LIMIT32 if member.large else member.size_bytes,
            len(name),
            len(extra),
            0,
            0,
            0,
            _FILE_MODE,
            min(offset, _LIMIT32),
        )
        + name
        + extra
    )


def _blocks(member: ZipMember) -> Iterator[tuple[bytes, int]]:
    """The bytes of *member* as stored deflate blocks, each piece with the CRC-32 so far."""
    crc = 0
    left = member.size_bytes
    kept = b""
    for piece in member.open():
        crc = zlib.crc32(piece, crc)
        left -= len(piece)
        if left < 0:
            break
        data = memoryview(kept + piece if kept else piece)
        whole = len(data) - len(data) % _BLOCK
        if whole == len(data) and left == 0:
            whole = max(0, whole - _BLOCK)  # the last block says that it is the last
        parts: list[bytes | memoryview] = []
        for start in range(0, whole, _BLOCK):
            parts += (b"\0\xff\xff\0\0", data[start : start + _BLOCK])
        kept = bytes(data[whole:])
        if parts:
            yield b"".join(parts), crc
    if left != 0:
        raise ValueError(
            f"{member.name}: {'more' if left < 0 else 'fewer'} bytes than the announced {member.size_bytes}"
        )
    yield struct.pack("<BHH", 1, len(kept), len(kept) ^ 0xFFFF) + kept, crc
