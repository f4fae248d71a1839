"""Files are replaced as a whole, locks keep others out, and folders are flushed while others take them away."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from xnatferry import durable


@pytest.fixture
def opened(monkeypatch):
    """What was opened to be flushed, in order; the disk itself is asked as always."""
    names = []
    real = os.open

    def watched(path, *args, **options):
        descriptor = real(path, *args, **options)
        names.append(Path(path).name)
        return descriptor

    monkeypatch.setattr(os, "open", watched)
    return names


@pytest.mark.parametrize("number", [3, 40], ids=["one by one", "the whole file system"])
def test_folders_that_are_gone_need_nothing(tmp_path, number, opened):
    folders = [tmp_path / f"{count}" for count in range(number)]
    durable.flush_folders(folders)
    assert opened == []
    folders[-1].mkdir()
    durable.flush_folders(folders)
    assert opened == [f"{number - 1}"]


@pytest.mark.parametrize("number", [3, 40])
def test_folders_whose_names_are_files_by_now(tmp_path, number):
    (tmp_path / "file").write_bytes(b"x")
    durable.flush_folders([tmp_path / "file", *(tmp_path / "file" / f"{count}" for count in range(number))])
    durable.flush_folders([tmp_path / "file" / f"{count}" for count in range(number)])


def test_folders_that_go_while_they_are_flushed(tmp_path):
    folders = [tmp_path / f"{count}" for count in range(40)]
    done = threading.Event()

    def come_and_go():
        while not done.is_set():
            for folder in folders:
                folder.mkdir()
            for folder in folders:
                folder.rmdir()

    thread = threading.Thread(target=come_and_go)
    thread.start()
    try:
        for _ in range(300):
            durable.flush_folders(folders)
    finally:
        done.set()
        thread.join()


class TestReplacing:
    def test_others_see_the_old_bytes_until_all_are_there(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text("old")
        with durable.replacing(path) as part:
            part.write_text("new")
            assert path.read_text() == "old"
            assert part.parent == path.parent
        assert path.read_text() == "new"
        assert list(tmp_path.iterdir()) == [path]

    def test_an_error_leaves_what_was_there(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text("old")
        with pytest.raises(FileNotFoundError), durable.replacing(path) as part:
            part.with_name("none").rename(part)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_two_writers_do_not_mix(self, tmp_path):
        path = tmp_path / "a.json"
        with durable.replacing(path) as one, durable.replacing(path) as other:
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "one"

    @pytest.mark.parametrize("private", [True, False])
    def test_who_may_read_it(self, tmp_path, private):
        before = os.umask(0o022)
        try:
            with durable.replacing(tmp_path / "a", private=private) as part:
                assert stat.S_IMODE(part.stat().st_mode) == (0o600 if private else 0o644)
        finally:
            os.umask(before)

    def test_a_link_stays_one(self, tmp_path):
        (tmp_path / "dotfiles").mkdir()
        link = tmp_path / "config.toml"
        link.symlink_to(tmp_path / "dotfiles" / "config.toml")
        with durable.replacing(link) as part:
            part.write_text("new")
        assert link.is_symlink()
        assert (tmp_path / "dotfiles" / "config.toml").read_text() == "new"

    def test_a_link_is_replaced_where_nobody_may_be_led_elsewhere(self, tmp_path):
        link = tmp_path / "a"
        link.symlink_to(tmp_path / "b")
        with durable.replacing(link, follow_links=False) as part:
            part.write_text("new")
        assert not link.is_symlink()
        assert not (tmp_path / "b").exists()

    def test_a_pipe_is_written_into(self, tmp_path):
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        try:
            with durable.replacing(pipe) as part:
                part.write_text("through")
            assert os.read(reader, 100) == b"through"
        finally:
            os.close(reader)
        assert stat.S_ISFIFO(pipe.stat().st_mode)

    def test_the_longest_name(self, tmp_path):
        with durable.replacing(tmp_path / ("ü" * 127)) as part:
            part.write_text("x")
        assert (tmp_path / ("ü" * 127)).read_text() == "x"


ADDING = """
import pathlib, sys
from xnatferry import durable
folder = pathlib.Path(sys.argv[1])
for _ in range(200):
    with durable.locked(folder / ".lock"):
        number = int((folder / "number").read_text())
        with durable.replacing(folder / "number") as part:
            part.write_text(str(number + 1))
"""


def test_no_change_of_another_process_is_lost(tmp_path):
    (tmp_path / "number").write_text("0")
    adding = [subprocess.Popen([sys.executable, "-c", ADDING, tmp_path]) for _ in range(3)]
    assert [process.wait() for process in adding] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "600"
