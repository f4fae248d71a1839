"""Recognition of file types by content, independent of the file name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import IO, TYPE_CHECKING, Any, Final

from xnatferry.xnat.digest import PIECE_BYTES, Hasher

if TYPE_CHECKING:
    from collections.abc import Callable

try:
    from isal import isal_zlib as _zlib
except ImportError:  # no wheel for this processor
    import zlib as _zlib  # type: ignore[no-redef]  # same names, slower

#: How many (decompressed) bytes are kept from the beginning: a NIfTI header and the extensions after it.
HEAD_BYTES: Final = 1 << 16

#: What `decompressobj` objects raise.
UNPACK_ERROR: Any = _zlib.error
#: Makes `decompressobj` read gzip.
GZIP_WINDOW: Final = 31
decompressobj = _zlib.decompressobj
_UNPACK_BYTES: Final = 4 << 20


class Content(Enum):
    """Kinds of content that matter here; the value is shown to users."""

    EMPTY = "empty"
    GZIP = "a gzip stream"
    NIFTI1 = "NIfTI-1"
    NIFTI2 = "NIfTI-2"
    NIFTI1_HEADER = "the header half of a NIfTI-1 pair"
    NIFTI2_HEADER = "the header half of a NIfTI-2 pair"
    ANALYZE = "an Analyze 7.5 header"
    DICOM = "DICOM"
    MGH = "a FreeSurfer .mgh volume"
    WEB_PAGE = "a web page"
    ANNEX = "a git-annex pointer"
    LFS = "a Git LFS pointer"
    ZIP = "a zip archive"
    TEXT = "text"
    UNKNOWN = "unknown bytes"

    @property
    def is_nifti(self) -> bool:
        """Whether it is an image in one file, or the header of one in two."""
        return self in {Content.NIFTI1, Content.NIFTI2, Content.NIFTI1_HEADER, Content.NIFTI2_HEADER}


_PREFIXES: tuple[tuple[bytes, Content], ...] = (
    (b"\x1f\x8b", Content.GZIP),
    (b"PK\x03\x04", Content.ZIP),
    (b"/annex/objects/", Content.ANNEX),
    (b"version https://git-lfs", Content.LFS),
)
_MAGIC1 = {b"n+1\x00": Content.NIFTI1, b"ni1\x00": Content.NIFTI1_HEADER}
_MAGIC2 = {b"n+2\x00\r\n\x1a\n": Content.NIFTI2, b"ni2\x00\r\n\x1a\n": Content.NIFTI2_HEADER}
_WEB = re.compile(rb"\s*(<!doctype\s+html|<html|<head|<\?xml[^>]*>\s*<(!doctype\s+)?html)", re.IGNORECASE)


def sniff(head: bytes) -> Content:
    """Recognise a file by *head*, its first bytes (best 1 KiB or more)."""
    if not head:
        return Content.EMPTY
    for prefix, content in _PREFIXES:
        if head.startswith(prefix):
            return content
    if (content_of_magic := _MAGIC1.get(head[344:348]) or _MAGIC2.get(head[4:12])) is not None:
        return content_of_magic
    if head[128:132] == b"DICM":
        return Content.DICOM
    if head[:4] in {b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c"} and len(head) >= 348:
        return Content.ANALYZE
    if _WEB.match(head):
        return Content.WEB_PAGE
    if head[:4] == b"\x00\x00\x00\x01" and len(head) >= 284 and head[4:5] == b"\x00":
        return Content.MGH
    return Content.TEXT if _is_text(head[:1024]) else Content.UNKNOWN


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n\f" for byte in head)


class StreamDamage(Enum):
    """What is wrong with a gzip stream; the value is shown to users."""

    CUT_OFF = "the gzip stream is truncated"
    DAMAGED = "the gzip stream is damaged (checksum or structure)"


@dataclass(frozen=True, slots=True)
class Stream:
    """What one pass over a file found.

    Attributes:
        head: The first bytes, unpacked where the file is gzip.
        packed: Whether the file is gzip.
        size_bytes: Size of the file.
        unpacked_bytes: Size of what is in it; the same where it is not gzip.
        digest: MD5 of the file.
        damage: What is wrong with the gzip stream.
        trailing_bytes: Bytes after the last gzip member that are not padding.
    """

    head: bytes
    packed: bool
    size_bytes: int
    unpacked_bytes: int
    digest: str
    damage: StreamDamage | None = None
    trailing_bytes: int = 0


def read_stream(stream: IO[bytes], *, seen: Callable[[bytes], None] | None = None) -> Stream:
    """Read *stream* to its end once: MD5 of the bytes and, where they are gzip, their checksum and unpacked size.

    Memory stays bounded independent of the decompressed size.

    Args:
        stream: An open binary file.
        seen: Called with every piece.

    Raises:
        OSError: The file cannot be read.
    """
    hasher = Hasher()
    unpacker: _Unpacker | None = None
    head = b""
    while piece := stream.read(PIECE_BYTES):
        if not hasher.size_bytes and piece.startswith(b"\x1f\x8b"):
            unpacker = _Unpacker()
        hasher.update(piece)
        if seen is not None:
            seen(piece)
        if unpacker is not None:
            unpacker.feed(piece)
        elif len(head) < HEAD_BYTES:
            head += piece[: HEAD_BYTES - len(head)]
    if unpacker is None:
        size_bytes = hasher.size_bytes
        return Stream(head, packed=False, size_bytes=size_bytes, unpacked_bytes=size_bytes, digest=hasher.digest)
    unpacker.finish()
    return Stream(
        bytes(unpacker.head),
        packed=True,
        size_bytes=hasher.size_bytes,
        unpacked_bytes=unpacker.unpacked_bytes,
        digest=hasher.digest,
        damage=unpacker.damage,
        trailing_bytes=unpacker.trailing_bytes,
    )


class _Unpacker:
    """Decompresses gzip members one after the other; keeps the first bytes and counts the rest."""

    def __init__(self) -> None:
        self.head = bytearray()
        self.unpacked_bytes = 0
        self.damage: StreamDamage | None = None
        self.trailing_bytes = 0
        self._member = _zlib.decompressobj(GZIP_WINDOW)
        self._ended = False

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the file."""
        while piece and self.damage is None:
            if self.trailing_bytes:
                self.trailing_bytes += len(piece)
                return
            if self._ended:
                piece = piece.lstrip(b"\x00")  # gzip allows padding between and after members
                if not piece:
                    return
                if not piece.startswith(b"\x1f"):
                    self.trailing_bytes += len(piece)
                    return
                self._member, self._ended = _zlib.decompressobj(GZIP_WINDOW), False
            piece = self._unpack(piece)

    def _unpack(self, piece: bytes) -> bytes:
        """Decompress one member; return the bytes after its end."""
        try:
            while True:
                out = self._member.decompress(piece, _UNPACK_BYTES)
                self.unpacked_bytes += len(out)
                if len(self.head) < HEAD_BYTES:
                    self.head += out[: HEAD_BYTES - len(self.head)]
                if self._member.eof:
                    self._ended = True
                    return bytes(self._member.unused_data)
                piece = self._member.unconsumed_tail
                if not piece and len(out) < _UNPACK_BYTES:
                    return b""
        except UNPACK_ERROR:
            self.damage = StreamDamage.DAMAGED
            return b""

    def finish(self) -> None:
        """Handle the end of the file."""
        if self.damage is None and not self._ended:
            self.damage = StreamDamage.CUT_OFF
