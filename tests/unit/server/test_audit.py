"""The audit finds every way in which metadata and files can disagree, and nothing in an archive that is well."""

import sqlite3
from contextlib import closing

import pytest

from xnatferry.errors import ArchiveError
from xnatferry.server import item_editing
from xnatferry.server.archive import Archive
from xnatferry.server.audit import audit
from xnatferry.server.file_store import IncomingFile, Target
from xnatferry.server.folder_trees import remove_tree
from xnatferry.server.objects import Item, Level
from xnatferry.server.resources import Described
from xnatferry.server.settings import ServerSettings


@pytest.fixture
def root(tmp_path):
    """An archive with one project that holds two files, closed."""
    root = tmp_path / "root"
    with closing(Archive(ServerSettings(root=root))) as archive:
        with archive.database.write() as connection:
            item = Item(0, Level.PROJECT, "P", "P", "P", "xnat:projectData", None, "P")
            item = item_editing.insert_item(connection, item, "admin")
        incoming = []
        for name, data in (("a.txt", b"first"), ("sub/b.txt", b"second")):
            with archive.blob_store.receive() as receiver:
                receiver.write(data)
                incoming.append(IncomingFile(name, receiver.finish()))
        archive.file_store.store(Target(item, "", "R"), incoming, Described(), "admin")
    return root


@pytest.fixture
def files(root):
    return root / "archive" / "P" / "resources" / "R"


def kinds(root, **options):
    return [finding.kind for finding in audit(root, **options).findings]


@pytest.mark.parametrize("deep", [False, True])
def test_an_archive_that_is_well(root, deep):
    seen = []
    found = audit(root, deep=deep, on_file=seen.append)
    assert (found.files, found.size_bytes, found.findings, found.clean) == (2, 11, [], True)
    assert len(seen) == 2


def test_a_file_that_has_gone(root, files):
    (files / "a.txt").unlink()
    assert kinds(root) == ["missing"]
    assert not audit(root).clean


def test_a_link_in_place_of_a_file(root, files):
    (files / "a.txt").rename(root / "elsewhere")
    (files / "a.txt").symlink_to(root / "elsewhere")
    assert kinds(root) == ["missing"]


def test_a_file_of_another_length(root, files):
    (files / "a.txt").write_bytes(b"longer than it was")
    assert kinds(root) == ["size"]


def test_other_bytes_of_the_same_length_are_found_by_hashing(root, files):
    (files / "a.txt").write_bytes(b"FIRST")
    assert kinds(root) == []
    assert kinds(root, deep=True) == ["digest"]


def test_a_file_that_nobody_lists_is_told_and_no_harm(root, files):
    (files / "stray.txt").write_bytes(b"?")
    assert kinds(root) == ["unlisted"]
    assert audit(root).clean


def test_what_a_killed_process_left(root):
    (root / "incoming" / "abc").write_bytes(b"half")
    assert kinds(root) == ["unfinished"]


def test_counts_and_rows_that_are_wrong(root):
    with closing(sqlite3.connect(root / "metadata.sqlite")) as connection, connection:
        connection.execute("UPDATE resources SET held_files = 7")
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute("INSERT INTO files VALUES (99, 'x', 1, '', '', '', '', '', '', '', '', '')")
    assert sorted(kinds(root)) == ["count", "metadata"]


def test_no_archive_or_one_in_use_is_said(root, tmp_path):
    with pytest.raises(ArchiveError, match="no archive"):
        audit(tmp_path / "nowhere")
    with closing(Archive(ServerSettings(root=root))), pytest.raises(ArchiveError, match="in use"):
        audit(root)


def test_metadata_that_cannot_be_read(root):
    (root / "metadata.sqlite").write_bytes(b"not a database at all" * 100)
    with pytest.raises(ArchiveError, match="cannot be read"):
        audit(root)


def test_a_tree_deeper_than_the_stack(root, files):
    deep = files / "/".join(["a"] * 1000)
    for path in reversed([deep, *deep.parents]):  # mkdir(parents=True) calls itself
        path.mkdir(exist_ok=True)
    (deep / "f").touch()
    (found,) = audit(root).findings
    assert (found.kind, found.place) == ("unlisted", f"archive/P/resources/R/{'a/' * 1000}f")
    remove_tree(files / "a")  # pytest's own removal calls itself, too


@pytest.mark.parametrize("name", ["a#b", "a?b", "100%25", "a%2fb", "a b", "ü"])
def test_the_root_may_have_any_name(root, name):
    other = root.with_name(name)
    before = {*root.parent.iterdir(), other} - {root}
    root.rename(other)
    assert audit(other, deep=True).files == 2
    assert set(root.parent.iterdir()) == before


def test_a_file_that_a_killed_process_did_not_move_is_not_missing(root, files):
    with closing(sqlite3.connect(root / "metadata.sqlite")) as connection, connection:
        connection.execute("INSERT INTO landings (target, staged) VALUES ('P/resources/R/a.txt', 'incoming/x')")
    (files / "a.txt").rename(root / "incoming" / "x")
    found = audit(root, deep=True)
    assert (found.clean, found.unfinished) == (True, 1)
    (root / "incoming" / "x").write_bytes(b"other bytes")
    assert not audit(root, deep=True).clean


@pytest.mark.parametrize("is_empty", [True, False])
def test_files_without_their_database_are_no_new_archive(root, files, is_empty):
    (root / "metadata.sqlite").unlink()
    if is_empty:
        (root / "metadata.sqlite").touch()
    with pytest.raises(ArchiveError, match="missing or empty"):
        Archive(ServerSettings(root=root))
    assert (files / "a.txt").exists()
