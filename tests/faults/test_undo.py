"""What an undo takes and puts back: only what is the run's, only what it can tell, on an old and a new server."""

from __future__ import annotations

import pytest
from peer import NEW, Resource, busy, empty_200, lost_reply, page

from xnatferry import retry
from xnatferry.planning.remote_state import Fingerprint
from xnatferry.planning.undo_plan import RunEffects, UndoAction
from xnatferry.transfer.events import Outcome
from xnatferry.transfer.undo_run import plan_of, undo
from xnatferry.xnat.digest import digest_of
from xnatferry.xnat.model import Address, Level

SESSION = Address("P", "s1", "s1_MR1")
RESOURCE = Address("P", "s1", "s1_MR1", "1", resource="NIFTI")
FILE = RESOURCE.child(Level.FILE, "t1.nii")
OURS, THEIRS, BEFORE = b"our bytes", b"THE BYTES", b"old bytes"


@pytest.fixture
def held(peer, remote, monkeypatch) -> Resource:
    """A resource with a file of somebody else's, which stays, and one of ours."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_S", 0.001)
    remote.ensure_project("P")
    remote.ensure_session(SESSION)
    remote.ensure_scan(RESOURCE.container)
    remote.ensure_resource(RESOURCE)
    send(remote, "theirs.txt", b"x")
    return peer.projects["P"].children["s1"].children["s1_MR1"].children["1"].resources["NIFTI"]


def send(remote, name, data, **options):
    assert remote.send_file(RESOURCE.child(Level.FILE, name), lambda: [data], len(data), **options) == []


def prints(data):
    return {FILE: Fingerprint(len(data), digest_of([data]))}


def fates(plan):
    return [(step.address.file, step.action) for step in plan.steps]


@pytest.mark.parametrize("digests", [True, False])
def test_a_change_of_the_same_size_stays(peer, era, remote, held, digests):
    """1.6.4 keeps the digest of the replaced bytes, and a server with checksums off gives none: the bytes tell."""
    peer.digests = digests and era == NEW
    send(remote, FILE.file, OURS)
    effects = RunEffects(stored=prints(OURS))
    assert fates(plan_of(effects, remote, "P")) == [(FILE.file, UndoAction.REMOVE)]
    send(remote, FILE.file, THEIRS, overwrite=True)
    plan = plan_of(effects, remote, "P")
    assert fates(plan) == [(FILE.file, UndoAction.STAY)]
    assert undo(plan, remote) == []
    assert held.disk[FILE.file] == THEIRS


def test_what_cannot_be_told_stays(peer, remote, held):
    peer.digests = False
    send(remote, FILE.file, OURS)
    peer.fail("POST", "/refresh/catalog", page(403, "no"), times=99)
    peer.fail("GET", "/files/t1.nii", page(500, "no"), times=99)
    (step,) = plan_of(RunEffects(stored=prints(OURS)), remote, "P").steps
    assert step.action is UndoAction.STAY
    assert "may have been changed by others" in step.reason


def test_what_changes_after_the_question_stays(era, remote, held):
    send(remote, FILE.file, OURS)
    plan = plan_of(RunEffects(stored=prints(OURS)), remote, "P")
    send(remote, FILE.file, THEIRS, overwrite=True)
    (receipt,) = undo(plan, remote)
    assert (receipt.outcome, receipt.exit_code) == (Outcome.FAILED, 6)
    assert held.disk[FILE.file] == THEIRS


@pytest.fixture
def replaced(peer, remote, held, tmp_path):
    """A run has replaced the file; the effects of the run."""
    send(remote, FILE.file, BEFORE, format="NIFTI", content="T1w")
    send(remote, FILE.file, OURS, overwrite=True, format="NIFTI", content="T1w")
    backup = tmp_path / "1"
    backup.write_bytes(BEFORE)
    return RunEffects(replaced=prints(OURS), backups={FILE: backup})


@pytest.mark.parametrize("act", [busy(), lost_reply, page(500, "collision")], ids=["503", "lost reply", "500"])
def test_old_bytes_are_put_back_in_spite_of_a_failure(peer, era, remote, held, replaced, act):
    plan = plan_of(replaced, remote, "P")
    peer.fail("PUT", "/files/t1.nii", act)
    (receipt,) = undo(plan, remote)
    assert not peer.faults[0].left
    assert (receipt.outcome, receipt.exit_code) == (Outcome.RESTORED, 0)
    assert held.disk[FILE.file] == BEFORE
    assert (held.catalog[FILE.file]["format"], held.catalog[FILE.file]["content"]) == ("NIFTI", "T1w")


def test_a_put_back_that_stores_nothing_is_told(peer, era, remote, held, replaced):
    plan = plan_of(replaced, remote, "P")
    peer.fail("PUT", "/files/t1.nii", empty_200)
    (receipt,) = undo(plan, remote)
    assert (receipt.outcome, receipt.exit_code) == (Outcome.FAILED, 8)
    assert "differs from the saved content" in receipt.message


def test_what_was_replaced_again_is_not_overwritten(era, remote, held, replaced):
    plan = plan_of(replaced, remote, "P")
    send(remote, FILE.file, THEIRS, overwrite=True)
    (receipt,) = undo(plan, remote)
    assert receipt.exit_code == 6
    assert held.disk[FILE.file] == THEIRS


def test_fields_that_changed_again_stay(peer, remote, held):
    subject = Address("P", "s1")
    remote.set_fields(subject, {"gender": "male"})
    plan = plan_of(RunEffects(changed={subject: {"gender": ("female", "male")}}), remote, "P")
    remote.set_fields(subject, {"gender": "other"})
    (receipt,) = undo(plan, remote)
    assert receipt.exit_code == 6
    assert remote.item(subject)["gender"] == "other"


def test_fields_that_are_not_put_back_are_told(peer, remote, held):
    subject = Address("P", "s1")
    remote.set_fields(subject, {"gender": "male"})
    plan = plan_of(RunEffects(changed={subject: {"gender": ("female", "male")}}), remote, "P")
    peer.fail("PUT", "/subjects/s1$", empty_200)
    (receipt,) = undo(plan, remote)
    assert receipt.exit_code == 8


@pytest.mark.parametrize("names", [("x.nii", "x.nii.gz"), ("sub-1", "sub-1x.nii", "sub-10/a.nii")])
def test_one_file_does_not_take_its_neighbours_along(peer, remote, held, names):
    """XNAT 1.8 removes every file whose name begins so; the scripted peer does, too."""
    for name in names:
        send(remote, name, name.encode())
    plan = plan_of(
        RunEffects(stored={RESOURCE.child(Level.FILE, names[0]): Fingerprint(5, digest_of([names[0].encode()]))}),
        remote,
        "P",
    )
    undo(plan, remote)
    assert set(names) <= set(held.disk)
    others = {RESOURCE.child(Level.FILE, n): Fingerprint(len(n), digest_of([n.encode()])) for n in names}
    assert not any(receipt.exit_code for receipt in undo(plan_of(RunEffects(stored=others), remote, "P"), remote))
    assert set(held.disk) == {"theirs.txt"}
