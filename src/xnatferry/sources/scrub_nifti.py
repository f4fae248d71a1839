"""NIfTI headers read and written as a stream: text fields blanked, extensions found and dropped.

Layouts: nifti1.h and nifti2.h. After the header come four bytes; the first states whether extensions follow;
each extension begins with its size (a multiple of 16, these 8 bytes included) and its code. Voxels begin at
``vox_offset``, which moves forward by what is dropped; the voxels themselves pass as they are.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.errors import FileChangedError
from xnatferry.sources.nifti_header import SIZES, TEXT_FIELDS, HeaderError, byte_order
from xnatferry.sources.scrub_json import without_keys
from xnatferry.xnat.gzip_stream import GzipError, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: JSON that MR spectroscopy cannot be read without; keys are taken out of it, it is never dropped.
MRS_EXTENSION: Final = 44
_MRS_LIMIT_BYTES: Final = 16 << 20
#: What readers of NIfTI-MRS recognise the format by, at the start of ``intent_name``.
_FORMAT_NAME: Final = re.compile(rb"mrs_v\d+_\d+")
_OFFSET_FIELD: Final = {1: (108, "f"), 2: (168, "q")}
_PASSED_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Extension:
    """One header extension.

    Attributes:
        code: As registered with the NIfTI working group.
        size_bytes: Its size, the 8 bytes of its own header included.
        content: Its content, for the one code that is examined (44); else empty.
    """

    code: int
    size_bytes: int
    content: bytes = b""


class _Reader:
    """Takes bytes off a stream of pieces, in whatever portions are asked for."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = b""
        self._last = b""

    def take(self, size_bytes: int) -> bytes:
        """The next bytes; fewer at the end."""
        parts = [self._held]
        there = len(self._held)
        while there < size_bytes and (piece := next(self._pieces, None)) is not None:
            parts.append(piece)
            there += len(piece)
        whole = b"".join(parts)
        self._held = whole[size_bytes:]
        self._last = whole[:size_bytes]
        return self._last

    def give_back(self) -> None:
        """Undo the last `take`."""
        self._held = self._last + self._held

    def portions(self, size_bytes: int) -> Iterator[bytes]:
        """The next bytes, in portions of bounded size."""
        while size_bytes > 0 and (portion := self.take(min(size_bytes, _PASSED_BYTES))):
            size_bytes -= len(portion)
            yield portion

    def rest(self) -> Iterator[bytes]:
        """Everything that is left."""
        if self._held:
            yield self._held
        yield from self._pieces


def version_of(head: bytes) -> int:
    """1 or 2, by the magic bytes; 0 when it is no NIfTI header."""
    if head[344:348] in {b"n+1\x00", b"ni1\x00"}:
        return 1
    return 2 if head[4:12] in {b"n+2\x00\r\n\x1a\n", b"ni2\x00\r\n\x1a\n"} else 0


def read_extensions(pieces: Iterable[bytes]) -> tuple[bytes, list[Extension]]:
    """The header of an image (empty when it is none) and its extensions; reads as far as they go.

    Args:
        pieces: The unpacked bytes, from the start.
    """
    reader = _Reader(pieces)
    head, order, end = _head(reader)
    found: list[Extension] = []
    if not head or reader.take(4)[:1] in {b"", b"\x00"}:
        return head, found
    for code, size_bytes in _chain(reader, len(head) + 4, end, order):
        if code == MRS_EXTENSION and size_bytes <= _MRS_LIMIT_BYTES:
            found.append(Extension(code, size_bytes, reader.take(size_bytes - 8)))
            continue
        found.append(Extension(code, size_bytes))
        for _ in reader.portions(size_bytes - 8):
            pass
    return head, found


def _head(reader: _Reader) -> tuple[bytes, str, int | None]:
    """Header, byte order, and where its extensions end at most; None is the end of the file, for a ``.hdr``."""
    head = reader.take(SIZES[1])
    version = version_of(head)
    if not version:
        return b"", "", 0
    head += reader.take(SIZES[version] - len(head))
    try:
        order = byte_order(head, version)
    except HeaderError:
        return b"", "", 0
    if len(head) < SIZES[version]:
        return b"", "", 0
    paired = (head[344:347] if version == 1 else head[4:7]) == (b"ni1" if version == 1 else b"ni2")
    return head, order, None if paired else int(_offset(head, order))


