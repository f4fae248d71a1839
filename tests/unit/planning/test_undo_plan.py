"""What an undo removes, puts back and leaves, decided from a journal and what the server holds now."""

from pathlib import Path

import pytest

from xnatferry.planning.remote_state import Fingerprint, HeldFile
from xnatferry.planning.undo_plan import Inventory, RunEffects, UndoAction, plan_undo
from xnatferry.xnat.model import Address, Level

PROJECT, SUBJECT, SESSION = Address("P"), Address("P", "s"), Address("P", "s", "e")
SCAN = SESSION.child(Level.SCAN, "1")
NIFTI = SCAN.child(Level.RESOURCE, "NIFTI")
IMAGE = NIFTI.child(Level.FILE, "t1.nii.gz")
OURS, THEIRS = "a" * 32, "b" * 32
SENT = Fingerprint(10, OURS)
MADE = (PROJECT, SUBJECT, SESSION, SCAN, NIFTI)


def undo(*, objects=MADE, files=None, fields=None, edited=None, remove_project=True, **effects):
    held = {IMAGE: HeldFile(10, OURS)} if files is None else files
    now = Inventory(frozenset(objects), held, fields or {}, edited or {})
    return plan_undo(RunEffects(**effects), now, remove_project=remove_project)


def fates(plan):
    return {step.address: step.action for step in plan.steps}


def created(*addresses):
    return {address: {} for address in addresses}


@pytest.mark.parametrize(
    ("held", "action"),
    [
        (HeldFile(10, OURS), UndoAction.REMOVE),
        (HeldFile(10, None), UndoAction.STAY),  # without a digest, nothing shows that it is ours
        (HeldFile(10, THEIRS), UndoAction.STAY),
        (HeldFile(11, OURS), UndoAction.STAY),
        (HeldFile(11, None), UndoAction.STAY),
        (None, UndoAction.GONE),
    ],
)
def test_a_file_goes_only_while_it_is_what_was_sent(held, action):
    plan = undo(stored={IMAGE: SENT}, files={} if held is None else {IMAGE: held})
    assert fates(plan) == {IMAGE: action}
    assert bool(plan.acts) == (action is UndoAction.REMOVE)
    assert bool(plan.stays) == (action is UndoAction.STAY)


def test_longer_names_go_first():
    """XNAT 1.8 removes with ``a`` every file whose name begins so (``FileList.removeRepresentations``)."""
    names = ["a", "a.gz", "a.gz.md5", "b"]
    files = {NIFTI.child(Level.FILE, name): HeldFile(10, OURS) for name in names}
    plan = undo(stored=dict.fromkeys(files, SENT), files=files)
    order = [step.address.file for step in plan.acts]
    assert sorted(order) == names
    assert order.index("a.gz.md5") < order.index("a.gz") < order.index("a")


def test_what_a_run_made_goes_in_the_fewest_pieces_the_innermost_first():
    plan = undo(created=created(*MADE), stored={IMAGE: SENT})
    assert [step.address for step in plan.acts] == [NIFTI, SESSION, SUBJECT, PROJECT], "the scan goes with its session"
    assert plan.acts[0].holds == {"t1.nii.gz": HeldFile(10, OURS)}
    assert plan.acts[1].holds == {"1": None}


def test_a_project_is_kept_unless_its_removal_is_requested():
    """XNAT never accepts the ID of a deleted project again."""
    plan = undo(created=created(*MADE), stored={IMAGE: SENT}, remove_project=False)
    assert [step.address for step in plan.acts] == [NIFTI, SESSION, SUBJECT]
    (kept,) = plan.stays
    assert kept.address == PROJECT
    assert "--remove-project" in kept.reason


def test_a_scan_whose_session_stays_goes_by_itself():
    plan = undo(created=created(SCAN, NIFTI), stored={IMAGE: SENT})
    assert [step.address for step in plan.acts] == [NIFTI, SCAN]


def test_files_of_a_resource_that_stays_go_one_by_one():
    plan = undo(created=created(SCAN), stored={IMAGE: SENT})
    assert [step.address for step in plan.acts] == [IMAGE]
    assert "resource NIFTI" in next(step.reason for step in plan.stays if step.address == SCAN)


def test_what_others_put_in_keeps_everything_around_it():
    theirs = [NIFTI.child(Level.FILE, name) for name in ("theirs.txt", "more.txt")]
    files = {IMAGE: HeldFile(10, OURS)} | dict.fromkeys(theirs, HeldFile(1, THEIRS))
    plan = undo(created=created(*MADE), stored={IMAGE: SENT}, files=files)
    assert [step.address for step in plan.acts] == [IMAGE]
    reasons = {step.address: step.reason for step in plan.stays}
    assert reasons.keys() == set(MADE)
    assert "file more.txt and 1 more" in reasons[NIFTI]
    assert "resource NIFTI," in reasons[SCAN]


