"""Gzip on the way, in bounded memory: packed so that the same bytes come out every time, and unpacked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from xnatferry.errors import FileChangedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

try:
    from isal import isal_zlib as _zlib
except ImportError:  # no wheel for this processor
    import zlib as _zlib  # type: ignore[no-redef]  # same names, thirty times slower

__all__ = ["gzipped", "unpacked"]

_UNPACK_ERROR: Any = _zlib.error
_GZIP_LEVEL: Final = 3
_GZIP_HEADER: Final = 31  # zlib's window bits for a gzip stream: no name, time 0
_UNPACK_BYTES: Final = 1 << 20


def gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """*pieces* as a gzip stream."""
    packer = _zlib.compressobj(_GZIP_LEVEL, _zlib.DEFLATED, _GZIP_HEADER)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What is in a gzip stream of one or more members; what follows the last one is left out.

    Raises:
        FileChangedError: It is damaged or cut off, which a check has looked at before.
    """
    member = _zlib.decompressobj(_GZIP_HEADER)
    for piece in pieces:
        rest = piece
        while rest:
            if member.eof:
                rest = rest.lstrip(b"\x00")  # padding between members
                if not rest.startswith(b"\x1f"):
                    break
                member = _zlib.decompressobj(_GZIP_HEADER)
            try:
                out = member.decompress(rest, _UNPACK_BYTES)
            except _UNPACK_ERROR as error:
                raise FileChangedError(f"the gzip stream is damaged ({error}); copy the file again") from error
            if out:
                yield out
            rest = member.unused_data if member.eof else member.unconsumed_tail
    while not member.eof:
        out = member.decompress(b"", _UNPACK_BYTES)
        if not out:
            raise FileChangedError("the gzip stream ends too early; copy the file again")
        yield out
