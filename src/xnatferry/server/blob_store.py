"""The files of an archive on disk, in XNAT's folder layout (``archive/PROJECT/arc001/SESSION/SCANS/1/NIFTI/...``).

Bytes arrive in ``incoming`` under a temporary name, are hashed while they are written, and get their real name by one
rename when they are whole and durable. Removed files are moved to ``trash`` first. A killed process therefore leaves
whole files or leftovers in ``incoming``, never half a file under a real name.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import secrets
import threading
import time
import unicodedata
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, BinaryIO, Final

from xnatferry import durable
from xnatferry.errors import ArchiveError
from xnatferry.server.folder_trees import entries_below, remove_tree
from xnatferry.xnat.digest import Hasher

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_PART_BYTES: Final = 255
_NAME_BYTES: Final = 2048
# Deep enough for a work folder of nipype; all that walks a tree below it stays cheap.
_DEPTH: Final = 64
# Folders down to this depth (PROJECT/arc001) stay when they run empty.
_KEPT_DEPTH: Final = 2


log = logging.getLogger(__name__)


class UnsafeNameError(ValueError):
    """A name that would leave the archive, break its listings, or clash with another file or folder."""


class StorageFullError(ArchiveError):
    """The disk of the archive is full; nothing of the file that did not fit was kept."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A whole, durable file that waits in ``incoming`` for its place.

    Attributes:
        path: Where it is now.
        size_bytes: Its length.
        digest: MD5 of its bytes, 32 lower-case hex digits.
    """

    path: Path
    size_bytes: int
    digest: str


class BlobStore:
    """The file store under *root*. May be used from any thread."""

    def __init__(self, root: Path) -> None:
        self.archive = root / "archive"
        self._incoming = root / "incoming"
        self._trash = root / "trash"
        for folder in (root, self.archive, self._incoming, self._trash):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        durable.flush_folders([root])
        # Makes folders and renames into them as one act: pruning must not take a folder away in between.
        self._tree = threading.Lock()
        self._numbers = itertools.count()

    def path(self, relative: str) -> Path:
        """The absolute path of *relative*, which need not exist.

        Any depth is allowed: earlier versions stored files in any number of folders.

        Raises:
            UnsafeNameError: See `checked_name`.
        """
        return self.archive / checked_name(relative, depth=_NAME_BYTES)

    def exists(self, relative: str) -> bool:
        """Whether a file or folder is there."""
        return os.path.lexists(self.path(relative))

    def occupied(self, relative: str) -> bool:
        """Whether a file or a non-empty folder exists there."""
        path = self.path(relative)
        return os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir()))

    @contextmanager
    def receive(self, *, flush: bool = True) -> Iterator[Receiver]:
        """Take in one file; leaving without `Receiver.finish` removes it.

        Args:
            flush: Whether `Receiver.finish` makes the file durable. Without, the caller makes many so at once
                with `settle`.

        Raises:
            StorageFullError: The disk is full.
        """
        path = self._incoming / secrets.token_hex(16)
        with self._room():
            file = path.open("xb", buffering=0)
        receiver = Receiver(file, path, flush=flush)
        try:
            with self._room():
                yield receiver
        finally:
            file.close()
            if not receiver.finished:
                path.unlink(missing_ok=True)

    def settle(self, staged: Sequence[StagedFile]) -> None:
        """Make files durable that were received without flushing.

        Raises:
            StorageFullError: The disk is full.
        """
        with self._room():
            durable.flush_files([one.path for one in staged], self._incoming)

    def place(self, staged: StagedFile, relative: str) -> None:
        """Move *staged* to its place, durably; a file that is there already is replaced in the same instant.

        Raises:
            UnsafeNameError: The name is refused, or a folder has it, or one of its folders is a file.
            StorageFullError: The disk is full; *staged* is removed.
        """
        self.place_all([(staged, relative)])

    def place_all(self, pairs: Sequence[tuple[StagedFile, str]], *, flush: bool = True) -> set[Path]:
        """Move many files to their places: all of them, or on an error none; returns the folders that changed.

        Args:
            pairs: Files and their names.
            flush: Whether the renames are durable on return. Without, the caller flushes the folders returned.

        Raises:
            UnsafeNameError: As for `place`; also when one of the names is a folder of another.
            StorageFullError: The disk is full. After any error the staged files are gone.
        """
        try:
            targets = [(staged, self.path(relative)) for staged, relative in pairs]
            with self._room():
                touched = self._move_in(targets)
                if flush:
                    durable.flush_folders(touched)
                return touched
        except BaseException:
            self.discard(staged for staged, _ in pairs)
            raise

    def discard(self, staged: StagedFile | Iterable[StagedFile]) -> None:
        """Remove staged files."""
        for one in [staged] if isinstance(staged, StagedFile) else staged:
            one.path.unlink(missing_ok=True)

    def trash(self, relative: str) -> None:
        """Move a file or tree to the trash, durably, with folders that become empty; no effect if it is missing."""
        path = self.path(relative)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
        with self._room(), self._tree:
            if not os.path.lexists(path):
                return
            target = self._trash / f"{stamp}-{os.getpid()}-{next(self._numbers)}" / relative
            try:
                touched = _make_folders(target.parent)
                path.rename(target)
                touched.add(target.parent)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                log.warning("disk full: %s is deleted and not moved to the trash", path)
                touched = set()
                remove_tree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
            touched.add(self._prune(path.parent))
        durable.flush_folders(touched)

    def move(self, old: str, new: str) -> None:
        """Rename a file or tree, durably; no effect if it is missing.

        Raises:
            FileExistsError: Something that is not an empty folder has the new name.
        """
        source, target = self.path(old), self.path(new)
        with self._room(), self._tree:
            if not os.path.lexists(source):
                return
            if self.occupied(new):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
            touched = _make_folders(target.parent)
            source.rename(target)
            touched |= {target.parent, self._prune(source.parent)}
        durable.flush_folders(touched)

    def files(self, relative: str) -> Iterator[tuple[str, int]]:
        """Yield name (below *relative*, with ``/``) and size in bytes of every regular file; links are skipped."""
        for name, entry in entries_below(self.path(relative)):
            if entry.is_file(follow_symlinks=False):
                yield name, entry.stat(follow_symlinks=False).st_size

    def clean_incoming(self) -> int:
        """Remove what a killed process left in ``incoming``; returns the number of files. Needs the root lock."""
        number = 0
        for path in self._incoming.iterdir():
            path.unlink()
            number += 1
        return number

    def empty_trash(self, *, older_than_days: float) -> int:
        """Delete trash older than that many days; returns the number of removals.

        What cannot be deleted stays, and is logged.
        """
        number = 0
        for folder in self._trash.iterdir():
            try:
                if folder.stat().st_mtime <= time.time() - older_than_days * 86_400:
                    remove_tree(folder)
                    number += 1
            except OSError as error:
                log.warning("%s cannot be deleted (%s); delete it by hand", folder, error)
        return number

    def _move_in(self, targets: Sequence[tuple[StagedFile, Path]]) -> set[Path]:
        """Rename everything into place; returns the folders to flush. On an error, what was there before is back."""
        touched: set[Path] = set()
        undo: list[tuple[Path, Path | None]] = []
        try:
            with self._tree:
                for staged, target in targets:
                    touched |= _make_folders(target.parent)
                    undo.append((target, self._set_aside(target)))
                    staged.path.replace(target)
                    touched.add(target.parent)
        except BaseException:
            self._take_back(undo)
            raise
        for _, aside in undo:
            if aside is not None:
                aside.unlink()
        return touched

    def _set_aside(self, target: Path) -> Path | None:
        """Give a file that is about to be replaced a second name, or another one, so that it can come back.

        Without hard links (exFAT, some network disks) there is no file for a moment. Requests wait for each other by
        name, and for a killed process the redo log has the new one.
        """
        if target.is_dir():
            raise UnsafeNameError(f"{target.relative_to(self.archive)} is a folder; a file cannot have this name")
        aside = self._incoming / secrets.token_hex(16)
        try:
            try:
                os.link(target, aside, follow_symlinks=False)
            except FileNotFoundError:
                raise
            except OSError as error:
                if error.errno in _FULL:
                    raise
                target.rename(aside)
        except FileNotFoundError:
            return None
        return aside

    def _take_back(self, undo: list[tuple[Path, Path | None]]) -> None:
        for target, aside in reversed(undo):
            with suppress(OSError):
                if aside is None:
                    target.unlink(missing_ok=True)
                    with self._tree:
                        self._prune(target.parent)
                else:
                    aside.replace(target)

    def _prune(self, folder: Path) -> Path:
        """Remove *folder* and those above it while they are empty; returns the first that stays."""
        while len(folder.relative_to(self.archive).parts) > _KEPT_DEPTH:
            try:
                folder.rmdir()
            except OSError:
                break
            folder = folder.parent
        return folder

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise StorageFullError(f"disk full: {self.archive.parent}; free some space and try again") from error
            raise


class Receiver:
    """Writes one incoming file and hashes it on the way."""

    def __init__(self, file: BinaryIO, path: Path, *, flush: bool) -> None:
        self._file = file
        self._path = path
        self._flush = flush
        self._hasher = Hasher()
        self.finished = False

    def write(self, piece: bytes | memoryview) -> None:
        """Append *piece*. Fastest with pieces of about 1 MiB."""
        self._hasher.update(piece)
        rest = memoryview(piece)
        while rest:
            rest = rest[self._file.write(rest) :]

    def finish(self) -> StagedFile:
        """Make the file durable and return it; the caller must place or discard it."""
        if self._flush:
            os.fsync(self._file.fileno())
        self.finished = True
        return StagedFile(self._path, self._hasher.size_bytes, self._hasher.digest)


def checked_name(relative: str, *, depth: int = _DEPTH) -> str:
    """Return *relative* when it is safe as a name below the archive.

    Refused: absolute and empty names; the parts ``""``, ``.`` and ``..``; backslashes and drive letters, which mean
    folders elsewhere; control characters, unpaired surrogates and non-characters, which no XML listing can hold; parts
    of more than 255 bytes and names of more than 2,048, or of more than *depth* parts.

    Raises:
        UnsafeNameError: With the reason.
    """
    if problem := _name_problem(relative, depth):
        shown = relative if len(relative) <= 120 else relative[:100] + "..."
        raise UnsafeNameError(f"invalid name {shown!r}: {problem}")
    return relative


def _name_problem(relative: str, depth: int) -> str | None:
    if "\\" in relative or relative[1:3] == ":/":
        return "it contains a backslash or a drive letter"
    # Most names are plain; only others are looked at letter by letter.
    for character in "" if relative.isascii() and relative.isprintable() else relative:
        category = unicodedata.category(character)
        if category in {"Cc", "Cs"} or (ord(character) & 0xFFFE) == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF:
            return f"it contains the character U+{ord(character):04X}"
    if len(relative.encode()) > _NAME_BYTES:
        return f"it is longer than {_NAME_BYTES} bytes"
    if relative.count("/") >= depth:
        return f"it has more than {depth} folders and names"
    for part in relative.split("/"):
        if part in {"", ".", ".."}:
            return f"it contains the path part {part!r}"
        if len(part.encode()) > _PART_BYTES:
            return f"a path part is longer than {_PART_BYTES} bytes"
    return None


def _make_folders(folder: Path) -> set[Path]:
    """Make *folder* and those above it, all or none, where missing; returns the folders that got a new entry."""
    missing: list[Path] = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for number, new in enumerate(reversed(missing)):
        try:
            new.mkdir(mode=0o700)
        except OSError as error:
            for made in missing[len(missing) - number :]:
                made.rmdir()
            if not isinstance(error, FileExistsError | NotADirectoryError):
                raise
            raise UnsafeNameError(f"{error.filename} is a file; a folder cannot have this name") from error
    return {new.parent for new in missing}
