import errno
import hashlib
import os
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xnatferry.server.blob_store import BlobStore, StorageFullError, UnsafeNameError, checked_name

SCAN = "P/arc001/S1/SCANS/1/NIFTI"


def contents(blob_store, relative=""):
    return dict(blob_store.files(relative or "P"))


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", "/", "/etc/passwd", ".", "..", "a/..", "../a", "a/../../b", "a//b", "a/", "./a", "a\\b", "..\\..\\b", "C:/x",
     "a\0b", "a\nb", "a\x85b", "a\x7f", "a\ud800", "a\ufffe", "a\uffff", "a\ufdd0", "a\U0001ffff", "x" * 256, "é" * 128,
     "a/" * 1024 + "b"],
)  # fmt: skip
def test_refused_names(blob_store, name):
    with pytest.raises(UnsafeNameError):
        blob_store.path(name)


@pytest.mark.parametrize("name", ["a", "P/x.nii.gz", "...", "a..b/..c", "Müller/日本.txt", "a b+c%20&.json", "x" * 255])
def test_names_as_people_have_them(blob_store, name, stage):
    blob_store.place(stage(b"x"), name)
    assert (blob_store.archive / name).read_bytes() == b"x"


parts = st.sampled_from(["..", ".", "", "a", "b.nii", "C:", "\\", "\0", "~", "…", "%2e%2e", "‥"])


@given(st.lists(parts, min_size=1, max_size=6).map("/".join) | st.text(max_size=40))
@example("a/../../../etc/passwd")
def test_a_name_that_passes_stays_below_the_archive(name):
    try:
        checked_name(name)
    except UnsafeNameError:
        return
    base = "/base/archive"
    assert os.path.normpath(f"{base}/{name}") == f"{base}/{name}"
    name.encode()  # and every listing can hold it
    assert not any(ord(character) < 32 for character in name)


# --- receiving -------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_what_is_received_is_what_was_written(tmp_path_factory, pieces):
    blob_store = BlobStore(tmp_path_factory.mktemp("vault"))
    with blob_store.receive() as receiver:
        for piece in pieces:
            receiver.write(piece)
        staged = receiver.finish()
    whole = b"".join(pieces)
    assert (staged.size_bytes, staged.digest) == (len(whole), hashlib.md5(whole).hexdigest())
    blob_store.place(staged, "P/x")
    assert blob_store.path("P/x").read_bytes() == whole


def test_leaving_without_finish_keeps_nothing(blob_store, incoming):
    with blob_store.receive() as receiver:
        receiver.write(b"half")
    with pytest.raises(TypeError), blob_store.receive() as receiver:
        receiver.write("text")
    assert incoming() == []


def test_everything_is_its_owners_only(blob_store, stage):
    blob_store.place(stage(b"x"), f"{SCAN}/a.nii")
    folders = [blob_store.archive.parent, blob_store.archive, blob_store.path(SCAN)]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_a_full_disk_keeps_nothing(small_disk):
    blob_store = BlobStore(small_disk)
    with pytest.raises(StorageFullError, match="disk full"), blob_store.receive() as receiver:
        receiver.write(bytes(4_000_000))
    assert list((small_disk / "incoming").iterdir()) == []
    with blob_store.receive() as receiver:
        receiver.write(b"it works again")
        blob_store.place(receiver.finish(), "P/x")
    assert contents(blob_store) == {"x": 14}


def test_a_full_disk_does_not_keep_anything_from_being_removed(small_disk):
    blob_store = BlobStore(small_disk)
    for name in ("folder/a", "folder/b", "c"):
        with blob_store.receive() as receiver:
            receiver.write(b"x")
            blob_store.place(receiver.finish(), f"P/arc001/{name}")
    for number in range(300):  # all of its 200 files
        try:
            (small_disk / f"filler{number}").touch()
        except OSError:
            break
    blob_store.trash("P/arc001/folder")
    blob_store.trash("P/arc001/c")
    assert contents(blob_store) == {}
    blob_store.empty_trash(older_than_days=0)
    assert list((small_disk / "trash").iterdir()) == []


