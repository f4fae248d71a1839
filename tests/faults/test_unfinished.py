"""An upload that was cut off in mid-body is finished by the next run, and nothing else is replaced.

1.8.11 keeps the part on its disk, unlisted, and lists it when the name is sent again without ``overwrite=true``.
"""

import pytest
from peer import cut_in_body, reset_in_body

from xnatferry import retry
from xnatferry.errors import ConflictError
from xnatferry.pipeline import recheck
from xnatferry.planning.plan import Decision, Payload, Plan, Step
from xnatferry.sources.model import LocalFile
from xnatferry.transfer.earlier_runs import EarlierRuns
from xnatferry.transfer.engine import carry_out
from xnatferry.transfer.events import Outcome, Proof
from xnatferry.transfer.journal import Journal
from xnatferry.xnat.model import Address, Level

SESSION = Address("P", "s1", "s1_MR1")
RESOURCE = Address("P", "s1", "s1_MR1", "1", resource="NIFTI")
FILE = RESOURCE.child(Level.FILE, "t1.nii")
WHOLE = bytes(range(256)) * 40


@pytest.fixture
def held(peer, remote, monkeypatch):
    """The resource on the server, where somebody else has a file."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    remote.ensure_project("P")
    remote.ensure_session(SESSION)
    remote.ensure_scan(RESOURCE.container)
    remote.ensure_resource(RESOURCE)
    return peer.projects["P"].children["s1"].children["s1_MR1"].children["1"].resources["NIFTI"]


class Pusher:
    """Pushes one file, run by run, with the plan of the first time."""

    def __init__(self, remote, folder):
        self.remote, self.folder = remote, folder
        self.path = folder / "t1.nii"

    def plan(self, data=WHOLE):
        if not self.path.exists() or self.path.read_bytes() != data:
            self.path.write_bytes(data)
        local = LocalFile(self.path, "t1.nii", len(data), self.path.stat().st_mtime_ns)
        there = [Address("P"), Address("P", "s1"), SESSION, RESOURCE.container, RESOURCE]
        steps = [*(Step(a, Decision.SAME) for a in there), Step(FILE, Decision.CREATE, payload=Payload(local))]
        return Plan(self.remote.connection.url, "P", tuple(steps))

    def push(self, plan=None):
        plan = plan or self.plan()
        about = {"server": self.remote.connection.url, "local": False, "project": "P"}
        with Journal.begin(self.folder / "runs", "push", about, plan=plan) as journal:
            result = carry_out(plan, self.remote, journal=journal)
            journal.end(result.exit_code)
        return result

    def again(self, plan=None):
        """The next run, with what the server lists by now."""
        earlier = EarlierRuns(self.folder / "runs", self.remote.connection.url, "P")
        return self.push(recheck(plan or self.plan(), self.remote, earlier=earlier))


@pytest.fixture
def pusher(remote, tmp_path):
    return Pusher(remote, tmp_path)


def cut(peer, pusher, fault=cut_in_body):
    peer.fail("PUT", "/files/", fault, times=99)
    assert pusher.push().exit_code == 5
    peer.faults.clear()


def done(result, held):
    assert result.exit_code == 0, result.failures
    assert [verdict.proof for verdict in result.verdicts] == [Proof.DIGEST]
    assert [r.outcome for r in result.receipts] == [Outcome.STORED]
    assert held.disk["t1.nii"] == WHOLE


def test_a_part_on_the_disk_is_finished(peer, held, pusher):
    cut(peer, pusher)
    assert held.disk["t1.nii"] == WHOLE[:1000]
    assert not held.catalog
    done(pusher.again(), held)
    assert len(peer.seen("PUT", "/files/")) == retry.ATTEMPTS + 1


def test_a_part_that_is_listed_by_now_is_finished(peer, remote, held, pusher):
    cut(peer, pusher)
    assert remote.send_file(FILE, lambda: [b"x"], 1) == ["t1.nii"]
    assert set(held.catalog) == {"t1.nii"}
    done(pusher.again(), held)


def test_without_a_journal_nobody_knows_whose_it_is(peer, remote, held, pusher):
    cut(peer, pusher)
    result = carry_out(pusher.plan(), remote)
    assert result.exit_code == 8
    assert held.disk["t1.nii"] == WHOLE[:1000]


@pytest.mark.parametrize("theirs", [b"a colleague's", WHOLE[:500] + b"!"])
@pytest.mark.parametrize("when", ["before the plan", "before the upload"])
def test_a_colleagues_file_is_not_replaced(peer, remote, held, pusher, theirs, when):
    cut(peer, pusher, reset_in_body)
    plan = pusher.plan()
    assert remote.send_file(FILE, lambda: [theirs], len(theirs)) == []
    if when == "before the plan":
        with pytest.raises(ConflictError):
            pusher.again(plan)
    else:
        assert pusher.push(plan).exit_code == 8
    assert held.disk["t1.nii"] == theirs


def test_a_longer_version_of_a_file_is_a_conflict(remote, held, pusher):
    """What is there is the beginning of ours, but a run of ours has finished it."""
    assert pusher.push(pusher.plan(WHOLE[:3000])).exit_code == 0
    with pytest.raises(ConflictError):
        pusher.again(pusher.plan(WHOLE))


def test_a_changed_file_replaces_what_a_removal_left(era, remote, held, pusher):
    assert pusher.push(pusher.plan(WHOLE[::-1])).exit_code == 0
    remote.remove(FILE, remove_files=False)
    assert held.disk["t1.nii"] == WHOLE[::-1]
    done(pusher.again(), held)


def test_a_removal_of_somebody_elses_is_left(remote, held, pusher):
    assert remote.send_file(FILE, lambda: [b"theirs"], 6) == []
    remote.remove(FILE, remove_files=False)
    assert pusher.again().exit_code == 8
    assert held.disk["t1.nii"] == b"theirs"
