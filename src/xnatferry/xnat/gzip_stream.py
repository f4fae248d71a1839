"""Gzip streams made while they are sent, which say in their header what they unpack to.

Which bytes a compressor makes depends on its version, its level and the processor. So a file that is compressed on the
way is identified by its content: the header of each stream that we make has the MD5 and the size of the content and the
length of the stream in an extra field of its own (RFC 1952, 2.3.1.1), which all readers skip. The CRC-32 of the content
is in the last 8 bytes of every gzip stream (2.3.1). So 56 bytes of a server's file are enough to compare it.

The field is not behind the data, in an empty last member, where it would save a pass: readers that take the size of
the content from the last 4 bytes of the file would find 0.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from xnatferry.xnat.digest import Hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

try:
    from isal import isal_zlib as _zlib
except ImportError:  # no wheel for this processor
    import zlib as _zlib  # type: ignore[no-redef]  # same names, thirty times slower

_UNPACK_ERROR: Any = _zlib.error
_LEVEL: Final = 3
_RAW: Final = -15  # zlib's window bits for a deflate stream without a wrapper
_GZIP: Final = 31
_UNPACK_BYTES: Final = 1 << 20

# Magic, deflate, FEXTRA, no time, no extra flags, unknown system; length of all extra fields; id and length of ours.
_START: Final = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff" + struct.pack("<H2sH", 36, b"XF", 32)
_MARK: Final = struct.Struct("<16s2Q")
_TAIL: Final = struct.Struct("<2I")
#: Bytes of the header of a stream that we make.
HEAD_BYTES: Final = len(_START) + _MARK.size
#: Bytes behind the data of every gzip stream: CRC-32 and size of the content.
TAIL_BYTES: Final = _TAIL.size


class GzipError(ValueError):
    """Bytes that are no whole gzip stream; the text says why."""


class Compressor(Protocol):
    """What makes a raw deflate stream, as ``zlib.compressobj`` does."""

    def compress(self, data: bytes, /) -> bytes:
        """Take in more content; returns what is ready of the stream."""

    def flush(self) -> bytes:
        """The rest of the stream."""


#: Gives a new compressor. Any will do, as nothing depends on the bytes that it makes.
compressor: Callable[[], Compressor] = partial(_zlib.compressobj, _LEVEL, _zlib.DEFLATED, _RAW)


@dataclass(frozen=True, slots=True)
class Content:
    """What a gzip stream unpacks to.

    Attributes:
        size_bytes: Size.
        digest: MD5.
        crc32: CRC-32; 0 where it is not needed.
        fetched: Whether the stream itself was unpacked to know this; otherwise its header and its end say so.
    """

    size_bytes: int
    digest: str
    crc32: int = 0
    fetched: bool = field(default=True, compare=False)


class Measured(NamedTuple):
    """What is known of a stream when it has been made once.

    Attributes:
        size_bytes: Its length.
        content: What it unpacks to.
    """

    size_bytes: int
    content: Content


_UNKNOWN: Final = Measured(0, Content(0, "0" * 32))


class GzipStream:
    """A gzip stream of some content, to be iterated over once. Its length does not depend on what its header says.

    Args:
        pieces: The content.
        found: What its header says; nothing that is true where the stream is made to be measured.

    Attributes:
        content: What has passed, when the iteration has ended.
    """

    def __init__(self, pieces: Iterable[bytes], found: Measured = _UNKNOWN) -> None:
        content = found.content
        self._pieces = pieces
        self._head = _START + _MARK.pack(bytes.fromhex(content.digest), content.size_bytes, found.size_bytes)
        self.content = _UNKNOWN.content

    def __iter__(self) -> Iterator[bytes]:
        """Yield the stream; its last piece is not empty."""
        packer = compressor()
        hasher, crc = Hasher(), 0
        ready = self._head
        for piece in self._pieces:
            hasher.update(piece)
            crc = _zlib.crc32(piece, crc)
            ready += packer.compress(piece)
            if len(ready) > HEAD_BYTES:
                yield ready
                ready = b""
        self.content = Content(hasher.size_bytes, hasher.digest, crc)
        yield ready + packer.flush() + _TAIL.pack(crc, hasher.size_bytes & 0xFFFFFFFF)


def is_marked(head: bytes) -> bool:
    """Whether the first `HEAD_BYTES` of a file are the header of a stream that we made."""
    return len(head) == HEAD_BYTES and head.startswith(_START)


def read_marks(head: bytes, tail: bytes, size_bytes: int) -> Content | None:
    """What a stream of *size_bytes* that we made unpacks to, by its first `HEAD_BYTES` and its last `TAIL_BYTES`.

    None for other streams, and where the sizes do not agree: it was cut off or changed by others since.
    """
    if not is_marked(head) or len(tail) != TAIL_BYTES:
        return None
    digest, content_bytes, stream_bytes = _MARK.unpack_from(head, len(_START))
    crc, low_size = _TAIL.unpack(tail)
    if stream_bytes != size_bytes or low_size != content_bytes & 0xFFFFFFFF:
        return None
    return Content(content_bytes, digest.hex(), crc, fetched=False)


def content_of(pieces: Iterable[bytes]) -> Content:
    """What a gzip stream unpacks to, in bounded memory.

    Raises:
        GzipError: It is none, damaged or cut off.
    """
    hasher, crc = Hasher(), 0
    for piece in unpacked(pieces):
        hasher.update(piece)
        crc = _zlib.crc32(piece, crc)
    return Content(hasher.size_bytes, hasher.digest, crc)


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What is in a gzip stream of one or more members; what follows the last one is left out.

    Raises:
        GzipError: It is none, damaged or cut off.
    """
    member = _zlib.decompressobj(_GZIP)
    for piece in pieces:
        rest = piece
        while rest:
            if member.eof:
                rest = rest.lstrip(b"\x00")  # padding between members
                if not rest:
                    break
                if not rest.startswith(b"\x1f"):
                    return
                member = _zlib.decompressobj(_GZIP)
            try:
                out = member.decompress(rest, _UNPACK_BYTES)
            except _UNPACK_ERROR as error:
                raise GzipError(f"the gzip stream is damaged ({error})") from error
            if out:
                yield out
            rest = member.unused_data if member.eof else member.unconsumed_tail
    while not member.eof:
        out = member.decompress(b"", _UNPACK_BYTES)
        if not out:
            raise GzipError("the gzip stream ends too early")
        yield out
