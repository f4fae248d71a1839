"""Unpacks uploaded archives (``extract=true``) into staged files; nothing is stored unless all members are valid.

XNAT 1.8 chooses by the suffix of the file name (``Format``), keeps folders, writes members relative to the resource and
has no protection against members that climb out of it. Here they are refused, with links, devices and bombs.
"""

from __future__ import annotations

import re
import stat
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, BinaryIO, Final

from xnatferry.server.blob_store import UnsafeNameError, checked_name
from xnatferry.server.zip_members import BrokenZipError, ZipDirectory, ZipEntry
from xnatferry.xnat.decompression import INFLATE_ERRORS, open_gzip
from xnatferry.xnat.digest import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xnatferry.server.blob_store import BlobStore, StagedFile

_TAR_BLOCK: Final = 512
# Where a header says its type; the types whose bytes are PAX records.
_TYPE_AT: Final = 156
_EXTENDED: Final = {b"x", b"g", b"X"}
# tarfile's patterns need the square of its length to read such a number (CVE-2024-6232, in Python before 3.11.10).
_LONG_NUMBER: Final = re.compile(rb"[0-9]{101}")
_DAMAGE: Final[tuple[type[Exception], ...]] = (*INFLATE_ERRORS, tarfile.TarError, BrokenZipError)


class ArchiveFormat(StrEnum):
    """How an archive is packed."""

    ZIP = "zip"
    TAR = "tar"
    TGZ = "tgz"
    GZIP = "gzip"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpackLimits:
    """Limits above which an archive is refused as an archive bomb.

    Attributes:
        max_members: Files and folders in one archive, with the folders that its names imply.
        max_name_bytes: Names of all these together, each from the top.
        max_total_bytes: All its files together, unpacked.
        max_member_bytes: One of its files, unpacked.
        max_ratio: Unpacked bytes to bytes of the archive; deflate itself ends at 1,032. An empty mask may come close to
            that, hence the next one.
        ratio_free_bytes: Up to this many unpacked bytes the ratio does not matter.
    """

    max_members: int = 200_000
    max_name_bytes: int = 64 << 20
    max_total_bytes: int = 256 << 30
    max_member_bytes: int = 64 << 30
    max_ratio: float = 200.0
    ratio_free_bytes: int = 256 << 20


class UnsafeArchiveError(ValueError):
    """The archive has unsafe members; nothing of it was stored."""


class BrokenArchiveError(ValueError):
    """The archive does not have the format of its name, or is damaged; nothing of it was stored."""


def format_of(name: str) -> ArchiveFormat | None:
    """The format that XNAT takes a file for by its name; None is no archive.

    The case counts: ``.ZIP`` is none. Every ``.gz`` is one: ``scan.nii.gz`` is unpacked to ``scan.nii``.
    """
    if name.endswith((".zip", ".zar")):
        return ArchiveFormat.ZIP
    if name.endswith((".tar", ".xar")):
        return ArchiveFormat.TAR
    if name.endswith((".tgz", ".tar.gz")):
        return ArchiveFormat.TGZ
    return ArchiveFormat.GZIP if name.endswith(".gz") else None


def unpack(
    staged: StagedFile, archive_format: ArchiveFormat, blob_store: BlobStore, limits: UnpackLimits, name: str
) -> list[tuple[str, StagedFile]]:
    """Unpack *staged*, which stays where it is, into staged files of *blob_store*.

    *name* is the file name of the upload: a plain ``.gz`` becomes one member of that name without ``.gz``.

    Returns:
        Member name (relative, with ``/``; leading slashes and ``.`` parts dropped) and staged file, in the order of
        the archive; folders are left out.

    Raises:
        UnsafeArchiveError: A member climbs out, is a link or device, comes twice, needs a password, has a refused
            name, or a limit is passed.
        BrokenArchiveError: Not readable in this format, or damaged.
        StorageFullError: The disk is full.
    """
    intake = _Intake(blob_store, limits, staged.size_bytes)
    try:
        match archive_format:
            case ArchiveFormat.ZIP:
                _unpack_zip(staged, intake)
            case ArchiveFormat.TAR:
                with staged.path.open("rb") as file:
                    _unpack_tar(file, intake)
            case ArchiveFormat.TGZ:
                with open_gzip(staged.path) as file:
                    _unpack_tar(file, intake)
            case ArchiveFormat.GZIP:
                _unpack_gzip(staged, intake, name)
        blob_store.settle([one for _, one in intake.members])
    except _DAMAGE as error:
        blob_store.discard(one for _, one in intake.members)
        raise BrokenArchiveError(f"{name} cannot be extracted: {error}") from error
    except BaseException:
        blob_store.discard(one for _, one in intake.members)
        raise
    return intake.members