def test_a_full_disk_places_nothing(small_disk):
    blob_store = BlobStore(small_disk)
    with blob_store.receive() as receiver:
        receiver.write(b"old")
        blob_store.place(receiver.finish(), "P/arc001/a")
    staged = []
    for _ in range(2):
        with blob_store.receive() as receiver:
            receiver.write(b"new")
            staged.append(receiver.finish())
    # Every folder costs an inode: the file system runs out of them in the middle of the second name.
    for number in range(300):
        try:
            (small_disk / f"filler{number}").mkdir()
        except OSError:
            break
    with pytest.raises(StorageFullError):
        blob_store.place_all([(staged[0], "P/arc001/a"), (staged[1], "P/arc001/b/c/d/e")])
    assert blob_store.path("P/arc001/a").read_bytes() == b"old"
    assert contents(blob_store) == {"arc001/a": 3}
    assert list((small_disk / "incoming").iterdir()) == []


# --- placing ---------------------------------------------------------------------------------------------------------


def test_placing_replaces(blob_store, stage, incoming):
    blob_store.place(stage(b"old"), f"{SCAN}/a.nii")
    blob_store.place(stage(b"newer"), f"{SCAN}/a.nii")
    assert contents(blob_store, SCAN) == {"a.nii": 5}
    assert incoming() == []


@pytest.mark.parametrize(
    ("there", "new"), [("P/arc001/a", "P/arc001/a/b"), ("P/arc001/a/b", "P/arc001/a"), ("P/a", "P/a/b/c/d")]
)
def test_a_file_and_a_folder_cannot_share_a_name(blob_store, stage, incoming, there, new):
    blob_store.place(stage(b"there"), there)
    with pytest.raises(UnsafeNameError, match="is a f"):
        blob_store.place(stage(b"new"), new)
    assert blob_store.path(there).read_bytes() == b"there"
    assert len(list(blob_store.files("P"))) == 1
    assert incoming() == []


def test_all_or_none_are_placed(blob_store, stage, incoming):
    blob_store.place(stage(b"old"), f"{SCAN}/a")
    blob_store.place(stage(b"x"), f"{SCAN}/folder/x")
    pairs = [(stage(b"new"), f"{SCAN}/a"), (stage(b"b"), f"{SCAN}/deep/er/b"), (stage(b"c"), f"{SCAN}/folder")]
    with pytest.raises(UnsafeNameError):
        blob_store.place_all(pairs)
    assert contents(blob_store, SCAN) == {"a": 3, "folder/x": 1}
    assert blob_store.path(f"{SCAN}/a").read_bytes() == b"old"
    assert not blob_store.exists(f"{SCAN}/deep")
    assert incoming() == []

    with pytest.raises(UnsafeNameError):
        blob_store.place_all([(stage(b"new"), f"{SCAN}/a"), (stage(b"out"), "../out")])
    assert blob_store.path(f"{SCAN}/a").read_bytes() == b"old"
    assert incoming() == []


def test_many_are_placed(blob_store, stage, incoming):
    pairs = [(stage(str(number).encode()), f"{SCAN}/{number % 40}/{number}") for number in range(100)]
    blob_store.place_all(pairs)
    assert len(contents(blob_store, SCAN)) == 100
    assert incoming() == []


def test_placing_and_pruning_in_many_threads(blob_store):
    """Folders that run empty are removed while others place files into them."""
    errors = []

    def work(number):
        try:
            for turn in range(60):
                name = f"{SCAN}/sub/deep/{number}-{turn}"
                with blob_store.receive(flush=False) as receiver:
                    receiver.write(b"x")
                    blob_store.place(receiver.finish(), name)
                blob_store.trash(name)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert contents(blob_store) == {}


def test_a_file_is_on_the_disk_before_it_has_its_name(blob_store, stage, outlives_a_power_cut):
    blob_store.place(stage(b"x"), f"{SCAN}/a.nii")
    assert outlives_a_power_cut(blob_store.path(f"{SCAN}/a.nii"))


def test_new_folders_are_on_the_disk_in_those_above_them(blob_store, stage, disk_acts):
    blob_store.place(stage(b"x"), f"{SCAN}/a.nii")
    for folder in ("P/arc001", "P/arc001/S1", "P/arc001/S1/SCANS", "P/arc001/S1/SCANS/1", SCAN):
        assert ("fsync", blob_store.path(folder).parent.stat().st_ino) in disk_acts, folder


@pytest.mark.parametrize("number", [3, 40], ids=["one by one", "the whole file system"])
def test_what_came_without_a_flush_is_flushed_by_settle(blob_store, disk_acts, monkeypatch, number):
    opened, real = [], os.open
    staged = []
    for _ in range(number):
        with blob_store.receive(flush=False) as receiver:
            receiver.write(b"x")
            staged.append(receiver.finish())
    assert disk_acts == []
    monkeypatch.setattr(os, "open", lambda path, *more: (opened.append(os.fspath(path)), real(path, *more))[1])
    blob_store.settle(staged)
    if number == 3 or sys.platform != "linux":
        assert disk_acts == [("fsync", one.path.stat().st_ino) for one in staged]
    else:
        assert opened == [str(staged[0].path.parent)], "syncfs of the file system that holds them"


