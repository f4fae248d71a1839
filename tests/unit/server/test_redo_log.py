"""What is committed is carried out, at once or at the next start; an intent goes only when nothing hangs on it any more."""

import pytest

from xnatferry.server import item_editing, resources
from xnatferry.server.archive import Archive
from xnatferry.server.file_store import IncomingFile, Target
from xnatferry.server.objects import Item, Level
from xnatferry.server.redo_log import forget_removals_below, intend, outstanding
from xnatferry.server.resources import Described
from xnatferry.server.settings import ServerSettings

FOLDER = "P/resources/R"


@pytest.fixture
def open_archive(tmp_path):
    archives = []

    def open_one():
        archives.append(Archive(ServerSettings(root=tmp_path / "root"), admin_password="admin-secret"))
        return archives[-1]

    yield open_one
    for archive in archives:
        archive.close()


@pytest.fixture
def archive(open_archive):
    return open_archive()


@pytest.fixture
def project(archive):
    with archive.database.write() as connection:
        return item_editing.insert_item(
            connection, Item(0, Level.PROJECT, "P", "P", "P", "xnat:projectData", None, "P"), "admin"
        )


@pytest.fixture
def store(archive, project):
    def store(name, data=b"x", **options):
        with archive.blob_store.receive() as receiver:
            receiver.write(data)
            arrival = IncomingFile(name, receiver.finish())
        return archive.file_store.store(Target(project, "", "R"), [arrival], Described(), "admin", **options)

    return store


def intents(archive):
    with archive.database.read() as connection:
        return outstanding(connection)


def resource_of(archive, project):
    with archive.database.read() as connection:
        return resources.named(connection, project, "", "R")


def held(archive):
    return dict(archive.blob_store.files(FOLDER))


def test_an_intent_stays_until_the_rename_is_on_the_disk(archive, store, disk_acts):
    store("a")
    (placed,) = intents(archive)
    assert placed[0] == f"{FOLDER}/a"
    folder = ("fsync", archive.blob_store.path(FOLDER).stat().st_ino)
    assert folder not in disk_acts, "one flush is for many"
    store("b")
    assert len(intents(archive)) == 2, "nothing was flushed, so nothing is forgotten"
    del disk_acts[:]
    archive.file_store.redo.settle()
    assert folder in disk_acts
    assert intents(archive) == []


def test_renames_are_flushed_when_there_are_many(archive, store, project):
    names = [f"{number}" for number in range(64)]
    for name in names[:-1]:
        store(name)
    assert len(intents(archive)) == 63
    store(names[-1])
    store("one more")
    assert intents(archive) == [(f"{FOLDER}/one more", intents(archive)[0][1])], "64 went with the next transaction"


def test_a_flush_covers_every_folder(archive, store, project, disk_acts):
    store("a/x")
    store("b/x")
    del disk_acts[:]
    archive.file_store.redo.flush()
    inodes = {archive.blob_store.path(f"{FOLDER}/{name}").stat().st_ino for name in ("a", "b")}
    assert {("fsync", inode) for inode in inodes} <= set(disk_acts)
    archive.file_store.redo.flush()
    assert len(intents(archive)) == 2, "they go with the next transaction"
    store("c")
    assert [target for target, _ in intents(archive)] == [f"{FOLDER}/c"]


def test_an_intent_is_forgotten_once(archive, store):
    store("a")
    archive.file_store.redo.settle()
    asked = []
    with archive.database.write() as connection:  # there is one connection that writes
        connection.set_trace_callback(asked.append)
    with archive.file_store.redo.writing():
        pass
    assert any("BEGIN" in statement for statement in asked)
    assert not any("DELETE" in statement for statement in asked), "else every upload pays for all that came before it"


def test_a_failed_transaction_forgets_nothing(archive, store):
    store("a")
    archive.file_store.redo.flush()
    with pytest.raises(RuntimeError, match="stop"), archive.file_store.redo.writing():
        raise RuntimeError("stop")
    assert len(intents(archive)) == 1
    with archive.file_store.redo.writing():
        pass
    assert intents(archive) == []


def test_what_was_done_during_a_transaction_waits_for_the_next(archive, store):
    store("a")
    with archive.file_store.redo.writing():
        archive.file_store.redo.flush()
    assert len(intents(archive)) == 1
    with archive.file_store.redo.writing():
        pass
    assert intents(archive) == []


# --- what a killed process leaves ------------------------------------------------------------------------------------


@pytest.fixture
def committed(archive, project, store):
    """Commit an upload or a removal, and do none of it on the disk."""
    store("there", b"old")
    archive.file_store.redo.settle()
    resource = resource_of(archive, project)

    def commit(name, data):
        with archive.blob_store.receive() as receiver:
            receiver.write(data)
            staged = receiver.finish()
        waiting = staged.path.relative_to(archive.blob_store.archive.parent).as_posix()
        with archive.database.write() as connection:
            intend(connection, f"{FOLDER}/{name}", waiting, resource.id, name)
        return staged.path

    return commit


def test_what_was_stored_gets_its_place_and_what_was_removed_goes(archive, project, committed):
    committed("new", b"newer")
    committed("there", b"replaced")
    with archive.database.write() as connection:
        intend(connection, "P/resources/OLD")
        intend(connection, "P/resources/GONE")
    archive.blob_store.path("P/resources/OLD").mkdir(parents=True)
    replayed = archive.file_store.redo.replay()
    assert (replayed.placed, replayed.removed) == (2, 1)
    assert held(archive) == {"new": 5, "there": 8}
    assert not archive.blob_store.exists("P/resources/OLD")
    assert intents(archive) == []
    again = archive.file_store.redo.replay()
    assert (again.placed, again.removed) == (0, 0)


def test_what_has_its_place_already_or_lost_its_resource_is_let_go(archive, project, committed):
    committed("placed", b"x").unlink()
    waiting = committed("homeless", b"y")
    with archive.database.write() as connection:
        connection.execute("UPDATE landings SET resource_id = 999 WHERE name = 'homeless'")
    replayed = archive.file_store.redo.replay()
    assert (replayed.placed, replayed.removed) == (0, 0)
    assert held(archive) == {"there": 3}
    assert waiting.exists(), "what nobody wants is cleaned away by who opens the archive"
    assert intents(archive) == []


def test_bytes_find_a_resource_whose_folder_has_moved(archive, project, committed):
    committed("new", b"newer")
    archive.blob_store.move("P", "Q")
    with archive.database.write() as connection:
        connection.execute("UPDATE items SET folder = 'Q' WHERE key = ?", (project.key,))
    assert archive.file_store.redo.replay().placed == 1
    assert dict(archive.blob_store.files("Q/resources/R")) == {"new": 5, "there": 3}


# --- what takes the place of an intent -------------------------------------------------------------------------------


def test_the_last_intent_for_a_place_holds(archive):
    with archive.database.write() as connection:
        first = intend(connection, "P/a", "incoming/1", 1, "a")
        other = intend(connection, "P/b")
        last = intend(connection, "P/a")
        assert len({first, other, last}) == 3
        assert sorted(outstanding(connection), key=str) == [("P/a", None), ("P/b", None)]


def test_removals_below_a_folder_do_not_hold_for_who_takes_it(archive):
    with archive.database.write() as connection:
        for target in ("P/S", "P/S/a", "P/S/a/b", "P/S2", "P"):
            intend(connection, target)
        intend(connection, "P/S/new", "incoming/1", 1, "new")
        forget_removals_below(connection, "P/S")
        assert sorted(outstanding(connection), key=str) == [
            ("P", None),
            ("P/S/new", "incoming/1"),
            ("P/S2", None),
        ]
