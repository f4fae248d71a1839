"""Folders are flushed while others take them away."""

import os
import threading
from pathlib import Path

import pytest

from xnatferry.server import durable


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
