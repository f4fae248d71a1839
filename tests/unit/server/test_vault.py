import hashlib
import os
import stat
import subprocess
import sys
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xnatferry.server.vault import UnsafeNameError, Vault, VaultFullError, checked_name

SCAN = "P/arc001/S1/SCANS/1/NIFTI"


def contents(vault, relative=""):
    return dict(vault.files(relative or "P"))


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    ["", "/", "/etc/passwd", ".", "..", "a/..", "../a", "a/../../b", "a//b", "a/", "./a", "a\\b", "..\\..\\b", "C:/x",
     "a\0b", "a\nb", "a\x85b", "a\x7f", "a\ud800", "a\ufffe", "a\uffff", "a\ufdd0", "a\U0001ffff", "x" * 256, "é" * 128,
     "a/" * 1024 + "b"],
)  # fmt: skip
def test_refused_names(vault, name):
    with pytest.raises(UnsafeNameError):
        vault.path(name)


@pytest.mark.parametrize("name", ["a", "P/x.nii.gz", "...", "a..b/..c", "Müller/日本.txt", "a b+c%20&.json", "x" * 255])
def test_names_as_people_have_them(vault, name, stage):
    vault.place(stage(b"x"), name)
    assert (vault.archive / name).read_bytes() == b"x"


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
    vault = Vault(tmp_path_factory.mktemp("vault"))
    with vault.receive() as receiver:
        for piece in pieces:
            receiver.write(piece)
        staged = receiver.finish()
    whole = b"".join(pieces)
    assert (staged.size_bytes, staged.digest) == (len(whole), hashlib.md5(whole).hexdigest())
    vault.place(staged, "P/x")
    assert vault.path("P/x").read_bytes() == whole


def test_leaving_without_finish_keeps_nothing(vault, incoming):
    with vault.receive() as receiver:
        receiver.write(b"half")
    with pytest.raises(TypeError), vault.receive() as receiver:
        receiver.write("text")
    assert incoming() == []


def test_everything_is_its_owners_only(vault, stage):
    vault.place(stage(b"x"), f"{SCAN}/a.nii")
    folders = [vault.archive.parent, vault.archive, vault.path(SCAN)]
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in folders} == {0o700}


def test_a_full_disk_keeps_nothing(small_disk):
    vault = Vault(small_disk)
    with pytest.raises(VaultFullError, match="full: make room"), vault.receive() as receiver:
        receiver.write(bytes(4_000_000))
    assert list((small_disk / "incoming").iterdir()) == []
    with vault.receive() as receiver:
        receiver.write(b"it works again")
        vault.place(receiver.finish(), "P/x")
    assert contents(vault) == {"x": 14}


def test_a_full_disk_places_nothing(small_disk):
    vault = Vault(small_disk)
    with vault.receive() as receiver:
        receiver.write(b"old")
        vault.place(receiver.finish(), "P/arc001/a")
    staged = []
    for _ in range(2):
        with vault.receive() as receiver:
            receiver.write(b"new")
            staged.append(receiver.finish())
    # Every folder costs an inode: the file system runs out of them in the middle of the second name.
    for number in range(300):
        try:
            (small_disk / f"filler{number}").mkdir()
        except OSError:
            break
    with pytest.raises(VaultFullError):
        vault.place_all([(staged[0], "P/arc001/a"), (staged[1], "P/arc001/b/c/d/e")])
    assert vault.path("P/arc001/a").read_bytes() == b"old"
    assert contents(vault) == {"arc001/a": 3}
    assert list((small_disk / "incoming").iterdir()) == []


# --- placing ---------------------------------------------------------------------------------------------------------


def test_placing_replaces(vault, stage, incoming):
    vault.place(stage(b"old"), f"{SCAN}/a.nii")
    vault.place(stage(b"newer"), f"{SCAN}/a.nii")
    assert contents(vault, SCAN) == {"a.nii": 5}
    assert incoming() == []


@pytest.mark.parametrize(
    ("there", "new"), [("P/arc001/a", "P/arc001/a/b"), ("P/arc001/a/b", "P/arc001/a"), ("P/a", "P/a/b/c/d")]
)
def test_a_file_and_a_folder_cannot_share_a_name(vault, stage, incoming, there, new):
    vault.place(stage(b"there"), there)
    with pytest.raises(UnsafeNameError, match="is a f"):
        vault.place(stage(b"new"), new)
    assert vault.path(there).read_bytes() == b"there"
    assert len(list(vault.files("P"))) == 1
    assert incoming() == []


