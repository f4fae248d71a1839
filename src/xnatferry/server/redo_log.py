"""The redo log of files: committed changes that may not be on disk yet.

A transaction writes rows *and* an intent that says which bytes belong where, or which place is to be empty; from its
commit on the change has happened. An intent goes with a later transaction, when the renames are durable; one that a
killed process leaves is carried out by `RedoLog.replay` at the next start.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry import durable
from xnatferry.server import objects, resources
from xnatferry.server.blob_store import StagedFile

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

    from xnatferry.server.blob_store import BlobStore
    from xnatferry.server.database import Database

# Renames are made durable for so many files at once; until then their intents are kept, so that no file can be lost.
_SETTLED_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Replayed:
    """Changes completed by `RedoLog.replay`.

    Attributes:
        placed: Files that were stored, and not yet in their place.
        removed: Files and folders that were removed, and still there.
    """

    placed: int
    removed: int


class RedoLog:
    """The intents of one archive. May be used from any thread."""

    def __init__(self, database: Database, blob_store: BlobStore) -> None:
        self._database = database
        self._blob_store = blob_store
        self._placed: list[int] = []
        self._folders: set[Path] = set()
        self._done: list[int] = []
        self._lock = threading.Lock()

    def replay(self) -> Replayed:
        """Complete what a killed process had committed but not finished.

        Comes after folders of items have been moved as intended, and before ``BlobStore.clean_incoming``, which would
        remove the bytes.
        """
        placed = removed = 0
        with self._database.write() as connection:
            for intent in connection.execute("SELECT * FROM landings ORDER BY key").fetchall():
                if intent["staged"] is None:
                    removed += self._blob_store.exists(intent["target"])
                    self._blob_store.trash(intent["target"])
                    continue
                path = self._blob_store.archive.parent / intent["staged"]
                resource = resources.by_id(connection, intent["resource_id"])
                if resource is not None and path.exists():
                    folder = resources.folder_of(objects.by_key(connection, resource.item_key), resource)
                    self._blob_store.place(StagedFile(path, path.stat().st_size, ""), f"{folder}/{intent['name']}")
                    placed += 1
            connection.execute("DELETE FROM landings")
        return Replayed(placed, removed)

    def settle(self) -> None:
        """Make all renames durable and drop their intents: after an orderly end nothing is to be replayed."""
        self.flush()
        with self.writing():
            pass

    def flush(self) -> None:
        """Make all renames durable; their intents go with the next transaction."""
        self._flush(at_least=1)

    def placed(self, intents: Iterable[int], folders: Collection[Path]) -> None:
        """Note that the renames of *intents* are made, in *folders*. They are flushed when there are many."""
        with self._lock:
            self._placed += intents
            self._folders.update(folders)
        self._flush(at_least=_SETTLED_AT_ONCE)

    def done(self, intents: Iterable[int]) -> None:
        """Note that *intents* are completed; they are dropped before another file can have the same path."""
        with self._lock:
            self._done += intents

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that also drops finished intents: that saves them a flush of their own."""
        with self._lock:
            done = dict.fromkeys(self._done)
        with self._database.write() as connection:
            forget(connection, done)
            yield connection
        with self._lock:
            self._done = [key for key in self._done if key not in done]

    def _flush(self, *, at_least: int) -> None:
        with self._lock:
            if len(self._placed) < at_least:
                return
            intents, folders = self._placed, self._folders
            self._placed, self._folders = [], set()
        durable.flush_folders(folders)
        self.done(intents)


def intend(
    connection: sqlite3.Connection,
    target: str,
    staged: str | None = None,
    resource_id: int | None = None,
    name: str | None = None,
) -> int:
    """Note that *target* is to be trashed or, with *staged*, placed; older notes on the place no longer hold."""
    forget_target(connection, target)
    row = connection.execute(
        "INSERT INTO landings (target, staged, resource_id, name) VALUES (?, ?, ?, ?)",
        (target, staged, resource_id, name),
    )
    return row.lastrowid or 0


def forget(connection: sqlite3.Connection, intents: Iterable[int]) -> None:
    """Drop *intents*."""
    connection.executemany("DELETE FROM landings WHERE key = ?", [(key,) for key in intents])


def forget_target(connection: sqlite3.Connection, target: str) -> None:
    """Drop what was to happen at *target*."""
    connection.execute("DELETE FROM landings WHERE target = ?", (target,))


def forget_removals_below(connection: sqlite3.Connection, folder: str) -> None:
    """Drop what was to be removed at or below *folder*, which takes another item's files."""
    connection.execute(
        "DELETE FROM landings WHERE staged IS NULL AND (target = ?1 OR substr(target, 1, ?2) = ?1 || '/')",
        (folder, len(folder) + 1),
    )


def outstanding(connection: sqlite3.Connection) -> list[tuple[str, str | None]]:
    """Every place with an intent, and the waiting bytes that belong there; None is a removal."""
    return [(row["target"], row["staged"]) for row in connection.execute("SELECT target, staged FROM landings")]
