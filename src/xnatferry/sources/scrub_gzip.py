"""The texts in the header of a gzip stream: the name that a file had when it was compressed, and a comment.

Layout: RFC 1952, section 2.3. Texts end with a zero byte and are Latin-1. Only the first member of a stream is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.errors import FileChangedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: The most that is read to find the end of a header.
HEADER_BYTES: Final = 1 << 18
_MAGIC: Final = b"\x1f\x8b"
_FIXED_BYTES: Final = 10
_HEADER_CRC, _EXTRA, _NAME, _COMMENT = 2, 4, 8, 16


@dataclass(frozen=True, slots=True)
class GzipHeader:
    """A gzip header.

    Attributes:
        name: Name of the file that was compressed.
        comment: A text for people.
        texts_at: Where its texts begin.
        end: Where the compressed data begins.
    """

    name: str
    comment: str
    texts_at: int
    end: int


def read_gzip_header(head: bytes) -> GzipHeader | None:
    """The header at the beginning of a file; None if the file is no gzip stream, or the header does not end."""
    if not head.startswith(_MAGIC) or len(head) < _FIXED_BYTES:
        return None
    flags, at = head[3], _FIXED_BYTES
    if flags & _EXTRA:
        at += 2 + int.from_bytes(head[at : at + 2], "little")
    texts_at = at
    texts: list[str] = []
    for flag in (_NAME, _COMMENT):
        end = head.find(b"\x00", at) if flags & flag else at - 1
        if end < at - 1:
            return None
        texts.append(head[at : max(end, at)].decode("latin-1") if flags & flag else "")
        at = end + 1
    return GzipHeader(texts[0], texts[1], texts_at, at + (2 if flags & _HEADER_CRC else 0))


def without_gzip_texts(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """A gzip stream without the texts of its header; the compressed data is unchanged.

    Raises:
        FileChangedError: It is no gzip stream, which the check has seen before.
    """
    stream = iter(pieces)
    head = b""
    while len(head) < HEADER_BYTES and (piece := next(stream, None)) is not None:
        head += piece
    header = read_gzip_header(head)
    if header is None:
        raise FileChangedError("the file is no longer a gzip stream; make the plan again")
    flags = head[3] & ~(_NAME | _COMMENT | _HEADER_CRC)
    yield head[:3] + bytes([flags]) + head[4 : header.texts_at] + head[header.end :]
    yield from stream
