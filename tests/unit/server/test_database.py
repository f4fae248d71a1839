import os
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from xnatferry.errors import ArchiveError
from xnatferry.server.blob_store import StorageFullError
from xnatferry.server.database import Database, Migration, archive_schema

STEPS = [
    Migration(2, "second", "ALTER TABLE parents ADD COLUMN name TEXT"),
    Migration(
        1,
        "first",
        """
        CREATE TABLE parents (key INTEGER PRIMARY KEY);
        CREATE TABLE children (parent INTEGER REFERENCES parents ON DELETE CASCADE);
        """,
    ),
]


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "metadata.sqlite", STEPS)
    yield database
    database.close()


def count(database, table):
    with database.read() as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_steps_run_in_the_order_of_their_numbers_and_once(tmp_path):
    for _ in range(2):
        database = Database(tmp_path / "m.sqlite", STEPS)
        with database.read() as connection:
            rows = connection.execute("SELECT number, name FROM migrations ORDER BY number").fetchall()
        database.close()
        assert [tuple(row) for row in rows] == [(1, "first"), (2, "second")]


def test_the_file_is_its_owners_only(database):
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600


def test_an_error_rolls_everything_back(database):
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.executemany("INSERT INTO parents VALUES (?, 'a')", [(1,), (2,), (1,)])
    assert count(database, "parents") == 0
    with database.write() as connection:
        connection.execute("INSERT INTO parents VALUES (1, 'a')")
    assert count(database, "parents") == 1


def test_children_go_with_their_parents(database):
    with database.write() as connection:
        connection.execute("INSERT INTO parents VALUES (1, 'a')")
        connection.execute("INSERT INTO children VALUES (1)")
        connection.execute("DELETE FROM parents")
    assert count(database, "children") == 0
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("INSERT INTO children VALUES (7)")


def test_a_reader_does_not_wait_for_the_writer_and_sees_one_state(database):
    with database.write() as connection:
        connection.execute("INSERT INTO parents VALUES (1, 'a')")
        assert count(database, "parents") == 0
    with database.read() as before:
        assert before.execute("SELECT count(*) FROM parents").fetchone()[0] == 1
        with database.write() as connection:
            connection.execute("INSERT INTO parents VALUES (2, 'b')")
        assert before.execute("SELECT count(*) FROM parents").fetchone()[0] == 1
    assert count(database, "parents") == 2


def test_a_reader_cannot_write(database):
    with database.read() as connection, pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("INSERT INTO parents VALUES (1, 'a')")