def test_the_caller_may_flush_the_names(blob_store, stage, disk_acts):
    staged = stage(b"x")
    touched = blob_store.place_all([(staged, f"{SCAN}/a.nii")], flush=False)
    assert {blob_store.path(SCAN), blob_store.path(SCAN).parent, blob_store.archive} <= touched
    assert disk_acts[-1] == ("name", blob_store.path(f"{SCAN}/a.nii").stat().st_ino)


def test_removing_and_moving_are_on_the_disk(blob_store, stage, disk_acts):
    blob_store.place(stage(b"x"), f"{SCAN}/a")
    blob_store.place(stage(b"y"), f"{SCAN}/b")
    above = blob_store.path(SCAN).stat().st_ino
    del disk_acts[:]
    blob_store.trash(f"{SCAN}/a")
    (gone,) = [path for path in (blob_store.archive.parent / "trash").rglob("a") if path.is_file()]
    assert disk_acts[0] == ("name", gone.stat().st_ino)
    assert {("fsync", above), ("fsync", gone.parent.stat().st_ino)} <= set(disk_acts[1:])
    del disk_acts[:]
    blob_store.move(f"{SCAN}/b", "Q/arc001/S2/b")
    assert disk_acts[0] == ("name", blob_store.path("Q/arc001/S2/b").stat().st_ino)
    assert ("fsync", blob_store.path("Q/arc001/S2").stat().st_ino) in disk_acts[1:]
    assert not blob_store.exists("P/arc001/S1"), "what runs empty goes"
    assert ("fsync", blob_store.path("P/arc001").stat().st_ino) in disk_acts[1:]


# --- removing and moving ---------------------------------------------------------------------------------------------