class _Intake:
    """Checks and stages the members of one archive."""

    def __init__(self, blob_store: BlobStore, limits: UnpackLimits, archive_bytes: int) -> None:
        self.members: list[tuple[str, StagedFile]] = []
        self._blob_store = blob_store
        self._limits = limits
        self._total = 0
        self._allowed = min(limits.max_total_bytes, max(limits.ratio_free_bytes, int(archive_bytes * limits.max_ratio)))
        self._number = self._name_bytes = 0
        self._names: set[str] = set()
        self._folders: set[str] = set()

    def check(self, raw: str, *, is_folder: bool = False) -> str:
        """Return the name under which a member is kept, "" for the top folder.

        Raises:
            UnsafeArchiveError: The name is refused, came before, or is one member too many.
        """
        self._count(raw)
        if raw.startswith("/") or re.match("[A-Za-z]:/", raw):
            raise UnsafeArchiveError(f"the member {_shown(raw)} has an absolute name")
        name = "/".join(part for part in raw.split("/") if part not in {"", "."})
        if is_folder and not name:
            return ""
        try:
            checked_name(name)
        except UnsafeNameError as error:
            raise UnsafeArchiveError(f"the archive has an invalid member: {error}") from error
        if not is_folder:
            self._claim(name)
        return name

    def announce(self, name: str, size_bytes: int, *, before: int = 0) -> None:
        """Count bytes before they are written; *before* bytes of the same member are already counted.

        Raises:
            UnsafeArchiveError: A limit is passed.
        """
        self._total += size_bytes
        if before + size_bytes > self._limits.max_member_bytes:
            raise UnsafeArchiveError(f"the member {_shown(name)} is larger than {self._limits.max_member_bytes} bytes")
        if self._total > self._allowed:
            raise UnsafeArchiveError(f"the archive extracts to more than {self._allowed} bytes, too many for its size")

    def take(self, raw: str, pieces: Iterator[bytes]) -> None:
        """Check and stage a member of unknown length."""
        name = self.check(raw)

        def counted() -> Iterator[bytes]:
            size = 0
            for piece in pieces:
                self.announce(name, len(piece), before=size)
                size += len(piece)
                yield piece

        self.stage(name, counted())

    def stage(self, name: str, pieces: Iterator[bytes]) -> None:
        """Write a member that has been checked and announced."""
        with self._blob_store.receive(flush=False) as receiver:
            for piece in pieces:
                receiver.write(piece)
            self.members.append((name, receiver.finish()))

    def _claim(self, name: str) -> None:
        """Refuse a file where another member needs a folder; duplicate names are checked by the caller."""
        folder = name.rpartition("/")[0]
        while folder and folder not in self._folders:
            if folder in self._names:
                raise UnsafeArchiveError(f"the archive has two members with the name {_shown(folder)}")
            self._count(folder)
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]
        if name in self._folders:
            raise UnsafeArchiveError(f"the archive has two members with the name {_shown(name)}")
        self._names.add(name)

    def _count(self, name: str) -> None:
        """Count a member or a folder that a member's name implies."""
        self._number += 1
        self._name_bytes += len(name)
        if self._number > self._limits.max_members:
            raise UnsafeArchiveError(f"the archive has more than {self._limits.max_members} members and folders")
        if self._name_bytes > self._limits.max_name_bytes:
            raise UnsafeArchiveError(
                f"the names in the archive have more than {self._limits.max_name_bytes} characters together"
            )


def _unpack_zip(staged: StagedFile, intake: _Intake) -> None:
    with staged.path.open("rb") as file:
        directory = ZipDirectory(file)
        for entry in directory:
            if name := _zip_file_name(entry, intake):
                intake.announce(name, entry.size_bytes)
        # Everything is checked: now the bytes, in a second pass over the directory.
        for entry in directory:
            if not _is_zip_folder(entry):
                name = "/".join(part for part in entry.name.split("/") if part not in {"", "."})
                intake.stage(name, directory.pieces(entry))


