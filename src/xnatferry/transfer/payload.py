"""The bytes of local files, unchanged or gzipped; opened again at each call."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import IO, TYPE_CHECKING

from xnatferry.errors import FileChangedError, TransferError
from xnatferry.planning.plan import Payload, Plan
from xnatferry.planning.remote_state import Fingerprint
from xnatferry.sources.scrubbing import scrubbed_pieces
from xnatferry.xnat.archives import ARCHIVE_ERRORS, UNREADABLE, read_archive
from xnatferry.xnat.digest import PIECE_BYTES, Hasher, held_back
from xnatferry.xnat.gzip_stream import GzipStream, Measured

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from xnatferry.sources.model import LocalFile


def check_unchanged(local: LocalFile) -> None:
    """Check that a file is unchanged since discovery; a file of another server is checked while it is read.

    Raises:
        FileChangedError: Its size or time differ, or it is gone.
    """
    if local.opener is not None:
        return
    try:
        now = local.path.stat()
    except OSError as error:
        raise _unreadable(local.path, error) from error
    sized = local.member is None and local.made is None
    if now.st_mtime_ns != local.mtime_ns or (sized and now.st_size != local.disk_bytes):
        raise FileChangedError(f"{local.path}: changed since the plan was made; create the plan again")


def moved_sources(plan: Plan) -> list[str]:
    """Local files that changed since *plan* was made, one sentence each; a new date on the same bytes is no change."""
    moved = []
    for step in plan.files:
        payload = step.payload
        if payload is None or not step.sends:
            continue
        try:
            check_unchanged(payload.local)
        except FileChangedError as error:
            if not _same_bytes(payload.local):
                moved.append(str(error))
    return moved


def _same_bytes(local: LocalFile) -> bool:
    digest = local.digest if local.made is None else local.made.source_digest
    if digest is None or local.member is not None or not local.path.is_file():
        return False
    hasher = Hasher()
    try:
        for piece in scrubbed_pieces(file_pieces(local.path), local.scrub):
            hasher.update(piece)
    except FileChangedError:
        return False
    return hasher.digest == digest


def file_pieces(path: Path) -> Iterator[bytes]:
    """A file in pieces of 1 MiB.

    Raises:
        FileChangedError: It can no longer be read.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with stream:
        yield from _pieces(stream, path)


def payload_pieces(payload: Payload, walk: ArchiveWalk | None = None, found: Measured | None = None) -> Iterator[bytes]:
    """The bytes of *payload* as they arrive, checked to be what discovery saw.

    The last piece follows only after another check: a server never gets a file that changed while it was read.

    Args:
        payload: What to read.
        walk: Where the members of its archive are read one after the other; without it, each from the start.
        found: What was measured of a file that is compressed on the way, which is done here where it was not.

    Raises:
        FileChangedError: The file changed before or while it was read.
    """
    local = payload.local
    pieces: Iterable[bytes] = _plain_pieces(local, walk)
    if payload.gzip:
        pieces = _compressed(local, found or measured(local))
    yield from held_back(pieces, partial(check_unchanged, local))


def measured(local: LocalFile) -> Measured:
    """Compress *local* once to measure it, before it is sent: its length must be announced, and its header says both.

    Raises:
        FileChangedError: The file changed before or while it was read.
    """
    stream = GzipStream(_plain_pieces(local))
    size_bytes = sum(map(len, stream))
    if local.digest not in {None, stream.content.digest}:
        raise _changed(local)
    return Measured(size_bytes, stream.content)


def _compressed(local: LocalFile, found: Measured) -> Iterator[bytes]:
    """The same once more, with what was found in the header; its last piece comes only when it still holds."""
    stream = GzipStream(_plain_pieces(local), found)
    left = found.size_bytes
    for piece in stream:
        left -= len(piece)
        if left < 0 or (left == 0 and stream.content != found.content):
            break
        yield piece
    if left != 0 or stream.content != found.content:
        raise _changed(local)


def _plain_pieces(local: LocalFile, walk: ArchiveWalk | None = None) -> Iterator[bytes]:
    """The contents of a file before any compression on the way."""
    check_unchanged(local)
    if local.opener is not None:
        plain = local.opener()
    elif local.member is not None:
        plain = (walk or ArchiveWalk(local.path)).pieces(local)
    else:
        plain = file_pieces(local.path)
    came = 0
    for piece in scrubbed_pieces(plain, local.scrub):
        came += len(piece)
        if came > local.size_bytes:
            break
        yield piece
    if came != local.size_bytes:
        raise _changed(local)