def _offset(head: bytes, order: str) -> float:
    place, kind = _OFFSET_FIELD[version_of(head)]
    found: float = struct.unpack_from(order + kind, head, place)[0]
    return found if 0 <= found < 1 << 60 else 0


def _chain(reader: _Reader, at: int, end: int | None, order: str) -> Iterator[tuple[int, int]]:
    """Code and size of each extension; the caller must read its content before the next."""
    while end is None or at + 8 <= end:
        start = reader.take(8)
        if len(start) < 8:
            reader.give_back()
            return
        size_bytes, code = struct.unpack(order + "ii", start)
        if size_bytes < 8 or (end is not None and at + size_bytes > end):
            reader.give_back()
            return
        at += size_bytes
        yield code, size_bytes


def unpacked_image(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """What is in a local ``.nii.gz``.

    Raises:
        FileChangedError: It is no whole gzip stream, which a check has looked at before.
    """
    try:
        yield from unpacked(pieces)
    except GzipError as error:
        raise FileChangedError(f"{error}; copy the file again") from error


def scrubbed_nifti(pieces: Iterable[bytes], removed: Sequence[str], shorter_bytes: int) -> Iterator[bytes]:
    """An image without *removed*, in bounded memory.

    Args:
        pieces: The image, unpacked.
        removed: As in `xnatferry.sources.model.Scrub`.
        shorter_bytes: Size of the removed extensions; the header, which comes first, depends on it.

    Raises:
        FileChangedError: The image has changed since the check.
    """
    reader = _Reader(pieces)
    head, order, end = _head(reader)
    if not head:
        raise FileChangedError("the file is no longer a NIfTI image; make the plan again")
    version = version_of(head)
    fresh = bytearray(head)
    for name, (start, length) in TEXT_FIELDS[version].items():
        if name in removed:
            kept = _FORMAT_NAME.match(head, start) if name == "intent_name" else None
            fresh[start : start + length] = (kept[0] if kept else b"").ljust(length, b"\x00")
    dropped = {int(name.split()[1]) for name in removed if name.startswith("extension ") and name.count(" ") == 1}
    keys = {name.split(" ", 2)[2] for name in removed if name.startswith(f"extension {MRS_EXTENSION} ")}
    if not dropped and not keys:
        yield bytes(fresh)
        yield from reader.rest()
        return
    if end is not None:
        place, kind = _OFFSET_FIELD[version]
        struct.pack_into(order + kind, fresh, place, end - shorter_bytes)
    yield bytes(fresh)
    yield from _extensions(reader, (len(head) + 4, end, order), (dropped, keys), shorter_bytes)
    yield from reader.rest()


def _extensions(
    reader: _Reader, where: tuple[int, int | None, str], removed: tuple[set[int], set[str]], shorter_bytes: int
) -> Iterator[bytes]:
    """The four bytes behind the header, what is kept of the extensions, and zeros up to the voxels.

    Bytes between the last extension and the voxels are not kept: programs do not read them, and they may be anything.
    """
    at, end, order = where
    dropped, keys = removed
    flag = reader.take(4)
    flag_sent = False  # the four bytes state whether any extension is left
    gone = 0
    kept_to = at
    for code, size_bytes in _chain(reader, at, end, order):
        if code in dropped:
            gone += size_bytes
            for _ in reader.portions(size_bytes - 8):
                pass
            continue
        if not flag_sent:
            yield flag
            flag_sent = True
        kept_to += size_bytes
        yield struct.pack(order + "ii", size_bytes, code)
        if code == MRS_EXTENSION and keys and size_bytes <= _MRS_LIMIT_BYTES:
            yield _without_keys(reader.take(size_bytes - 8), keys)
        else:
            yield from reader.portions(size_bytes - 8)
    if gone != shorter_bytes:
        raise FileChangedError("the header extensions have changed since the check; make the plan again")
    if not flag_sent:
        yield bytes(4)
    if end is not None:
        for _ in reader.portions(end - kept_to - gone):
            pass
        yield bytes(end - shorter_bytes - kept_to)


def _without_keys(content: bytes, keys: set[str]) -> bytes:
    """JSON of the same length, padded with blanks."""
    text = content.rstrip(b"\x00")
    return without_keys(text, keys).ljust(len(text)) + bytes(len(content) - len(text))