def test_a_file_that_was_changed_keeps_everything_around_it():
    plan = undo(created=created(*MADE), stored={IMAGE: SENT}, files={IMAGE: HeldFile(10, THEIRS)})
    assert not plan.acts
    assert {step.address for step in plan.stays} == {IMAGE, *MADE}


def test_an_edited_object_stays_and_what_holds_it():
    plan = undo(created=created(*MADE), stored={IMAGE: SENT}, edited={SCAN: "note"})
    assert fates(plan) == {NIFTI: UndoAction.REMOVE} | dict.fromkeys(MADE[:4], UndoAction.STAY), (
        "the file goes with its resource"
    )
    assert [step.address for step in plan.acts] == [NIFTI]
    assert "edited since (note)" in next(step.reason for step in plan.stays if step.address == SCAN)


def test_what_is_gone_already_keeps_nothing():
    plan = undo(created=created(*MADE), stored={IMAGE: SENT}, objects=MADE[:3], files={})
    assert fates(plan) == {
        IMAGE: UndoAction.GONE, NIFTI: UndoAction.GONE, SCAN: UndoAction.GONE,
        SESSION: UndoAction.REMOVE, SUBJECT: UndoAction.REMOVE, PROJECT: UndoAction.REMOVE,
    }  # fmt: skip


def test_resources_of_all_levels_go_before_what_holds_them():
    own = [place.child(Level.RESOURCE, "R") for place in (PROJECT, SUBJECT, SESSION)]
    plan = undo(created=created(*MADE, *own), objects=(*MADE, *own), stored={IMAGE: SENT})
    order = [step.address for step in plan.acts]
    assert set(order) == {*own, NIFTI, SESSION, SUBJECT, PROJECT}
    assert max(map(order.index, (*own, NIFTI))) < order.index(SESSION) < order.index(SUBJECT) < order.index(PROJECT)


def test_replaced_bytes_come_back_only_over_ours_and_only_from_a_backup():
    other = NIFTI.child(Level.FILE, "other.nii.gz")
    lost = NIFTI.child(Level.FILE, "lost.nii.gz")
    files = {IMAGE: HeldFile(10, OURS), other: HeldFile(10, THEIRS), lost: HeldFile(10, OURS)}
    backups = {IMAGE: Path("backup/1"), other: Path("backup/2")}
    plan = undo(replaced=dict.fromkeys(files, SENT), backups=backups, files=files)
    assert fates(plan) == {IMAGE: UndoAction.RESTORE, other: UndoAction.STAY, lost: UndoAction.STAY}
    assert [step.backup for step in plan.acts] == [Path("backup/1")]
    assert "--backup" in next(step.reason for step in plan.stays if step.address == lost)
    assert "changed since" in next(step.reason for step in plan.stays if step.address == other)


def test_fields_come_back_where_they_are_still_what_the_run_made_them():
    changes = {"quality": ("usable", "unusable"), "note": ("", "bad"), "type": ("T1", "T1w")}
    plan = undo(changed={SCAN: changes}, fields={SCAN: {"quality": "unusable", "note": "ask Ann"}})
    assert [(step.address, step.fields) for step in plan.acts] == [(SCAN, {"quality": "usable"})]
    assert [step.reason for step in plan.stays] == ["note, type was changed since"]
    whole = undo(changed={SCAN: changes}, fields={SCAN: {"quality": "unusable", "note": "bad", "type": "T1w"}})
    assert [step.fields for step in whole.acts] == [{"quality": "usable", "note": "", "type": "T1"}]
    assert not whole.stays
    many = dict.fromkeys("gfedcba", ("", "x"))
    assert [step.reason for step in undo(changed={SCAN: many}).stays] == ["a, b, c, d, e, f, g was changed since"]
    none = undo(changed={SCAN: changes})
    assert not none.acts
    assert len(none.stays) == 1


def test_a_file_of_a_killed_run_that_cannot_be_recognised_stays():
    files = {NIFTI.child(Level.FILE, f"{number}.nii"): HeldFile(10, OURS) for number in range(9)}
    gone = NIFTI.child(Level.FILE, "gone.nii.gz")
    plan = undo(uncertain=frozenset({*files, gone}), created=created(NIFTI), files=files)
    assert [step.address for step in plan.stays] == [*files, NIFTI]
    assert not plan.acts