def fingerprint(local: LocalFile, gzip: bool = False) -> Fingerprint:  # noqa: FBT001, FBT002  # the reconciler's question
    """Size and MD5 of *local* as it would arrive, and of *gzip* also what it unpacks to.

    Reads it once unless the digest is known; with *gzip* twice.
    """
    if gzip:
        found = measured(local)
        hasher = Hasher()
        for piece in payload_pieces(Payload(local, gzip=True), found=found):
            hasher.update(piece)
        return Fingerprint(hasher.size_bytes, hasher.digest, found.content)
    if local.digest is not None:
        return Fingerprint(local.size_bytes, local.digest)
    if local.member is not None:
        check_unchanged(local)
        known = _digests_of(local.path, local.mtime_ns).get(local.member)
        if known is None:
            raise FileChangedError(f"{local.path}: {local.member} is not in it any more; make the plan again")
        return known
    hasher = Hasher()
    for piece in payload_pieces(Payload(local)):
        hasher.update(piece)
    return Fingerprint(hasher.size_bytes, hasher.digest)


@lru_cache(maxsize=16)
def _digests_of(path: Path, mtime_ns: int) -> dict[str, Fingerprint]:  # noqa: ARG001  # part of the key
    """All digests of one archive, cached: members are requested one by one, and a tar is read from the start."""
    return archive_digests(path)


def archive_digests(path: Path) -> dict[str, Fingerprint]:
    """Size and MD5 of every file in a zip or tar, by its name in the archive."""
    found: dict[str, Fingerprint] = {}
    for name, stream in _archive_members(path):
        hasher = Hasher()
        for piece in _pieces(stream, path):
            hasher.update(piece)
        found[name] = Fingerprint(hasher.size_bytes, hasher.digest)
    return found


def archive_names(path: Path) -> list[str]:
    """Names of the files in a zip or tar, in its order."""
    return [name for name, _ in _archive_members(path, names_only=True)]


def watched(pieces: Iterable[bytes], seen: Callable[[int], None], *, hasher: Hasher | None = None) -> Iterator[bytes]:
    """Pass *pieces* on, counting them to *seen* and, if given, hashing them."""
    for piece in pieces:
        if hasher is not None:
            hasher.update(piece)
        yield piece
        seen(len(piece))


def _changed(local: LocalFile) -> FileChangedError:
    return FileChangedError(f"{local.path}: changed while it was read; make the plan again")


def _unreadable(path: Path, error: OSError) -> FileChangedError:
    return FileChangedError(f"{path}: can no longer be read ({error.strerror or error}); create the plan again")


def _pieces(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    while True:
        try:
            piece = stream.read(PIECE_BYTES)
        except ARCHIVE_ERRORS as error:
            raise TransferError(f"{path}: not a readable archive ({error})") from error
        except OSError as error:
            raise _unreadable(path, error) from error
        if not piece:
            return
        yield piece


class ArchiveWalk:
    """Members of one zip or tar, read one after the other in a single pass as long as they are asked for in its order.

    One reader at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._members: Iterator[tuple[str, IO[bytes]]] = iter(())

    def pieces(self, local: LocalFile) -> Iterator[bytes]:
        """The bytes of one member.

        Raises:
            FileChangedError: It is no longer in the archive.
            TransferError: The archive cannot be read.
        """
        for members in (self._members, _archive_members(self._path)):
            self._members = members
            for name, stream in members:
                if name == local.member:
                    yield from _pieces(stream, self._path)
                    return
        raise FileChangedError(f"{self._path}: {local.member} is no longer in it; create the plan again")


def _archive_members(path: Path, *, names_only: bool = False) -> Iterator[tuple[str, IO[bytes]]]:
    """Every file of an archive with a stream of its bytes, to be read before the next one."""
    try:
        for member, stream in read_archive(path, names_only=names_only):
            if stream is not None:
                yield member.name, stream
    except UNREADABLE as error:
        raise TransferError(f"{path}: not a readable archive ({error})") from error
