"""A stored plan against a server that moved on: what has arrived is left alone, what is somebody else's is never touched."""

from dataclasses import replace
from pathlib import Path

import pytest

from xnatferry.errors import ConflictError
from xnatferry.planning.plan import Decision, Payload, Plan, Step
from xnatferry.planning.plan_validation import validate_plan
from xnatferry.planning.remote_state import Fingerprint, HeldFile, RemoteSession, RemoteState
from xnatferry.planning.snapshot_steps import RECORD_NAME
from xnatferry.sources.model import LocalFile, Made
from xnatferry.xnat.model import Address, Level

PROJECT, SUBJECT, SESSION = Address("P"), Address("P", "s"), Address("P", "s", "e")
SCAN = SESSION.child(Level.SCAN, "1")
NIFTI = SCAN.child(Level.RESOURCE, "NIFTI")
IMAGE = NIFTI.child(Level.FILE, "t1.nii.gz")
OURS, BEFORE, THEIRS = "a" * 32, "b" * 32, "c" * 32
CREATE, SAME, UPDATE, DIFFERS = Decision.CREATE, Decision.SAME, Decision.UPDATE, Decision.DIFFERS


def server(image=None, *, subject="s", scans=None, files=None, subjects=("s",), session=True, **more):
    held = {("1", "NIFTI", "t1.nii.gz"): image} if image is not None else {}
    there = RemoteSession(subject, "xnat:mrSessionData", scans or {"1": {}}, held | (files or {}))
    return RemoteState("http://x", True, frozenset(subjects), {"e": there} if session else {}, **more)


def check(step, now, *, moved=(), more=()):
    """The step as it is now, or why the plan no longer holds."""
    plan = Plan("http://x", "P", (step, *more))
    try:
        found = validate_plan(
            plan,
            now,
            fingerprint=lambda local, gzip: Fingerprint(7 if gzip else local.size_bytes, OURS),
            read_content=lambda *_: None,
            moved_sources=moved,
        )
    except ConflictError as error:
        return str(error)
    return found.steps[0]


def file(decision, *, held_digest=None, gzip=False):
    local = LocalFile(Path("t1.nii.gz"), "t1.nii.gz", 10, 1)
    return Step(IMAGE, decision, payload=Payload(local, gzip=gzip, held_digest=held_digest))


@pytest.mark.parametrize(
    ("step", "held", "decision"),
    [
        (file(CREATE), None, CREATE),
        (file(CREATE), HeldFile(10, OURS), SAME),  # an earlier push of this plan
        (file(CREATE), HeldFile(10, None), SAME),
        (file(UPDATE, held_digest=BEFORE), HeldFile(12, BEFORE), UPDATE),
        (file(UPDATE, held_digest=BEFORE), HeldFile(10, OURS), SAME),
        (file(SAME, held_digest=OURS), HeldFile(10, OURS), SAME),
        (file(DIFFERS, held_digest=BEFORE), HeldFile(12, BEFORE), DIFFERS),
        (file(CREATE, gzip=True), HeldFile(7, OURS), SAME),
    ],
)
def test_a_file_that_is_as_planned_or_has_arrived(step, held, decision):
    found = check(step, server(held))
    assert found.decision is decision
    if decision is SAME:
        assert found.payload.held_digest == held.digest
    else:
        assert found == step


@pytest.mark.parametrize(
    ("step", "held", "why"),
    [
        (file(CREATE), HeldFile(10, THEIRS), "a file of this name was added"),
        (file(CREATE), HeldFile(11, OURS), "a file of this name was added"),
        (file(CREATE), HeldFile(11, None), "a file of this name was added"),
        (file(CREATE, gzip=True), HeldFile(8, OURS), "a file of this name was added"),
        (file(UPDATE, held_digest=BEFORE), HeldFile(12, THEIRS), "content changed since the plan was made"),
        (file(UPDATE, held_digest=BEFORE), HeldFile(10, THEIRS), "content changed since the plan was made"),
        (file(SAME, held_digest=OURS), HeldFile(10, THEIRS), "content changed since the plan was made"),
        (file(DIFFERS, held_digest=BEFORE), HeldFile(12, THEIRS), "content changed since the plan was made"),
        (file(UPDATE, held_digest=BEFORE), None, "was removed since"),
        (file(SAME, held_digest=OURS), None, "was removed since"),
    ],
)
def test_a_file_that_somebody_else_changed_stops_the_plan(step, held, why):
    found = check(step, server(held))
    assert str(IMAGE) in found
    assert why in found


@pytest.mark.parametrize("address", [PROJECT, SUBJECT, SESSION, SCAN])
def test_objects_that_are_there_are_not_made_again_and_lost_ones_stop_the_plan(address):
    assert check(Step(address, CREATE), server()).decision is SAME
    assert check(Step(address, SAME), server()).decision is SAME
    empty = RemoteState("http://x", project_exists=False)
    assert check(Step(address, CREATE), empty).decision is CREATE
    assert "was removed since" in check(Step(address, SAME), empty)
    assert "was removed since" in check(Step(address, UPDATE, changes={"note": ("", "x")}), empty)


def test_a_scan_of_its_number_is_needed_not_just_any():
    assert check(Step(SCAN, CREATE), server(scans={"2": {}})).decision is CREATE
    assert "was removed since" in check(Step(SCAN, SAME), server(scans={"2": {}}))
    assert "was removed since" in check(Step(SUBJECT, SAME), server(subjects=("t",)))