def test_trash_keeps_the_bytes_and_prunes(blob_store, stage):
    blob_store.place(stage(b"x"), f"{SCAN}/a/b/c.nii")
    blob_store.trash(f"{SCAN}/a/b/c.nii")
    assert not blob_store.exists("P/arc001/S1")
    assert blob_store.exists("P/arc001")
    kept = [path for path in (blob_store.archive.parent / "trash").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [b"x"]
    assert str(kept[0]).endswith(f"{SCAN}/a/b/c.nii")


def test_trash_takes_trees_and_what_is_missing_is_nothing(blob_store, stage):
    blob_store.place(stage(b"x"), f"{SCAN}/a")
    blob_store.place(stage(b"y"), "P/arc001/S2/RESOURCES/R/b")
    blob_store.trash("P/arc001/S1")
    blob_store.trash("P/arc001/S1")
    assert contents(blob_store) == {"arc001/S2/RESOURCES/R/b": 1}
    blob_store.trash("P")
    assert not blob_store.exists("P")


def test_one_name_can_be_trashed_again_and_again(blob_store, stage):
    for _ in range(3):
        blob_store.place(stage(b"x"), "P/resources/R/a")
        blob_store.trash("P/resources/R/a")
    kept = [path for path in (blob_store.archive.parent / "trash").rglob("*") if path.is_file()]
    assert len(kept) == 3


def test_the_trash_is_emptied_by_age(blob_store, stage):
    for name in ("old", "new"):
        blob_store.place(stage(b"x"), f"P/resources/R/{name}")
        blob_store.trash(f"P/resources/R/{name}")
    trash = blob_store.archive.parent / "trash"
    old = next(folder for folder in trash.iterdir() if (folder / "P/resources/R/old").exists())
    os.utime(old, (0, 0))
    assert blob_store.empty_trash(older_than_days=30) == 1
    assert [path.name for path in trash.rglob("*") if path.is_file()] == ["new"]
    assert blob_store.empty_trash(older_than_days=0) == 1


def test_a_tree_moves(blob_store, stage):
    blob_store.place(stage(b"x"), f"{SCAN}/a")
    blob_store.move("P/arc001/S1", "P2/arc001/T1")
    assert contents(blob_store, "P2") == {"arc001/T1/SCANS/1/NIFTI/a": 1}
    blob_store.move("P/arc001/S1", "P2/arc001/T1")  # done already, as after a crash
    assert contents(blob_store, "P2") == {"arc001/T1/SCANS/1/NIFTI/a": 1}


def test_a_move_does_not_bury_anything(blob_store, stage):
    blob_store.place(stage(b"x"), "P/arc001/S1/a")
    blob_store.place(stage(b"y"), "P/arc001/S2/b")
    with pytest.raises(FileExistsError):
        blob_store.move("P/arc001/S1", "P/arc001/S2")
    with pytest.raises(FileExistsError):
        blob_store.move("P/arc001/S1/a", "P/arc001/S2/b")
    blob_store.path("P/arc001/S3").mkdir()
    blob_store.move("P/arc001/S1", "P/arc001/S3")
    assert contents(blob_store) == {"arc001/S2/b": 1, "arc001/S3/a": 1}


def test_files_passes_over_links(blob_store, stage):
    blob_store.place(stage(b"x"), f"{SCAN}/a")
    (blob_store.path(SCAN) / "link").symlink_to("/etc/passwd")
    (blob_store.path(SCAN) / "folder-link").symlink_to("/etc")
    assert contents(blob_store, SCAN) == {"a": 1}
    assert list(blob_store.files("P/nowhere")) == []
    assert list(blob_store.files(f"{SCAN}/a")) == []


# --- crashes ---------------------------------------------------------------------------------------------------------

KILLED = """
import os, sys, pathlib
from xnatferry.server.blob_store import BlobStore
blob_store = BlobStore(pathlib.Path(sys.argv[1]))
with blob_store.receive() as receiver:
    receiver.write(b"acknowledged")
    blob_store.place(receiver.finish(), "P/arc001/S/RESOURCES/R/done")
with blob_store.receive() as receiver:
    receiver.write(b"whole, but without a place")
    receiver.finish()
with blob_store.receive() as receiver:
    receiver.write(b"hal")
    os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_nothing_half(tmp_path):
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False).returncode == -9
    blob_store = BlobStore(tmp_path)
    assert contents(blob_store) == {"arc001/S/RESOURCES/R/done": 12}
    assert blob_store.clean_incoming() == 2
    assert blob_store.clean_incoming() == 0


# --- disks without hard links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK, errno.EACCES])
def test_files_are_replaced_without_hard_links(blob_store, stage, incoming, monkeypatch, problem):
    def fail(*args, **options):
        raise OSError(problem, os.strerror(problem))

    monkeypatch.setattr(os, "link", fail)
    blob_store.place(stage(b"first"), "P/arc001/a")
    blob_store.place(stage(b"second"), "P/arc001/a")
    assert blob_store.path("P/arc001/a").read_bytes() == b"second"
    with pytest.raises(UnsafeNameError):  # the second of them is a folder: the first is put back
        blob_store.place_all([(stage(b"third"), "P/arc001/a"), (stage(b"x"), "P/arc001")])
    assert blob_store.path("P/arc001/a").read_bytes() == b"second"
    assert incoming() == []


# --- deep trees ------------------------------------------------------------------------------------------------------


def test_new_names_have_a_limited_depth():
    checked_name("/".join(["a"] * 64))
    with pytest.raises(UnsafeNameError, match="more than 64"):
        checked_name("/".join(["a"] * 65))


def test_a_tree_deeper_than_the_stack_is_listed_and_deleted(blob_store, stage):
    """Earlier versions stored such files."""
    name = "/".join(["a"] * 1000) + "/f"
    blob_store.place(stage(b"x"), f"P/arc001/{name}")
    outside = blob_store.archive.parent.parent / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    (blob_store.archive / "P/arc001/a/link").symlink_to(outside)
    assert list(blob_store.files("P/arc001")) == [(name, 1)]
    blob_store.trash("P/arc001/a")
    assert blob_store.empty_trash(older_than_days=-1) == 1
    assert list((blob_store.archive.parent / "trash").iterdir()) == []
    assert (outside / "kept").exists()


def test_trash_that_cannot_be_deleted_is_logged_and_stays(blob_store, stage, caplog, monkeypatch):
    blob_store.place(stage(b"x"), "P/arc001/a")
    blob_store.place(stage(b"y"), "P/arc001/b")
    blob_store.trash("P/arc001/a")
    blob_store.trash("P/arc001/b")
    real = os.unlink

    def failing(path, *args, **options):
        if str(path).endswith("/a"):
            raise PermissionError(1, "Operation not permitted", path)
        real(path, *args, **options)

    monkeypatch.setattr(os, "unlink", failing)
    assert blob_store.empty_trash(older_than_days=-1) == 1
    assert "cannot be deleted" in caplog.text
