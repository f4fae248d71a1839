"""The bytes of local files, as they are or gzipped on the way; opened anew at each call."""

from __future__ import annotations

import tarfile
import zipfile
from typing import IO, TYPE_CHECKING

from xnatferry.errors import FileChangedError, TransferError
from xnatferry.planning.plan import Payload, Plan
from xnatferry.planning.reconcile import Fingerprint
from xnatferry.xnat.digest import PIECE_BYTES, Hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from xnatferry.sources.base import LocalFile

try:
    from isal import isal_zlib as _zlib
except ImportError:  # no wheel for this processor
    import zlib as _zlib  # type: ignore[no-redef]  # same names, thirty times slower

__all__ = [
    "archive_digests",
    "check_unchanged",
    "file_pieces",
    "fingerprint",
    "moved_sources",
    "payload_pieces",
    "watched",
]

_GZIP_LEVEL = 3
_GZIP_HEADER = 31  # zlib's window bits for a gzip stream: no name, time 0, so that the same bytes come out every time


def check_unchanged(local: LocalFile) -> None:
    """Compare a file with what discovery saw.

    Raises:
        FileChangedError: Its size or time differ, or it is gone.
    """
    try:
        now = local.path.stat()
    except OSError as error:
        raise _unreadable(local.path, error) from error
    if now.st_mtime_ns != local.mtime_ns or (local.member is None and now.st_size != local.size_bytes):
        raise FileChangedError(f"{local.path}: changed since the plan was made; make the plan again")


def moved_sources(plan: Plan) -> list[str]:
    """What changed on the local disk since *plan* was made, one sentence each; a new date on the same bytes is none."""
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
    if local.digest is None or local.member is not None or not local.path.is_file():
        return False
    hasher = Hasher()
    for piece in file_pieces(local.path):
        hasher.update(piece)
    return hasher.digest == local.digest


def file_pieces(path: Path) -> Iterator[bytes]:
    """A file in pieces of 1 MiB.

    Raises:
        FileChangedError: It cannot be read any more.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise _unreadable(path, error) from error
    with stream:
        yield from _pieces(stream, path)


def payload_pieces(payload: Payload) -> Iterator[bytes]:
    """The bytes of *payload* as they arrive, checked to be what discovery saw.

    Raises:
        FileChangedError: The file changed before or while it was read.
    """
    local = payload.local
    check_unchanged(local)
    plain = _member_pieces(local) if local.member is not None else file_pieces(local.path)
    if payload.gzip:
        yield from _gzipped(plain)
    else:
        came = 0
        for piece in plain:
            came += len(piece)
            if came > local.size_bytes:
                break
            yield piece
        if came != local.size_bytes:
            raise FileChangedError(f"{local.path}: changed while it was read; make the plan again")
    check_unchanged(local)


def fingerprint(local: LocalFile, gzip: bool = False) -> Fingerprint:  # noqa: FBT001, FBT002  # the reconciler's question
    """Size and MD5 of *local* as it would arrive; reads it once unless the digest is known."""
    if not gzip and local.digest is not None:
        return Fingerprint(local.size_bytes, local.digest)
    hasher = Hasher()
    for piece in payload_pieces(Payload(local, gzip=gzip)):
        hasher.update(piece)
    return Fingerprint(hasher.size_bytes, hasher.digest)


def archive_digests(path: Path) -> dict[str, Fingerprint]:
    """Size and MD5 of every file in a zip or tar, by its name in the archive."""
    found: dict[str, Fingerprint] = {}
    for name, stream in _archive_members(path):
        hasher = Hasher()
        for piece in _pieces(stream, path):
            hasher.update(piece)
        found[name] = Fingerprint(hasher.size_bytes, hasher.digest)
    return found


def watched(pieces: Iterable[bytes], seen: Callable[[int], None], *, hasher: Hasher | None = None) -> Iterator[bytes]:
    """Pass *pieces* on, counting them to *seen* and, if given, hashing them."""
    for piece in pieces:
        if hasher is not None:
            hasher.update(piece)
        yield piece
        seen(len(piece))


def _unreadable(path: Path, error: OSError) -> FileChangedError:
    return FileChangedError(f"{path}: cannot be read any more ({error.strerror or error}); make the plan again")


def _pieces(stream: IO[bytes], path: Path) -> Iterator[bytes]:
    while True:
        try:
            piece = stream.read(PIECE_BYTES)
        except OSError as error:
            raise _unreadable(path, error) from error
        if not piece:
            return
        yield piece


def _gzipped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    packer = _zlib.compressobj(_GZIP_LEVEL, _zlib.DEFLATED, _GZIP_HEADER)
    for piece in pieces:
        if packed := packer.compress(piece):
            yield packed
    yield packer.flush()


def _member_pieces(local: LocalFile) -> Iterator[bytes]:
    for name, stream in _archive_members(local.path):
        if name == local.member:
            yield from _pieces(stream, local.path)
            return
    raise FileChangedError(f"{local.path}: {local.member} is not in it any more; make the plan again")


def _archive_members(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Every file of an archive with a stream of its bytes, to be read before the next one."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as packed:
                for info in packed.infolist():
                    if not info.is_dir():
                        with packed.open(info) as stream:
                            yield info.filename, stream
            return
        with tarfile.open(path) as tarred:
            for entry in tarred:
                stream_or_none = tarred.extractfile(entry) if entry.isfile() else None
                if stream_or_none is not None:
                    yield entry.name, stream_or_none
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise TransferError(f"{path}: cannot be read as an archive ({error})") from error
