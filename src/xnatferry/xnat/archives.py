"""The one reader of zip and tar archives on the disk: every member in order, then proof that the archive is complete.

``tarfile`` takes a member header with a wrong checksum for the end of the archive, and neither it nor ``zipfile`` says
that members are missing. Here the end is checked: the zero block of a tar, the checksum after a compressed stream, the
number of entries in a zip.
"""

from __future__ import annotations

import bz2
import lzma
import stat
import tarfile
import zipfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final

from xnatferry.xnat.decompression import INFLATE_ERRORS, open_gzip
from xnatferry.xnat.digest import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

#: What `read_archive` and the streams of members raise for damaged archives, and for members that cannot be unpacked.
ARCHIVE_ERRORS: Final[tuple[type[Exception], ...]] = (
    *INFLATE_ERRORS,
    zipfile.BadZipFile,
    tarfile.TarError,
    lzma.LZMAError,
    NotImplementedError,
    RuntimeError,
    ValueError,
)
#: The same, and what the disk raises.
UNREADABLE: Final[tuple[type[Exception], ...]] = (OSError, *ARCHIVE_ERRORS)
_BLOCK: Final = bytes(512)
_END: Final = b"PK\5\6"
_END_BYTES: Final = 22
_COMMENT_BYTES: Final = 0xFFFF
#: Stands for a number in the 64-bit end record.
_MANY: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class ArchiveMember:
    """An entry that is no folder.

    Attributes:
        name: As the archive spells it.
        size_bytes: Size of its content.
        target: Where it points when it is a symbolic link, as written.
        special: Whether it is a device, a pipe or a hard link.
    """

    name: str
    size_bytes: int
    target: str | None = None
    special: bool = False


def read_archive(path: Path, *, names_only: bool = False) -> Iterator[tuple[ArchiveMember, IO[bytes] | None]]:
    """Every entry that is no folder, with a stream of its bytes, to be read before the next one.

    The format is that of the content, not of the name. The archive is proven complete after the last member only.

    Args:
        path: The archive.
        names_only: Whether the bytes in a zip are not read, and its checksums not compared.

    Raises:
        One of ARCHIVE_ERRORS: It is damaged, truncated, encrypted or no archive.
        OSError: It cannot be read.
    """
    if is_zip(path):
        yield from _zip_members(path, names_only=names_only)
        return
    with path.open("rb") as raw:
        magic = raw.read(6)
    opener = next((opener for start, opener in _OPENERS.items() if magic.startswith(start)), _plain)
    with opener(path) as file:
        yield from _tar_members(file)


def is_zip(path: Path) -> bool:
    """Whether a file is a zip; not one at the end of a tar, which `zipfile.is_zipfile` takes for one."""
    with path.open("rb") as file:
        head = file.read(512)
    packed = any(head.startswith(start) for start in _OPENERS)
    return not packed and head[257:262] != b"ustar" and zipfile.is_zipfile(path)


def _plain(path: Path) -> BinaryIO:
    return path.open("rb")


_OPENERS: Final[Mapping[bytes, Callable[[Path], Any]]] = {
    b"\x1f\x8b": open_gzip,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
}


def _zip_members(path: Path, *, names_only: bool) -> Iterator[tuple[ArchiveMember, IO[bytes] | None]]:
    with zipfile.ZipFile(path) as packed:
        entries = packed.infolist()
        stated = _stated_entries(path)
        if stated not in {_MANY, len(entries)}:
            raise zipfile.BadZipFile(f"the archive states {stated} members, its directory has {len(entries)}")
        for info in entries:
            if info.is_dir():
                continue
            if info.flag_bits & 1:
                raise RuntimeError("the archive is encrypted")
            is_link = stat.S_ISLNK(info.external_attr >> 16) and info.file_size < 4096
            target = packed.read(info).decode("utf-8", "replace") if is_link else None
            with packed.open(info) as stream:
                yield ArchiveMember(info.filename, info.file_size, target), stream
                while not names_only and stream.read(PIECE_BYTES):  # to the checksum, if the caller has not
                    pass


def _stated_entries(path: Path) -> int:
    """The number of entries of the end record (APPNOTE 4.3.16)."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _END_BYTES - _COMMENT_BYTES))
        tail = file.read()
    at = tail.rfind(_END)
    return int.from_bytes(tail[at + 10 : at + 12], "little")


class _Watched:
    """What ``tarfile`` reads from; remembers the last piece read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.last = b""

    def read(self, size: int = -1) -> bytes:
        self.last = self._file.read(size)
        return self.last

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int, whence: int = 0) -> int:
        return self._file.seek(position, whence)


def _tar_members(file: IO[bytes]) -> Iterator[tuple[ArchiveMember, IO[bytes] | None]]:
    watched = _Watched(file)
    with tarfile.TarFile(mode="r", fileobj=watched) as packed:  # type: ignore[arg-type]  # read, seek and tell are used
        while (info := packed.next()) is not None:
            packed.members = []  # type: ignore[attr-defined]  # it would keep every header
            if info.isdir():
                continue
            target = info.linkname if info.issym() else None
            member = ArchiveMember(info.name, info.size, target, special=not info.isreg() and not info.issym())
            yield member, packed.extractfile(info) if info.isreg() else None
    if watched.last != _BLOCK:
        raise tarfile.ReadError("the file is damaged or truncated: a member header is wrong, or the end is missing")
    while file.read(PIECE_BYTES):  # to the checksum of the compressed stream
        pass
