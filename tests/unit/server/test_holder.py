import os
import subprocess
import sys

import pytest

from xnatferry.errors import ArchiveError, ArchiveHeldError
from xnatferry.server.holder import Holder, HolderInfo, read_holder

HOLDING = """
import sys, pathlib
from xnatferry.server.holder import Holder
holder = Holder(pathlib.Path(sys.argv[1]))
holder.claim()
holder.announce("http://127.0.0.1:8123")
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
    with pytest.raises(ArchiveError, match=rf"process {other.pid} on .* since 20.*listens on http://127.0.0.1:8123"):
        Holder(tmp_path).claim()
    info = read_holder(tmp_path)
    assert (info.pid, info.url) == (other.pid, "http://127.0.0.1:8123")


def test_the_claim_dies_with_its_process(tmp_path, other):
    other.kill()
    other.wait()
    assert read_holder(tmp_path) is None
    holder = Holder(tmp_path)
    holder.claim()
    assert read_holder(tmp_path).pid == os.getpid()
    holder.release()


def test_two_claims_of_one_process(tmp_path):
    first, second = Holder(tmp_path), Holder(tmp_path)
    first.claim()
    assert read_holder(tmp_path).url == "", "it has not said that it answers"
    first.announce("http://127.0.0.1:1")
    with pytest.raises(ArchiveHeldError, match="choose another folder"):
        second.claim()
    second.release()
    assert read_holder(tmp_path).url == "http://127.0.0.1:1"
    first.release()
    first.release()
    assert read_holder(tmp_path) is None
    second.claim()
    second.release()


def test_nobody_holds_what_is_not_there(tmp_path):
    assert read_holder(tmp_path / "nowhere") is None


def test_a_holder_file_that_cannot_be_read(tmp_path):
    holder = Holder(tmp_path)
    holder.claim()
    (tmp_path / "holder.json").write_text("{half")
    assert read_holder(tmp_path) == HolderInfo(), "somebody has it, whoever that is"
    with pytest.raises(ArchiveError, match="already in use by another process"):
        Holder(tmp_path).claim()
    holder.release()