def test_writers_of_many_threads_take_turns(database):
    def add(first):
        for key in range(first, first + 20):
            with database.write() as connection:
                seen = connection.execute("SELECT count(*) FROM parents").fetchone()[0]
                connection.execute("INSERT INTO parents VALUES (?, ?)", (key, str(seen)))

    threads = [threading.Thread(target=add, args=(100 * number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        seen = {int(row["name"]) for row in connection.execute("SELECT name FROM parents")}
    assert seen == set(range(80))


def test_a_block_inside_a_block_is_a_mistake_not_a_deadlock(database):
    with database.write(), pytest.raises(RuntimeError, match="already open"), database.write():
        pass


def test_two_steps_of_one_number_are_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="same number"):
        Database(tmp_path / "m.sqlite", [Migration(1, "a", ""), Migration(1, "b", "")])


def test_a_newer_database_is_refused(tmp_path):
    Database(tmp_path / "m.sqlite", [*STEPS, Migration(99, "later", "CREATE TABLE later (x)")]).close()
    with pytest.raises(ArchiveError, match=r"newer version of xnatferry \(schema step 99\)"):
        Database(tmp_path / "m.sqlite", STEPS)


def test_a_step_that_fails_leaves_nothing(tmp_path):
    broken = Migration(3, "broken", "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1);")
    with pytest.raises(ArchiveError, match="step 3, broken"):
        Database(tmp_path / "m.sqlite", [*STEPS, broken])
    database = Database(tmp_path / "m.sqlite", [*STEPS, Migration(3, "mended", "CREATE TABLE half (x)")])
    assert count(database, "half") == 0
    database.close()


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "m.sqlite").write_bytes(b"not a database at all " * 100)
    with pytest.raises(ArchiveError, match="not the database of an archive"):
        Database(tmp_path / "m.sqlite", STEPS)


def test_a_closed_database_says_so(tmp_path):
    database = Database(tmp_path / "m.sqlite", STEPS)
    database.close()
    with pytest.raises(ArchiveError, match="closed"), database.read():
        pass


def test_what_was_committed_outlives_a_kill(tmp_path):
    story = """
import os, sys, pathlib
from xnatferry.server.database import Database, Migration, archive_schema
from xnatferry.server.blob_store import StorageFullError
database = Database(pathlib.Path(sys.argv[1]), [Migration(1, "t", "CREATE TABLE t (x)")])
with database.write() as connection:
    connection.execute("INSERT INTO t VALUES (1)")
with database.write() as connection:
    connection.execute("INSERT INTO t VALUES (2)")
    os.kill(os.getpid(), 9)
"""
    path = tmp_path / "m.sqlite"
    assert subprocess.run([sys.executable, "-c", story, os.fspath(path)], check=False).returncode == -9
    database = Database(path, [Migration(1, "t", "CREATE TABLE t (x)")])
    assert count(database, "t") == 1
    database.close()


def test_what_was_committed_is_on_the_disk_when_the_block_ends(database, monkeypatch):
    log, flushed, real = database.path.with_name(f"{database.path.name}-wal"), set(), os.fsync

    def flush(descriptor):
        held = os.fstat(descriptor)
        real(descriptor)
        flushed.add((held.st_ino, held.st_size))

    monkeypatch.setattr(os, "fsync", flush)
    for key in range(3):
        with database.write() as connection:
            connection.execute("INSERT INTO parents VALUES (?, 'a')", (key,))
        now = log.stat()
        assert (now.st_ino, now.st_size) in flushed
    flushed.clear()
    with database.write() as connection:
        connection.execute("SELECT 1")
    assert not flushed, "nothing was written, so nothing waits for the disk"


def test_a_new_database_is_on_the_disk_with_its_name(tmp_path, disk_acts):
    Database(tmp_path / "m.sqlite", STEPS).close()
    assert ("fsync", tmp_path.stat().st_ino) in disk_acts


def test_a_checkpoint_flushes_the_log_before_it_writes_the_file(database):
    """What SQLite does by itself cannot be seen from here; ``OFF`` (0) would let a power cut spoil the file."""
    with database.write() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone()[0] >= 1
        assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def test_after_a_flush_that_failed_nothing_counts_any_more(database, monkeypatch):
    def broken(_descriptor):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", broken)
        with pytest.raises(ArchiveError, match="check the disk"), database.write() as connection:
            connection.execute("INSERT INTO parents VALUES (1, 'a')")
    with pytest.raises(ArchiveError, match="check the disk"), database.write() as connection:
        connection.execute("INSERT INTO parents VALUES (2, 'b')")


def test_a_full_disk_changes_nothing(small_disk):
    database = Database(small_disk / "m.sqlite", STEPS)
    with pytest.raises(StorageFullError, match="disk full"), database.write() as connection:
        connection.executemany("INSERT INTO parents VALUES (?, ?)", [(key, "x" * 3_000) for key in range(1000)])
    assert count(database, "parents") == 0
    with database.write() as connection:
        connection.execute("INSERT INTO parents VALUES (1, 'it works again')")
    assert count(database, "parents") == 1
    database.close()


def test_every_step_of_the_schema_is_read_from_its_file():
    """Numbers and names are in the databases of users; a step that was published keeps both."""
    assert [step[:2] for step in sorted(archive_schema())] == [
        (1, "accounts and alias tokens"),
        (2, "alias tokens with a number and the time they were made"),
        (3, "when an account changed"),
        (10, "items, shares, roles, intents"),
        (11, "renames"),
        (12, "what a rename was"),
        (13, "shares by label"),
        (20, "resources and files"),
        (21, "names of catalogs"),
        (25, "intents of files"),
        (30, "saved searches"),
        (40, "custom forms"),
    ]