def _zip_file_name(entry: ZipEntry, intake: _Intake) -> str:
    """The checked name of a file, "" for a folder."""
    is_folder = _is_zip_folder(entry)
    name = intake.check(entry.name, is_folder=is_folder)
    kind = stat.S_IFMT(entry.mode)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise UnsafeArchiveError(f"the member {_shown(entry.name)} is a link or device; pack the files themselves")
    if entry.encrypted:
        raise UnsafeArchiveError(f"the member {_shown(entry.name)} is encrypted; pack it without a password")
    return "" if is_folder else name


def _is_zip_folder(entry: ZipEntry) -> bool:
    return entry.name.endswith("/") or stat.S_ISDIR(entry.mode)


def _unpack_gzip(staged: StagedFile, intake: _Intake, name: str) -> None:
    if staged.size_bytes == 0:  # which the decompressors take for an archive of nothing
        raise EOFError("the file is empty")
    with open_gzip(staged.path) as file:
        intake.take(name.removesuffix(".gz"), _read(file))


def _unpack_tar(file: BinaryIO, intake: _Intake) -> None:
    stream = _TarStream(file)
    for member in _tar_members(stream):
        name = _tar_file_name(member, intake)
        if not member.isdir():
            intake.announce(name, member.size)
            stream.seek(member.offset_data)
            intake.stage(name, _exactly(stream, member.size))
    if not stream.ended:
        raise tarfile.ReadError("the file is damaged or truncated")
    while file.read(PIECE_BYTES):  # to the end, where the gzip checksum is
        pass


def _tar_members(stream: _TarStream) -> Iterator[tarfile.TarInfo]:
    with _odd_headers():
        tar = tarfile.TarFile(mode="r", fileobj=stream)  # type: ignore[arg-type]  # needs read, seek and tell only
    while True:
        with _odd_headers():
            member = tar.next()
        if member is None:
            return
        tar.members = []  # type: ignore[attr-defined]  # it would keep every header
        yield member


@contextmanager
def _odd_headers() -> Iterator[None]:
    """On odd headers tarfile fails in many ways: a size that is no number, 1,000 long names in a row."""
    try:
        yield
    except UnsafeArchiveError:
        raise
    except (ValueError, ArithmeticError, LookupError, RecursionError) as error:
        raise tarfile.ReadError("the header of a member is damaged") from error


def _tar_file_name(member: tarfile.TarInfo, intake: _Intake) -> str:
    name = intake.check(member.name, is_folder=member.isdir())
    if member.issym() or member.islnk():
        raise UnsafeArchiveError(
            f"the member {_shown(member.name)} is a link; pack its target (tar -h --hard-dereference)"
        )
    if member.issparse():
        raise UnsafeArchiveError(f"the member {_shown(member.name)} is sparse; pack without --sparse")
    if not (member.isreg() or member.isdir()):
        raise UnsafeArchiveError(f"the member {_shown(member.name)} is a device or pipe")
    return name


class _TarStream:
    """What ``tarfile`` reads from: forwards only, and headers of a sane size only."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = 0
        self._last = b""

    @property
    def ended(self) -> bool:
        """Whether the last header read was the zero block that ends an archive; tarfile stops at damage in silence."""
        return self._last == bytes(_TAR_BLOCK)

    def read(self, size: int) -> bytes:
        if size < 0:
            raise tarfile.ReadError("a size is negative")
        if size > PIECE_BYTES:
            raise UnsafeArchiveError("the archive has a member header of more than 1 MiB")
        data = self._file.read(size)
        if self._last[_TYPE_AT : _TYPE_AT + 1] in _EXTENDED and _LONG_NUMBER.search(data):
            raise UnsafeArchiveError("the archive has a PAX header with a number of more than 100 digits")
        self._position += len(data)
        self._last = data
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        if position < self._position:
            raise tarfile.ReadError("a member overlaps another")
        while self._position < position and self.read(min(PIECE_BYTES, position - self._position)):
            pass


def _exactly(stream: _TarStream, size: int) -> Iterator[bytes]:
    while size:
        piece = stream.read(min(size, PIECE_BYTES))
        if not piece:
            raise tarfile.ReadError("the file is truncated")
        size -= len(piece)
        yield piece


def _read(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else name[:100] + "...")
