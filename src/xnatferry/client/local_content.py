"""Local files and folders as bodies of uploads: opened again for every attempt, hashed while they are read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from xnatferry.errors import DataError, FileChangedError
from xnatferry.xnat.archives import UNREADABLE, read_archive
from xnatferry.xnat.digest import PIECE_BYTES, Hasher, held_back
from xnatferry.xnat.labels import remote_name_problem
from xnatferry.xnat.zips import ZipMember, ZipStream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path, PurePath

    from xnatferry.client.http import Body


@dataclass(frozen=True, slots=True)
class Content:
    """Size in bytes and MD5 of a file."""

    size_bytes: int
    digest: str


@dataclass(frozen=True, slots=True)
class LocalArchive:
    """An archive to send.

    Attributes:
        name: Its name; XNAT detects the format by its ending.
        body: Returns its bytes, again at each call.
        size_bytes: Number of bytes.
        names: Names of the files in it.
        members: Size and MD5 of each file, by its name in the archive; complete after *body* has been read.
    """

    name: str
    body: Body
    size_bytes: int
    names: frozenset[str]
    members: dict[str, Content]


def content_of(path: Path) -> Content:
    """Size and MD5 of a file.

    Raises:
        DataError: It cannot be read.
    """
    hasher = Hasher()
    for piece in _file_pieces(path):
        hasher.update(piece)
    return Content(hasher.size_bytes, hasher.digest)


def archive_of(path: Path) -> LocalArchive:
    """A zip or tar unchanged, or a folder as a zip that is made while it is sent, with the folder as top folder.

    Raises:
        DataError: It cannot be read, is not an archive, or contains names that XNAT would lose.
    """
    if path.is_dir():
        return _zipped(path)
    check = _unchanged(path)
    members = {_checked(path, name.removeprefix("./")): content for name, content in _members(path)}
    if not members:
        raise DataError(f"{path}: the archive contains no files")

    def body() -> Iterator[bytes]:
        return held_back(_file_pieces(path), check)

    return LocalArchive(path.name, body, path.stat().st_size, frozenset(members), members)


def _zipped(folder: Path) -> LocalArchive:
    """XNAT does not extract links: a link to a file inside is replaced by a copy, a link to the outside is refused."""
    root = folder.resolve()
    found: dict[str, Content] = {}

    def member(path: Path) -> ZipMember:
        name = _checked(folder, member_name(root, path))
        size, check = path.stat().st_size, _unchanged(path)

        def pieces() -> Iterator[bytes]:
            hasher = Hasher()
            for piece in held_back(_file_pieces(path), check):
                hasher.update(piece)
                yield piece
            found[name] = Content(size, hasher.digest)

        return ZipMember(name, size, pieces)

    packed = [member(path) for path in _walked(root)]
    if not packed:
        raise DataError(f"{folder}: the folder contains no files")
    archive = ZipStream(packed)
    names = frozenset(file.name for file in packed)
    return LocalArchive(f"{root.name}.zip", lambda: archive, archive.size_bytes, names, found)


def member_name(root: PurePath, path: PurePath) -> str:
    """The name in an archive of the file at *path*, with the folder *root* as its top: parts joined by ``/``."""
    return "/".join((root.name, *path.relative_to(root).parts))


def _walked(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = root.__class__(folder) / name
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise DataError(f"{path}: link to a file outside of {root.name}; replace it by a copy, or remove it")
            if not path.is_file():
                raise DataError(f"{path}: not a regular file; remove it")
            yield path


def _file_pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                yield piece
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None


def _unchanged(path: Path) -> Callable[[], None]:
    """A check that a file has not changed, for use after it was read.

    Raises:
        DataError: It cannot be read.
    """

    def look() -> tuple[int, int]:
        status = path.stat()
        return status.st_size, status.st_mtime_ns

    try:
        before = look()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None

    def check() -> None:
        try:
            same = look() == before
        except OSError:
            same = False
        if not same:
            raise FileChangedError(f"{path}: changed while it was read; send it again")

    return check


def _members(path: Path) -> Iterator[tuple[str, Content]]:
    try:
        for member, stream in read_archive(path):
            if member.target is not None or member.special:
                raise DataError(
                    f"{path}: {member.name} is a link, which XNAT stores as an empty file; replace it by a copy"
                )
            if stream is not None:
                yield member.name, _content(stream)
    except UNREADABLE as error:
        raise DataError(f"{path}: not a readable zip or tar ({error})") from None


def _content(stream: IO[bytes]) -> Content:
    hasher = Hasher()
    while piece := stream.read(PIECE_BYTES):
        hasher.update(piece)
    return Content(hasher.size_bytes, hasher.digest)


def _checked(where: Path, name: str) -> str:
    if problem := remote_name_problem(name):
        raise DataError(f"{where}: the name {name!r} cannot be stored: {problem}")
    return name