def test_a_resource_is_there_when_it_holds_a_file():
    assert check(Step(NIFTI, CREATE), server(HeldFile(10, OURS))).decision is SAME
    assert check(Step(NIFTI, CREATE), server()).decision is CREATE
    assert check(Step(NIFTI, SAME), server()).decision is SAME, "an empty one cannot be seen"


@pytest.mark.parametrize("decision", [CREATE, SAME])
def test_a_session_that_went_to_another_subject_stops_the_plan(decision):
    assert "was moved to subject other" in check(Step(SESSION, decision), server(subject="other"))
    assert check(Step(SESSION, decision), server(subject="")).decision is SAME, "the listing does not say whose it is"
    assert check(Step(SCAN, decision), server(subject="other")).decision is SAME, "said once, of the session"


def test_changes_of_fields_are_made_once_and_never_over_somebody_else():
    change = Step(SCAN, UPDATE, xsi_type="xnat:mrScanData", changes={"quality": ("a", "b"), "note": ("", "n")})

    def at(**fields):
        return server(scans={"1": fields})

    assert check(change, at(quality="a")) == change
    half = check(change, at(quality="b"))
    assert (half.decision, half.changes) == (UPDATE, {"note": ("", "n")})
    assert check(change, at(quality="b", note="n")).decision is SAME
    assert "quality was changed to 'z'" in check(change, at(quality="z"))
    assert "note was changed to 'z'" in check(change, at(quality="b", note="z"))


def test_a_subject_says_its_fields_by_their_full_path():
    change = Step(SUBJECT, UPDATE, xsi_type="xnat:subjectData", changes={"xnat:subjectData/group": ("", "patient")})
    assert check(change, server(subject_fields={"s": {"group": "patient"}})).decision is SAME
    assert "was changed to 'control'" in check(change, server(subject_fields={"s": {"group": "control"}}))


SNAPSHOTS = SCAN.child(Level.RESOURCE, "SNAPSHOTS")
RECORD = LocalFile.written(Path("t1.nii.gz"), RECORD_NAME, b"{}")


@pytest.mark.parametrize(
    ("files", "decision"),
    [
        ({}, CREATE),
        ({"scan_qc.gif": HeldFile(9, THEIRS)}, UPDATE),  # of a push that was interrupted
        ({"scan_qc.gif": HeldFile(9, THEIRS), RECORD_NAME: HeldFile(2, RECORD.digest)}, SAME),
        ({"scan_qc.gif": HeldFile(9, THEIRS), RECORD_NAME: HeldFile(2, None)}, SAME),
        ({"scan_qc.gif": HeldFile(9, THEIRS), RECORD_NAME: HeldFile(3, None)}, UPDATE),
        ({"scan_qc.gif": HeldFile(9, THEIRS), RECORD_NAME: HeldFile(2, THEIRS)}, UPDATE),
    ],
)
def test_a_picture_is_there_when_its_record_is(files, decision):
    made = LocalFile(Path("t1.nii.gz"), "scan_qc.gif", 0, 1, made=Made("ORIGINAL", OURS))
    picture = Step(SNAPSHOTS.child(Level.FILE, "scan_qc.gif"), CREATE, payload=Payload(made))
    record = Step(SNAPSHOTS.child(Level.FILE, RECORD_NAME), UPDATE, payload=Payload(RECORD, held_digest=THEIRS))
    if RECORD_NAME not in files:
        record = replace(record, decision=CREATE)
    elif files[RECORD_NAME] != HeldFile(2, THEIRS):
        files = dict(files)  # what the record's own step says of it is another test's matter
        record = replace(record, payload=replace(record.payload, held_digest=files[RECORD_NAME].digest))
    held = {("1", "SNAPSHOTS", name): one for name, one in files.items()}
    assert check(picture, server(files=held), more=(record,)).decision is decision


def test_without_a_record_in_the_plan_nothing_vouches_for_a_picture():
    made = LocalFile(Path("t1.nii.gz"), "scan_qc.gif", 0, 1, made=Made("ORIGINAL", OURS))
    picture = Step(SNAPSHOTS.child(Level.FILE, "scan_qc.gif"), CREATE, payload=Payload(made))
    held = {("1", "SNAPSHOTS", name): HeldFile(2, None) for name in ("scan_qc.gif", RECORD_NAME)}
    assert check(picture, server(files=held)).decision is UPDATE


def test_a_picture_that_is_gone_stops_the_plan():
    made = LocalFile(Path("t1.nii.gz"), "scan_qc.gif", 9, 1, made=Made("ORIGINAL", OURS))
    picture = Step(SNAPSHOTS.child(Level.FILE, "scan_qc.gif"), SAME, payload=Payload(made))
    assert "was removed since" in check(picture, server())


def test_ten_reasons_are_shown_and_the_others_counted():
    assert "source x moved; create the plan again" in check(Step(PROJECT, SAME), server(), moved=["source x moved"])
    why = check(Step(PROJECT, SAME), server(), moved=[f"no {number}" for number in range(12)])
    assert "no 9 (and 2 more)" in why
    assert "more)" not in check(Step(PROJECT, SAME), server(), moved=[f"no {number}" for number in range(10)])
