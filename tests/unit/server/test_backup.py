"""A backup of an archive that is being written to is whole, and opens as an archive."""

import errno
import hashlib
import os
import random
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest

from xnatferry.errors import ArchiveError, UsageError
from xnatferry.server import item_editing, resources
from xnatferry.server.archive import Archive
from xnatferry.server.audit import audit
from xnatferry.server.backup import back_up
from xnatferry.server.file_store import IncomingFile, Target
from xnatferry.server.objects import Item, Level
from xnatferry.server.resources import Described
from xnatferry.server.settings import ServerSettings


class Store:
    """An open archive with one project, and what was stored in it."""

    def __init__(self, root):
        self.root = root
        self.archive = Archive(ServerSettings(root=root))
        with self.archive.database.write() as connection:
            item = Item(0, Level.PROJECT, "P", "P", "P", "xnat:projectData", None, "P")
            self.item = item_editing.insert_item(connection, item, "admin")
        self.stored = {}

    def put(self, label, name, data):
        with self.archive.blob_store.receive() as receiver:
            receiver.write(data)
            staged = receiver.finish()
        target = Target(self.item, "", label)
        self.archive.file_store.store(target, [IncomingFile(name, staged)], Described(), "admin", overwrite=True)
        self.stored[label, name] = hashlib.md5(data).hexdigest()

    def remove(self, label):
        with self.archive.database.read() as connection:
            found = resources.named(connection, self.item, "", label)
        if found is not None:
            self.archive.file_store.remove_resource(self.item, found)


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "root #1?%")
    yield store
    store.archive.close()


def digests(root):
    with closing(sqlite3.connect(root / "metadata.sqlite")) as connection:
        rows = connection.execute("SELECT label, name, digest FROM files JOIN resources ON id = resource_id")
        return {(label, name): digest for label, name, digest in rows}


def test_a_backup_while_files_come_change_and_go(store, tmp_path):
    for number in range(20):
        store.put("KEPT", f"{number}/x", b"%d" % number)
    kept = dict(store.stored)
    ended = threading.Event()

    def write(seed):
        chance = random.Random(seed)
        while not ended.is_set():
            label = f"R{seed}{chance.randrange(3)}"
            if chance.random() < 0.2:
                store.remove(label)
            else:
                store.put(label, f"{chance.randrange(5)}", chance.randbytes(chance.randrange(1, 3000)))

    writers = [threading.Thread(target=write, args=(seed,)) for seed in range(3)]
    for one in writers:
        one.start()
    try:
        for number in range(3):
            target = tmp_path / f"backup{number}"
            found = back_up(store.root, target)
            shutil.copytree(target, tmp_path / f"restored{number}")
            assert found.files == len(digests(target))
    finally:
        ended.set()
        for one in writers:
            one.join()
    for number in range(3):
        restored = tmp_path / f"restored{number}"
        assert kept.items() <= digests(restored).items()
        assert audit(restored, deep=True).findings == []
        with closing(Archive(ServerSettings(root=restored))) as archive:
            assert archive.repairs.sentence() == ""
            assert archive.first_password is None
        assert audit(restored, deep=True).findings == []


def test_later_changes_do_not_reach_a_backup(store, tmp_path):
    store.put("R", "x", b"first")
    store.put("R", "y", b"gone soon")
    back_up(store.root, tmp_path / "b")
    store.put("R", "x", b"second")
    store.remove("R")
    store.archive.blob_store.empty_trash(older_than_days=-1)
    assert (tmp_path / "b/archive/P/resources/R/x").read_bytes() == b"first"
    assert audit(tmp_path / "b", deep=True).clean


def test_without_hard_links_files_are_copied(store, tmp_path, monkeypatch):
    store.put("R", "x", b"x")

    def fail(*args, **options):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", fail)
    assert back_up(store.root, tmp_path / "b").files == 1
    assert (tmp_path / "b/archive/P/resources/R/x").stat().st_nlink == 1


@pytest.mark.parametrize("damage", ["missing", "MD5", "size"])
def test_an_archive_that_is_damaged_makes_no_backup(store, tmp_path, damage):
    store.put("R", "x", b"12345")
    path = store.root / "archive/P/resources/R/x"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"abcde" if damage == "MD5" else b"1")
    with pytest.raises(ArchiveError, match=damage):
        back_up(store.root, tmp_path / "b")
    assert not (tmp_path / "b/metadata.sqlite").exists()
    with pytest.raises(ArchiveError, match="no archive"):
        audit(tmp_path / "b")


def test_the_target_is_new(store, tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mine").touch()
    with pytest.raises(UsageError, match="not empty"):
        back_up(store.root, tmp_path / "b")
    with pytest.raises(UsageError, match="lies in the archive"):
        back_up(store.root, store.root / "b")
    with pytest.raises(ArchiveError, match="no archive"):
        back_up(tmp_path / "nothing", tmp_path / "c")