def test_all_or_none_are_placed(vault, stage, incoming):
    vault.place(stage(b"old"), f"{SCAN}/a")
    vault.place(stage(b"x"), f"{SCAN}/folder/x")
    pairs = [(stage(b"new"), f"{SCAN}/a"), (stage(b"b"), f"{SCAN}/deep/er/b"), (stage(b"c"), f"{SCAN}/folder")]
    with pytest.raises(UnsafeNameError):
        vault.place_all(pairs)
    assert contents(vault, SCAN) == {"a": 3, "folder/x": 1}
    assert vault.path(f"{SCAN}/a").read_bytes() == b"old"
    assert not vault.exists(f"{SCAN}/deep")
    assert incoming() == []

    with pytest.raises(UnsafeNameError):
        vault.place_all([(stage(b"new"), f"{SCAN}/a"), (stage(b"out"), "../out")])
    assert vault.path(f"{SCAN}/a").read_bytes() == b"old"
    assert incoming() == []


def test_many_are_placed(vault, stage, incoming):
    pairs = [(stage(str(number).encode()), f"{SCAN}/{number % 40}/{number}") for number in range(100)]
    vault.place_all(pairs)
    assert len(contents(vault, SCAN)) == 100
    assert incoming() == []


def test_placing_and_pruning_in_many_threads(vault):
    """Folders that run empty are removed while others place files into them."""
    errors = []

    def work(number):
        try:
            for turn in range(60):
                name = f"{SCAN}/sub/deep/{number}-{turn}"
                with vault.receive(flush=False) as receiver:
                    receiver.write(b"x")
                    vault.place(receiver.finish(), name)
                vault.trash(name)
        except Exception as error:  # noqa: BLE001  # whatever it is, the test shows it
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert contents(vault) == {}


def test_a_file_is_on_the_disk_before_it_has_its_name(vault, stage, outlives_a_power_cut):
    vault.place(stage(b"x"), f"{SCAN}/a.nii")
    assert outlives_a_power_cut(vault.path(f"{SCAN}/a.nii"))


def test_new_folders_are_on_the_disk_in_those_above_them(vault, stage, disk_acts):
    vault.place(stage(b"x"), f"{SCAN}/a.nii")
    for folder in ("P/arc001", "P/arc001/S1", "P/arc001/S1/SCANS", "P/arc001/S1/SCANS/1", SCAN):
        assert ("fsync", vault.path(folder).parent.stat().st_ino) in disk_acts, folder


@pytest.mark.parametrize("number", [3, 40], ids=["one by one", "the whole file system"])
def test_what_came_without_a_flush_is_flushed_by_settle(vault, disk_acts, monkeypatch, number):
    opened, real = [], os.open
    staged = []
    for _ in range(number):
        with vault.receive(flush=False) as receiver:
            receiver.write(b"x")
            staged.append(receiver.finish())
    assert disk_acts == []
    monkeypatch.setattr(os, "open", lambda path, *more: (opened.append(os.fspath(path)), real(path, *more))[1])
    vault.settle(staged)
    if number == 3 or sys.platform != "linux":
        assert disk_acts == [("fsync", one.path.stat().st_ino) for one in staged]
    else:
        assert opened == [str(staged[0].path.parent)], "syncfs of the file system that holds them"


def test_the_caller_may_flush_the_names(vault, stage, disk_acts):
    staged = stage(b"x")
    touched = vault.place_all([(staged, f"{SCAN}/a.nii")], flush=False)
    assert {vault.path(SCAN), vault.path(SCAN).parent, vault.archive} <= touched
    assert disk_acts[-1] == ("name", vault.path(f"{SCAN}/a.nii").stat().st_ino)


def test_removing_and_moving_are_on_the_disk(vault, stage, disk_acts):
    vault.place(stage(b"x"), f"{SCAN}/a")
    vault.place(stage(b"y"), f"{SCAN}/b")
    above = vault.path(SCAN).stat().st_ino
    del disk_acts[:]
    vault.trash(f"{SCAN}/a")
    (gone,) = [path for path in (vault.archive.parent / "trash").rglob("a") if path.is_file()]
    assert disk_acts[0] == ("name", gone.stat().st_ino)
    assert {("fsync", above), ("fsync", gone.parent.stat().st_ino)} <= set(disk_acts[1:])
    del disk_acts[:]
    vault.move(f"{SCAN}/b", "Q/arc001/S2/b")
    assert disk_acts[0] == ("name", vault.path("Q/arc001/S2/b").stat().st_ino)
    assert ("fsync", vault.path("Q/arc001/S2").stat().st_ino) in disk_acts[1:]
    assert not vault.exists("P/arc001/S1"), "what runs empty goes"
    assert ("fsync", vault.path("P/arc001").stat().st_ino) in disk_acts[1:]


