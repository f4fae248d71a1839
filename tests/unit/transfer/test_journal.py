"""A line that says *began* is on the disk before its request leaves, whatever other threads write meanwhile."""

import json
import os
import re
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from xnatferry.errors import JournalError
from xnatferry.planning.plan import Decision, Plan, Step
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
    with pytest.raises(JournalError, match="cannot be continued"):
        journal(Began((place(2),)))


def test_a_new_run_is_on_the_disk_before_anything_happens_in_it(tmp_path, disk_acts):
    plan = Plan("http://x", "P", (Step(Address("P"), Decision.CREATE),))
    with Journal.begin(tmp_path / "runs", "push", {"project": "P"}, plan=plan) as journal:
        flushed = [inode for act, inode in disk_acts if act == "fsync"]
        places = ["run.json", "plan.json", "journal.jsonl", ".", ".."]
        assert all((journal.folder / place).stat().st_ino in flushed for place in places)


def test_notes_and_the_end_are_on_the_disk(journal, monkeypatch):
    """A backup is named, and the run has ended, only when that is sure."""
    path, flushed, flush = journal.folder / "journal.jsonl", [], os.fsync

    def watched(descriptor):
        flush(descriptor)
        flushed.append(path.read_text().splitlines()[-1])

    monkeypatch.setattr(os, "fsync", watched)
    journal.note({"record": "backup"})
    journal.end(0)
    assert [json.loads(line)["record"] for line in flushed] == ["backup", "end"]


def test_a_name_that_is_no_text_can_be_written(journal):
    address = Address("P", "s", "s_MR1", resource="R", file="caf\udce9.nii")
    journal(Receipt(address, Outcome.STORED))
    (line,) = (journal.folder / "journal.jsonl").read_text(errors="surrogatepass").splitlines()
    assert json.loads(line)["address"] == str(address)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")  # noqa: PTH110
def test_a_line_that_cannot_be_written_stops_the_run(tmp_path):
    (tmp_path / "journal.jsonl").symlink_to("/dev/full")
    with Journal(tmp_path) as journal, pytest.raises(JournalError, match="No space left"):
        journal(Receipt(place(1), Outcome.STORED))


def test_a_line_that_is_written_in_part_stops_the_run(journal):
    resource = pytest.importorskip("resource")  # limits of a process, on POSIX
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    try:
        with pytest.raises(JournalError, match="No space left"):
            journal(Receipt(place(1), Outcome.STORED))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (journal.folder / "journal.jsonl").stat().st_size == 10


def test_every_run_has_a_folder_of_its_own_that_is_its_owners_only(tmp_path):
    runs = tmp_path / "runs"
    names = []
    for _ in range(4):
        with Journal.begin(runs, "push", {"project": "P"}) as journal:
            names.append(journal.name)
            assert stat.S_IMODE(journal.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(runs.stat().st_mode) == 0o700
    assert re.fullmatch(r"\d{8}-\d{6}-push-P", names[0])
    assert len(set(names)) == 4
    assert all(re.fullmatch(r"\d{8}-\d{6}-push-P(-[2-4])?", name) for name in names)


def test_after_the_end_nothing_more_is_written(tmp_path):
    with Journal.begin(tmp_path, "push", {"project": "P"}) as journal:
        journal.end(0)
    with pytest.raises(JournalError, match="the run has ended"):
        journal(Receipt(place(1), Outcome.STORED))
