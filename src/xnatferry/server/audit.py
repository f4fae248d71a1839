"""Compares database and files on disk (``xnatferry serve --check``); changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.errors import ArchiveError
from xnatferry.server import objects, redo_log, resources
from xnatferry.server.folder_trees import entries_below
from xnatferry.server.root_lock import RootLock
from xnatferry.xnat.digest import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference between database and disk.

    Attributes:
        kind: ``metadata`` (the database itself), ``unfinished`` (a killed process left it; the next start makes it
            good), ``missing``, ``size``, ``digest``, ``unlisted`` (on disk, in no resource), ``count`` (the listed
            number or size of a resource's files).
        place: File or folder, relative to the root of the archive.
        words: The problem.
    """

    kind: str
    place: str
    words: str


@dataclass(frozen=True, slots=True)
class Audit:
    """Result of an audit.

    Attributes:
        files: Listed files.
        size_bytes: Their bytes, as listed.
        deep: Whether the bytes were hashed.
        findings: Differences; none if the archive is consistent.
    """

    files: int
    size_bytes: int
    deep: bool
    findings: list[Finding]

    @property
    def clean(self) -> bool:
        """Whether there is no error.

        Unlisted files are allowed, as a deletion without ``removeFiles`` leaves some; and what a killed process left,
        as nothing of it is lost and the next start completes it.
        """
        return all(finding.kind in {"unlisted", "unfinished"} for finding in self.findings)

    @property
    def unfinished(self) -> int:
        """Changes that a killed process left."""
        return sum(finding.kind == "unfinished" for finding in self.findings)


def audit(root: Path, *, deep: bool = False, on_file: Callable[[str], object] = lambda _: None) -> Audit:
    """Compare metadata and files of the archive under *root*, which no process may be serving.

    Args:
        root: Folder of the archive.
        deep: Hash every file and compare with the digest made at upload.
        on_file: Called with the name of each file before it is checked.

    Raises:
        ArchiveError: There is no archive, or a process uses it.
    """
    if not (root / "metadata.sqlite").exists():
        raise ArchiveError(f"no archive in {root}; give its folder with --root")
    root_lock = RootLock(root)
    root_lock.claim()
    try:
        with closing(open_metadata(root)) as connection:
            return _Auditor(root, connection, on_file, deep=deep).run()
    except sqlite3.DatabaseError as error:
        path = root / "metadata.sqlite"
        raise ArchiveError(f"{path} cannot be read ({error}); restore it from a backup") from error
    finally:
        root_lock.release()


def open_metadata(root: Path) -> sqlite3.Connection:
    """The database of an archive, which must exist, for reading.

    Raises:
        ArchiveError: There is none.
    """
    path = (root / "metadata.sqlite").resolve()
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)  # the URI escapes # ? % in the path
    except sqlite3.OperationalError as error:
        raise ArchiveError(f"no archive in {root}; give its folder with --root") from error
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only=ON")
    return connection


class _Auditor:
    def __init__(
        self, root: Path, connection: sqlite3.Connection, on_file: Callable[[str], object], *, deep: bool
    ) -> None:
        self._root = root
        self._connection = connection
        self._deep = deep
        self._on_file = on_file
        self._files = 0
        self._size_bytes = 0
        self._listed: set[str] = set()
        #: Files that a killed process has stored and not yet moved to their place, and where they wait.
        self._waiting: dict[str, str] = {}

    def run(self) -> Audit:
        findings = [*self._metadata(), *self._unfinished(), *self._resources(), *self._unlisted()]
        return Audit(self._files, self._size_bytes, self._deep, findings)

    def _metadata(self) -> Iterator[Finding]:
        """SQLite's own checks, and rows without their parent."""
        for row in self._connection.execute("PRAGMA integrity_check"):
            if row[0] != "ok":
                yield Finding("metadata", "metadata.sqlite", row[0])
        for row in self._connection.execute("PRAGMA foreign_key_check"):
            yield Finding("metadata", "metadata.sqlite", f"row {row[1]} of {row[0]} has no parent in {row[2]}")

    def _unfinished(self) -> Iterator[Finding]:
        for row in self._connection.execute("SELECT act, old FROM intents"):
            yield Finding(
                "unfinished", f"archive/{row['old']}", f"unfinished {row['act']}; the next start completes or undoes it"
            )
        for target, staged in redo_log.outstanding(self._connection):
            if staged is None and (self._root / "archive" / target).exists():
                yield Finding(
                    "unfinished", f"archive/{target}", "removed, but still on disk; the next start removes it"
                )
            elif staged is not None and (self._root / staged).exists():
                self._waiting[target] = staged
                yield Finding("unfinished", staged, f"stored, but not yet moved to {target}; the next start moves it")
        for path in sorted((self._root / "incoming").glob("*")):
            if f"incoming/{path.name}" in self._waiting.values():
                continue
            yield Finding(
                "unfinished", f"incoming/{path.name}", "left by an interrupted upload; the next start removes it"
            )

    def _resources(self) -> Iterator[Finding]:
        keys = [row["key"] for row in self._connection.execute("SELECT key FROM items ORDER BY key")]
        for resource in resources.resources_of(self._connection, keys):
            item = objects.by_key(self._connection, resource.item_key)
            folder = resources.folder_of(item, resource)
            number = size = 0
            for file in resources.files_of(self._connection, [resource]):
                number, size = number + 1, size + file.size_bytes
                yield from self._file(f"{folder}/{file.name}", file.size_bytes, file.digest)
            self._files, self._size_bytes = self._files + number, self._size_bytes + size
            held = self._connection.execute(
                "SELECT held_files, held_bytes FROM resources WHERE id = ?", (resource.id,)
            ).fetchone()
            if tuple(held) != (number, size):
                yield Finding(
                    "count", f"archive/{folder}", f"{number} files of {size} bytes listed, {tuple(held)} counted"
                )

    def _file(self, name: str, size_bytes: int, digest: str) -> Iterator[Finding]:
        self._on_file(name)
        self._listed.add(name)
        path = self._root / self._waiting.get(name, f"archive/{name}")
        if path.is_symlink() or not path.is_file():
            yield Finding("missing", f"archive/{name}", "missing on disk")
            return
        found = path.stat().st_size
        if found != size_bytes:
            yield Finding("size", f"archive/{name}", f"{found} bytes on disk, {size_bytes} in the database")
        elif self._deep and digest and (hashed := digest_of_file(path)) != digest:
            yield Finding("digest", f"archive/{name}", f"MD5 is {hashed} on disk, {digest} in the database")

    def _unlisted(self) -> Iterator[Finding]:
        """Files in the archive folder that are in no resource; deletion without ``removeFiles`` leaves them."""
        top = self._root / "archive"
        for name, _ in entries_below(top):
            if name not in self._listed:
                yield Finding("unlisted", f"archive/{name}", "on disk, but in no resource")