# --- removing and moving ---------------------------------------------------------------------------------------------


def test_trash_keeps_the_bytes_and_prunes(vault, stage):
    vault.place(stage(b"x"), f"{SCAN}/a/b/c.nii")
    vault.trash(f"{SCAN}/a/b/c.nii")
    assert not vault.exists("P/arc001/S1")
    assert vault.exists("P/arc001")
    kept = [path for path in (vault.archive.parent / "trash").rglob("*") if path.is_file()]
    assert [path.read_bytes() for path in kept] == [b"x"]
    assert str(kept[0]).endswith(f"{SCAN}/a/b/c.nii")


def test_trash_takes_trees_and_what_is_missing_is_nothing(vault, stage):
    vault.place(stage(b"x"), f"{SCAN}/a")
    vault.place(stage(b"y"), "P/arc001/S2/RESOURCES/R/b")
    vault.trash("P/arc001/S1")
    vault.trash("P/arc001/S1")
    assert contents(vault) == {"arc001/S2/RESOURCES/R/b": 1}
    vault.trash("P")
    assert not vault.exists("P")


def test_one_name_can_be_trashed_again_and_again(vault, stage):
    for _ in range(3):
        vault.place(stage(b"x"), "P/resources/R/a")
        vault.trash("P/resources/R/a")
    kept = [path for path in (vault.archive.parent / "trash").rglob("*") if path.is_file()]
    assert len(kept) == 3


def test_the_trash_is_emptied_by_age(vault, stage):
    for name in ("old", "new"):
        vault.place(stage(b"x"), f"P/resources/R/{name}")
        vault.trash(f"P/resources/R/{name}")
    trash = vault.archive.parent / "trash"
    old = next(folder for folder in trash.iterdir() if (folder / "P/resources/R/old").exists())
    os.utime(old, (0, 0))
    assert vault.empty_trash(older_than_days=30) == 1
    assert [path.name for path in trash.rglob("*") if path.is_file()] == ["new"]
    assert vault.empty_trash(older_than_days=0) == 1


def test_a_tree_moves(vault, stage):
    vault.place(stage(b"x"), f"{SCAN}/a")
    vault.move("P/arc001/S1", "P2/arc001/T1")
    assert contents(vault, "P2") == {"arc001/T1/SCANS/1/NIFTI/a": 1}
    vault.move("P/arc001/S1", "P2/arc001/T1")  # done already, as after a crash
    assert contents(vault, "P2") == {"arc001/T1/SCANS/1/NIFTI/a": 1}


def test_a_move_does_not_bury_anything(vault, stage):
    vault.place(stage(b"x"), "P/arc001/S1/a")
    vault.place(stage(b"y"), "P/arc001/S2/b")
    with pytest.raises(FileExistsError):
        vault.move("P/arc001/S1", "P/arc001/S2")
    with pytest.raises(FileExistsError):
        vault.move("P/arc001/S1/a", "P/arc001/S2/b")
    vault.path("P/arc001/S3").mkdir()
    vault.move("P/arc001/S1", "P/arc001/S3")
    assert contents(vault) == {"arc001/S2/b": 1, "arc001/S3/a": 1}


def test_files_passes_over_links(vault, stage):
    vault.place(stage(b"x"), f"{SCAN}/a")
    (vault.path(SCAN) / "link").symlink_to("/etc/passwd")
    (vault.path(SCAN) / "folder-link").symlink_to("/etc")
    assert contents(vault, SCAN) == {"a": 1}
    assert list(vault.files("P/nowhere")) == []
    assert list(vault.files(f"{SCAN}/a")) == []


# --- crashes ---------------------------------------------------------------------------------------------------------

KILLED = """
import os, sys, pathlib
from xnatferry.server.vault import Vault
vault = Vault(pathlib.Path(sys.argv[1]))
with vault.receive() as receiver:
    receiver.write(b"acknowledged")
    vault.place(receiver.finish(), "P/arc001/S/RESOURCES/R/done")
with vault.receive() as receiver:
    receiver.write(b"whole, but without a place")
    receiver.finish()
with vault.receive() as receiver:
    receiver.write(b"hal")
    os.kill(os.getpid(), 9)
"""


def test_a_killed_process_leaves_nothing_half(tmp_path):
    assert subprocess.run([sys.executable, "-c", KILLED, tmp_path], check=False).returncode == -9
    vault = Vault(tmp_path)
    assert contents(vault) == {"arc001/S/RESOURCES/R/done": 12}
    assert vault.clean_incoming() == 2
    assert vault.clean_incoming() == 0
