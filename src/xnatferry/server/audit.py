"""Does the metadata agree with what lies on the disk? ``xnatferry serve --check`` asks this, and changes nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.errors import ArchiveError
from xnatferry.server import objects, redo_log, resources
from xnatferry.server.root_lock import RootLock
from xnatferry.xnat.digest import digest_of_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

__all__ = ["Audit", "Finding", "audit"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One disagreement.

    Attributes:
        kind: ``metadata`` (the database itself), ``unfinished`` (a killed process left it; the next start makes it
            good), ``missing``, ``size``, ``digest``, ``unlisted`` (on disk, in no resource), ``count`` (the listed
            number or size of a resource's files).
        place: File or folder, relative to the root of the archive.
        words: What is wrong.
    """

    kind: str
    place: str
    words: str


@dataclass(frozen=True, slots=True)
class Audit:
    """What was looked at, and what was found.

    Attributes:
        files: Listed files.
        size_bytes: Their bytes, as listed.
        deep: Whether the bytes were hashed.
        findings: Disagreements; none when all is well.
    """

    files: int
    size_bytes: int
    deep: bool
    findings: list[Finding]

    @property
    def clean(self) -> bool:
        """Whether nothing is wrong. Unlisted files are not: a deletion without ``removeFiles`` leaves some."""
        return all(finding.kind == "unlisted" for finding in self.findings)


def audit(root: Path, *, deep: bool = False, on_file: Callable[[str], object] = lambda _: None) -> Audit:
    """Compare metadata and files of the archive under *root*, which nobody may be serving.

    Args:
        root: Folder of the archive.
        deep: Hash every file and compare with the digest that was made when it arrived.
        on_file: Told the name of each file before it is looked at.

    Raises:
        ArchiveError: There is no archive, or a process holds it.
    """
    path = root / "metadata.sqlite"
    if not path.exists():
        raise ArchiveError(f"there is no archive in {root}: name its folder with --root")
    root_lock = RootLock(root)
    root_lock.claim()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            return _Auditor(root, connection, on_file, deep=deep).run()
    except sqlite3.DatabaseError as error:
        raise ArchiveError(f"{path} cannot be read ({error}): restore it from a copy") from error
    finally:
        root_lock.release()


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

    def run(self) -> Audit:
        findings = [*self._metadata(), *self._unfinished(), *self._resources(), *self._unlisted()]
        return Audit(self._files, self._size_bytes, self._deep, findings)

    def _metadata(self) -> Iterator[Finding]:
        """SQLite's own checks, and rows that belong to nothing."""
        for row in self._connection.execute("PRAGMA integrity_check"):
            if row[0] != "ok":
                yield Finding("metadata", "metadata.sqlite", row[0])
        for row in self._connection.execute("PRAGMA foreign_key_check"):
            yield Finding("metadata", "metadata.sqlite", f"row {row[1]} of {row[0]} belongs to nothing in {row[2]}")

    def _unfinished(self) -> Iterator[Finding]:
        for row in self._connection.execute("SELECT act, old FROM intents"):
            yield Finding("unfinished", f"archive/{row['old']}", f"a {row['act']} was begun and not finished")
        for target, staged in redo_log.outstanding(self._connection):
            if staged is None and (self._root / "archive" / target).exists():
                yield Finding("unfinished", f"archive/{target}", "was removed, and is still on disk")
            elif staged is not None and (self._root / staged).exists():
                yield Finding("unfinished", staged, f"is stored, and not yet in its place {target}")
        for path in sorted((self._root / "incoming").glob("*")):
            yield Finding("unfinished", f"incoming/{path.name}", "is left from an upload that broke off")

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
                    "count", f"archive/{folder}", f"holds {number} files of {size} bytes, counted are {tuple(held)}"
                )

    def _file(self, name: str, size_bytes: int, digest: str) -> Iterator[Finding]:
        self._on_file(name)
        self._listed.add(name)
        path = self._root / "archive" / name
        if path.is_symlink() or not path.is_file():
            yield Finding("missing", f"archive/{name}", "is listed and not on disk")
            return
        found = path.stat().st_size
        if found != size_bytes:
            yield Finding("size", f"archive/{name}", f"has {found} bytes, listed are {size_bytes}")
        elif self._deep and digest and (hashed := digest_of_file(path)) != digest:
            yield Finding("digest", f"archive/{name}", f"has the MD5 {hashed}, listed is {digest}")

    def _unlisted(self) -> Iterator[Finding]:
        """What lies in the vault and is in no resource; deletion without ``removeFiles`` leaves such, as on XNAT."""
        top = self._root / "archive"
        for path in sorted(top.rglob("*")):
            name = path.relative_to(top).as_posix()
            if (path.is_symlink() or not path.is_dir()) and name not in self._listed:
                yield Finding("unlisted", f"archive/{name}", "lies on disk and is listed nowhere")
