import os
import subprocess
import sys

import pytest

from xnatferry.errors import ArchiveError, ArchiveHeldError
from xnatferry.server.root_lock import RootLock, RootOwner, read_root_owner

HOLDING = """
import sys, pathlib
from xnatferry.server.root_lock import RootLock
root_lock = RootLock(pathlib.Path(sys.argv[1]))
root_lock.claim()
root_lock.announce("http://127.0.0.1:8123")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """Another process that holds the root."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_second_claim_names_the_first(tmp_path, other):
    with pytest.raises(
        ArchiveError, match=rf"process {other.pid} on .* since 20.* and listens on http://127.0.0.1:8123"
    ):
        RootLock(tmp_path).claim()
    info = read_root_owner(tmp_path)
    assert (info.pid, info.url) == (other.pid, "http://127.0.0.1:8123")


def test_the_claim_dies_with_its_process(tmp_path, other):
    other.kill()
    other.wait()
    assert read_root_owner(tmp_path) is None
    root_lock = RootLock(tmp_path)
    root_lock.claim()
    assert read_root_owner(tmp_path).pid == os.getpid()
    root_lock.release()


def test_two_claims_of_one_process(tmp_path):
    first, second = RootLock(tmp_path), RootLock(tmp_path)
    first.claim()
    assert read_root_owner(tmp_path).url == "", "it has not said that it answers"
    first.announce("http://127.0.0.1:1")
    with pytest.raises(ArchiveHeldError, match="choose another folder"):
        second.claim()
    second.release()
    assert read_root_owner(tmp_path).url == "http://127.0.0.1:1"
    first.release()
    first.release()
    assert read_root_owner(tmp_path) is None
    second.claim()
    second.release()


def test_nobody_holds_what_is_not_there(tmp_path):
    assert read_root_owner(tmp_path / "nowhere") is None


def test_a_holder_file_that_cannot_be_read(tmp_path):
    root_lock = RootLock(tmp_path)
    root_lock.claim()
    (tmp_path / "holder.json").write_text("{half")
    assert read_root_owner(tmp_path) == RootOwner(), "somebody has it, whoever that is"
    with pytest.raises(ArchiveError, match="already in use by another process"):
        RootLock(tmp_path).claim()
    root_lock.release()
