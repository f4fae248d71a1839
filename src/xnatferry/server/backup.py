"""Copies an archive, running or not, as it was at one moment (``xnatferry serve --backup``).

The database is copied by SQLite's own backup; then every file that the copy lists is linked or copied, and compared
with its MD5. Stored files are never changed in place, only replaced and removed. A file that was replaced or removed in
between is why another pass begins with a newer copy of the database; the last passes hold the lock of the writers.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry import durable
from xnatferry.errors import ArchiveError, UsageError
from xnatferry.server import objects, resources
from xnatferry.server.archive import CREDENTIAL_FILE
from xnatferry.server.audit import open_metadata
from xnatferry.wording import counted
from xnatferry.xnat.digest import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xnatferry.server.resources import StoredFile

_FREE_PASSES: Final = 3
#: Passes while writers wait. Each lasts for the few files that changed, and for what is being moved to its place.
_LOCKED_PASSES: Final = 40
_PAUSE_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup.

    Attributes:
        files: Files in it, all compared with the database.
        size_bytes: Their bytes.
    """

    files: int
    size_bytes: int


def back_up(root: Path, target: Path) -> Backup:
    """Copy the archive under *root* to *target*, a new or empty folder.

    Files of no resource, the trash and cached pictures are left out. On the same file system files are hard links.

    Raises:
        UsageError: *target* is not empty, or lies in the archive.
        ArchiveError: There is no archive, or a listed file is missing or damaged: the backup has no database then.
    """
    if target.resolve().is_relative_to(root.resolve()):
        raise UsageError(f"{target} lies in the archive {root}; choose another folder for the backup")
    if target.exists() and any(target.iterdir()):
        raise UsageError(f"{target} is not empty; choose another folder for the backup")
    (target / "archive").mkdir(mode=0o700, parents=True, exist_ok=True)
    part = target / "metadata.sqlite.part"
    taken: dict[Path, tuple[int, str]] = {}
    with closing(open_metadata(root)) as source:
        for number in range(_FREE_PASSES + _LOCKED_PASSES):
            if number == _FREE_PASSES:
                source.execute("PRAGMA query_only=OFF")
                source.execute("BEGIN IMMEDIATE")
            if number >= _FREE_PASSES:
                time.sleep(_PAUSE_S)
            wanted = _copy_metadata(root, part)
            problems = [problem for name, file in wanted if (problem := _take(root, target, name, file, taken))]
            if not problems:
                break
    if problems:
        shown = "; ".join(problems[:5])
        raise ArchiveError(
            f"{counted(len(problems), 'file')} of {root} cannot be copied: {shown}; run xnatferry serve --check --deep"
        )
    names = {target / "archive" / name for name, _ in wanted}
    for path in taken.keys() - names:  # removed from the archive between two passes
        path.unlink()
    shutil.copy2(root / CREDENTIAL_FILE, target / CREDENTIAL_FILE)
    durable.flush_files([*names, part], target)
    durable.flush_folders({folder for path in names for folder in path.parents if folder.is_relative_to(target)})
    part.rename(target / "metadata.sqlite")
    durable.flush_folders([target])
    return Backup(len(wanted), sum(file.size_bytes for _, file in wanted))


def _copy_metadata(root: Path, part: Path) -> list[tuple[str, StoredFile]]:
    """Copy the database; returns path and row of every file that the copy lists."""
    part.unlink(missing_ok=True)
    os.close(os.open(part, os.O_CREAT | os.O_EXCL, 0o600))
    with closing(open_metadata(root)) as source, closing(sqlite3.connect(part)) as copy:
        source.backup(copy)
        copy.row_factory = sqlite3.Row
        copy.execute("PRAGMA journal_mode=DELETE")  # one file, without a log beside it
        wanted = list(_listed(copy))
        # What the process was about to do on its disk; in the copy every listed file is in its place.
        copy.execute("DELETE FROM landings")
        copy.execute("DELETE FROM intents")
        copy.commit()
    return wanted


def _listed(connection: sqlite3.Connection) -> Iterator[tuple[str, StoredFile]]:
    keys = [row["key"] for row in connection.execute("SELECT key FROM items ORDER BY key")]
    for resource in resources.resources_of(connection, keys):
        folder = resources.folder_of(objects.by_key(connection, resource.item_key), resource)
        for file in resources.files_of(connection, [resource]):
            yield f"{folder}/{file.name}", file


def _take(root: Path, target: Path, name: str, file: StoredFile, taken: dict[Path, tuple[int, str]]) -> str:
    """Link or copy one file and compare it; returns what is wrong, "" if nothing is.

    *taken* are size and MD5 of what is in the backup so far.
    """
    source, path = root / "archive" / name, target / "archive" / name
    if _differs(taken.get(path), file):
        path.unlink(missing_ok=True)
        taken.pop(path, None)
        os.makedirs(path.parent, mode=0o700, exist_ok=True)  # noqa: PTH103  gives its mode to folders above, too
        try:
            _link_or_copy(source, path)
        except FileNotFoundError:
            return f"{name}: missing"
        taken[path] = path.lstat().st_size, "" if path.is_symlink() else digest_of_file(path)
    problem = _differs(taken[path], file)
    return f"{name}: its {problem} is not that of the database" if problem else ""


def _link_or_copy(source: Path, path: Path) -> None:
    try:
        os.link(source, path, follow_symlinks=False)
    except FileNotFoundError:
        raise
    except OSError:  # another file system, or one without hard links
        shutil.copy2(source, path, follow_symlinks=False)


def _differs(found: tuple[int, str] | None, file: StoredFile) -> str:
    if found is None or found[0] != file.size_bytes:
        return "size"
    return "MD5" if file.digest and found[1] != file.digest else ""
