"""A copy whose source is old, breaks off, or gives other bytes than it lists; the target is a real archive."""

import threading

import pytest
from peer import Reply, Resource, Thing, cut_answer, page

from xnatferry.client.remote import Remote
from xnatferry.client.settings import Connection, Secret
from xnatferry.errors import UnavailableError, VerifyError
from xnatferry.results.contents import read_contents, read_same
from xnatferry.results.copy_plan import plan_copy
from xnatferry.server.archive import running_archive
from xnatferry.transfer.engine import carry_out
from xnatferry.xnat.model import Address

DATA = bytes(range(256)) * 20_000
SCAN = Address("P", "s", "s_MR1", "1")
FILE = Address("P", "s", "s_MR1", "1", resource="NIFTI", file="t1 \u00e9+#.nii")


@pytest.fixture
def source(peer):
    project = peer.projects["P"] = Thing("P", "P", "xnat:projectData")
    subject = project.children["s"] = Thing("XNAT_S1", "s", "xnat:subjectData", {"group": "ctl"})
    session = subject.children["s_MR1"] = Thing(
        "XNAT_E1", "s_MR1", "xnat:mrSessionData", {"date": "2020-01-02", "subject_ID": "XNAT_S1"}, subject="XNAT_S1"
    )
    scan = session.children["1"] = Thing("1", "1", "xnat:mrScanData", {"type": "T1w", "quality": "usable"})
    resource = scan.resources["NIFTI"] = Resource("17", "NIFTI", format="NIFTI")
    resource.disk[FILE.file] = DATA
    peer.catalogue(resource, FILE.file)
    return resource


@pytest.fixture
def target(tmp_path):
    with (
        running_archive(tmp_path / "served") as running,
        Remote(Connection(running.url, running.user, Secret(running.password))) as remote,
    ):
        yield remote


def copy(remote, target):
    contents = read_contents(remote, Address("P"))
    there = read_same(target, contents, "P")
    plan = plan_copy(contents, there, from_project="P", project="P", relay=remote.relay)
    return plan, None if plan.nothing_to_do else carry_out(plan, target)


def row(remote):
    (held,) = remote.list_files(FILE.parent)
    return held


def test_an_old_or_new_server_is_copied_and_a_second_time_not(era, peer, remote, source, target):
    _, result = copy(remote, target)
    assert result.exit_code == 0, result.failures
    (held,) = target.list_files(FILE.parent)
    assert held.size_bytes == len(DATA)
    assert target.read_digest(FILE) == held.digest
    assert target.attributes(SCAN).fields["quality"] == "usable"
    assert target.attributes(Address("P", "s")).fields["group"] == "ctl"
    assert copy(remote, target)[1] is None


def test_a_source_that_breaks_off_is_asked_again_and_nothing_passes_twice(peer, remote, source, target):
    peer.fail("GET", "/files/t1", cut_answer, times=2)
    _, result = copy(remote, target)
    assert result.exit_code == 0, result.failures
    assert len(peer.seen("GET", "/files/t1")) == 3
    (held,) = target.list_files(FILE.parent)
    assert held.size_bytes == len(DATA)


def test_a_stream_that_breaks_off_goes_on_where_it_was(peer, remote, source):
    peer.fail("GET", "/files/t1", cut_answer, times=2)
    assert b"".join(remote.relay(FILE, row(remote))) == DATA


def test_a_stream_that_always_breaks_off_says_so(peer, remote, source):
    peer.fail("GET", "/files/t1", cut_answer, times=99)
    with pytest.raises(UnavailableError):
        list(remote.relay(FILE, row(remote)))


def test_other_bytes_than_are_listed_are_noticed_before_the_end(peer, remote, source, target):
    source.disk[FILE.file] = DATA[:-1] + b"x"
    with pytest.raises(VerifyError):
        list(remote.relay(FILE, row(remote)))
    _, result = copy(remote, target)
    assert result.exit_code == 8
    assert target.list_files(FILE.parent) == []


def test_a_stream_that_nobody_reads_any_more_ends_its_thread(peer, remote, source):
    source.disk[FILE.file] = DATA * 4
    stream = remote.relay(FILE, row(remote))
    next(stream)
    stream.close()
    for thread in threading.enumerate():
        if thread.name == "relay":
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize("count", [5, 30], ids=["one by one", "packed"])
@pytest.mark.parametrize("odd", ["50%.txt", "a;b.txt", "not given.txt", "other bytes.txt"])
def test_one_file_that_cannot_be_copied_does_not_fail_the_others(peer, remote, source, target, odd, count):
    """1.8.11 stores names with "%" and ";" from archives, but does not send them (recorded)."""
    for number in range(count - 1):
        source.disk[f"{number:02}.txt"] = b"text"
        peer.catalogue(source, f"{number:02}.txt")
    del source.disk[FILE.file], source.catalog[FILE.file]
    source.disk[odd] = b"odd"
    peer.catalogue(source, odd)
    if odd == "not given.txt":
        peer.fail("GET", "/files/not", page(500, "java.lang.NullPointerException"), times=99)
    if odd == "other bytes.txt":
        source.disk[odd] = b"other"
        peer.fail("GET", "/files/other", Reply(200, b"dod", {"Content-Type": "text/plain"}), times=99)
    plan, result = copy(remote, target)
    assert {file.name for file in target.list_files(FILE.parent)} == set(source.disk) - {odd}
    assert [r.address.file for r in result.failures] == ([] if plan.refusals else [odd])
    assert [refusal.address.file for refusal in plan.refusals] == ([odd] if "%" in odd or ";" in odd else [])
    assert sum(verdict.proof.good for verdict in result.verdicts) == count - 1
    assert plan.refusals or result.exit_code
