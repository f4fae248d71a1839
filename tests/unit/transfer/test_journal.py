"""A line that says *began* is on the disk before its request leaves, whatever other threads write meanwhile."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from xnatferry.errors import JournalError
from xnatferry.transfer.events import Began, Outcome, Receipt
from xnatferry.transfer.journal import Journal
from xnatferry.xnat.model import Address


@pytest.fixture
def journal(tmp_path):
    with Journal.begin(tmp_path, "push", {"project": "P"}) as journal:
        yield journal


def place(number):
    return Address("P", "s", "s_MR1", scan=str(number), resource="NIFTI", file="a.nii.gz")


def names(text):
    return {name for line in text.splitlines() for name in json.loads(line).get("addresses", ())}


def test_what_began_is_on_the_disk_and_threads_share_a_flush(journal, monkeypatch):
    path, on_disk, flushes, flush = journal.folder / "journal.jsonl", set(), [], os.fsync

    def slow(descriptor):
        held = path.read_text()
        while not flushes and len(path.read_text().splitlines()) < 16:
            time.sleep(0.001)  # the first goes on until all the others have come
        flush(descriptor)
        on_disk.update(names(held))
        flushes.append(descriptor)

    monkeypatch.setattr(os, "fsync", slow)

    def begin(number):
        journal(Began((place(number),)))
        return str(place(number)) in on_disk

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(begin, range(16)))
    assert len(flushes) <= 2


def test_a_receipt_does_not_wait_for_the_disk(journal, monkeypatch):
    flushing, released = threading.Event(), threading.Event()

    def stuck(_descriptor):
        flushing.set()
        assert released.wait(500)

    monkeypatch.setattr(os, "fsync", stuck)
    with ThreadPoolExecutor(1) as pool:
        begun = pool.submit(journal, Began((place(1),)))
        assert flushing.wait(500)
        journal(Receipt(place(0), Outcome.STORED))
        assert not begun.done()
        released.set()
        begun.result(500)


def test_after_a_flush_that_failed_nothing_more_happens(journal, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(JournalError, match="No space left on device"):
            journal(Began((place(1),)))
    with pytest.raises(JournalError, match="nothing more may happen"):
        journal(Began((place(2),)))
