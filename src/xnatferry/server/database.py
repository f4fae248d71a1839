"""The metadata of an archive: one SQLite file, one writer at a time, readers that never wait.

Every committed change is on the disk when `Database.write` returns; whoever acknowledges a request after it may rely
on that. The commit itself only writes to the write-ahead log (``synchronous=NORMAL``); the log is flushed after it,
outside the lock of the writer, so that one flush serves all who committed meanwhile.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from xnatferry import durable
from xnatferry.errors import ArchiveError
from xnatferry.server.blob_store import StorageFullError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BUSY_MS: Final = 30_000
_IDLE_READERS: Final = 8
_GROUP: Final = 500
_MIGRATIONS_TABLE: Final = """
CREATE TABLE IF NOT EXISTS migrations (
    number  INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,
    applied TEXT NOT NULL
) STRICT
"""


class Migration(NamedTuple):
    """One step of the schema's history. A published step never changes; a new one gets a new number.

    Attributes:
        number: Unique in the whole archive; steps run in the order of their numbers.
        name: What it does, in a few words.
        sql: One or more statements, run in one transaction.
    """

    number: int
    name: str
    sql: str


def archive_schema() -> list[Migration]:
    """The steps of the schema: ``migrations/NUMBER_TITLE.sql``, whose first line is a comment with the name."""
    texts = {file: file.read_text(encoding="utf-8") for file in Path(__file__).with_name("migrations").glob("*.sql")}
    return [
        Migration(int(file.name[:2]), text.partition("\n")[0].removeprefix("-- "), text) for file, text in texts.items()
    ]


def in_groups(keys: Iterable[int]) -> Iterator[tuple[list[int], str]]:
    """*keys* in groups that one statement takes, each with its marks: SQLite takes 32,766 variables a statement."""
    every = list(dict.fromkeys(keys))
    for start in range(0, len(every), _GROUP):
        group = every[start : start + _GROUP]
        yield group, ", ".join("?" * len(group))


class _Log:
    """The write-ahead log as a file to flush. One flush covers all commits before its start."""

    def __init__(self, path: Path) -> None:
        # SQLite takes its locks on the database and the shared-memory file, so closing this one costs it none.
        self._descriptor = os.open(path, os.O_RDONLY)
        self._changed = threading.Condition()
        self._written = 1
        self._durable = 0
        self._flushing = False
        self._problem: OSError | None = None

    def note(self) -> None:
        """Note a commit."""
        with self._changed:
            self._written += 1

    def flush(self) -> None:
        """Return when all that was committed before this call is on the disk.

        Raises:
            ArchiveError: The disk failed; what was committed since is not known to be there.
        """
        with self._changed:
            wanted = self._written
            while self._durable < wanted and self._problem is None:
                if self._flushing:
                    self._changed.wait()
                else:
                    self._flush_once()
            if self._problem is not None:
                raise ArchiveError(
                    f"the database cannot be written ({self._problem}); check the disk and start the archive again"
                ) from self._problem

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def _flush_once(self) -> None:
        """Flush with the condition released, so that others can commit and queue up meanwhile."""
        self._flushing, covered = True, self._written
        self._changed.release()
        problem: OSError | None = None
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            problem = error
        finally:
            self._changed.acquire()
            self._flushing = False
            if problem is None:
                self._durable = covered
            else:
                # After a failed flush the system may drop unwritten data, so no later commit can be trusted.
                self._problem = problem
            self._changed.notify_all()


class Database:
    """The open metadata of one archive. May be used from any thread.

    Args:
        path: The file; made when missing, readable by its owner only.
        migrations: All steps that this version of the program knows, in any order.

    Raises:
        ArchiveError: The file is no database, or was written by a newer version of the program.
    """

    def __init__(self, path: Path, migrations: Iterable[Migration]) -> None:
        self.path = path
        steps = sorted(migrations)
        if len({step.number for step in steps}) != len(steps):
            raise ValueError("two migrations have the same number")
        self._lock = threading.Lock()
        self._writing_thread: int | None = None
        self._idle: list[sqlite3.Connection] = []
        self._idle_lock = threading.Lock()
        self._closed = False
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._writer = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            self._migrate(steps)
            self._log = _Log(path.with_name(path.name + "-wal"))
            durable.flush_folders([path.parent])
            self._log.flush()
        except BaseException:
            self._writer.close()
            raise

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Give the one writing connection, in a transaction that is durable when the block ends without an error.

        Any exception rolls everything back. Reads within the block go through the same connection, so that they
        see what was written.

        Raises:
            StorageFullError: The disk is full; nothing was changed.
        """
        if self._writing_thread == threading.get_ident():
            raise RuntimeError("a write transaction is already open in this thread; use its connection")
        with self._lock:
            self._writing_thread = threading.get_ident()
            changes = self._writer.total_changes
            try:
                yield from self._transaction()
            finally:
                self._writing_thread = None
            if self._writer.total_changes != changes:
                self._log.note()
        self._log.flush()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Give a connection that sees one unchanging state, the last committed one, and cannot write."""
        connection = self._take_reader()
        try:
            connection.execute("BEGIN")
            yield connection
        finally:
            if connection.in_transaction:
                connection.rollback()
            self._give_back(connection)

    def close(self) -> None:
        """Wait for the writer, then close all connections; what was read-ahead goes back into the one file."""
        with self._lock, self._idle_lock:
            self._closed = True
            for connection in self._idle:
                connection.close()
            self._idle.clear()
            self._writer.close()
            self._log.close()

    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._writer
        try:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_FULL:
                raise StorageFullError(f"disk full: {self.path}; free some space and try again") from error
            raise
        finally:
            if connection.in_transaction:
                connection.rollback()

    def _take_reader(self) -> sqlite3.Connection:
        with self._idle_lock:
            if self._closed:
                raise ArchiveError(f"the archive of {self.path} is closed")
            if self._idle:
                return self._idle.pop()
        connection = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        _set_up(connection)
        connection.execute("PRAGMA query_only=ON")
        return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._idle_lock:
            if not self._closed and len(self._idle) < _IDLE_READERS:
                self._idle.append(connection)
                return
        connection.close()

    def _migrate(self, steps: list[Migration]) -> None:
        try:
            _set_up(self._writer)
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute(_MIGRATIONS_TABLE)
            with closing(self._writer.execute("SELECT number FROM migrations")) as rows:
                applied = {row["number"] for row in rows}
        except sqlite3.DatabaseError as error:
            raise ArchiveError(
                f"{self.path} is not the database of an archive ({error}); restore it, or choose another folder"
            ) from error
        if unknown := applied - {step.number for step in steps}:
            raise ArchiveError(
                f"{self.path} was written by a newer version of xnatferry (schema step {max(unknown)}); "
                "update xnatferry, or choose another folder"
            )
        for step in steps:
            if step.number not in applied:
                self._apply(step)

    def _apply(self, step: Migration) -> None:
        try:
            # executescript commits whatever is open before it starts, so the transaction begins inside it.
            self._writer.executescript(f"BEGIN IMMEDIATE;\n{step.sql}")
            now = datetime.now(UTC).isoformat(timespec="seconds")
            self._writer.execute("INSERT INTO migrations VALUES (?, ?, ?)", (step.number, step.name, now))
            self._writer.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            raise ArchiveError(
                f"{self.path} could not be migrated (step {step.number}, {step.name}: {error})"
            ) from error
        finally:
            if self._writer.in_transaction:
                self._writer.rollback()


def _set_up(connection: sqlite3.Connection) -> None:
    connection.row_factory = sqlite3.Row
    connection.execute(f"PRAGMA busy_timeout={_BUSY_MS}")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA synchronous=NORMAL")
