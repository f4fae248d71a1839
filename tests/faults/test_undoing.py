"""An undo reads what the server holds, and looks once more before each removal: nothing of anybody else goes along."""

import pytest
from peer import Reply, Resource, Thing, busy, listing, page

from xnatferry.errors import ConflictError, ForbiddenError, RefusedError, UnavailableError
from xnatferry.planning.remote_state import Fingerprint, HeldFile
from xnatferry.planning.undo_plan import RunEffects, UndoAction
from xnatferry.transfer.events import Began, Outcome
from xnatferry.transfer.undo_run import plan_of, take_inventory, undo
from xnatferry.xnat.digest import digest_of
from xnatferry.xnat.model import Address, Level

PROJECT, SUBJECT, SESSION = Address("P"), Address("P", "s"), Address("P", "s", "s_MR1")
SCAN = SESSION.child(Level.SCAN, "1")
NIFTI = SCAN.child(Level.RESOURCE, "NIFTI")
IMAGE = NIFTI.child(Level.FILE, "t1.nii")
MADE = (PROJECT, SUBJECT, SESSION, SCAN, NIFTI)
DATA = b"bytes"
SENT = Fingerprint(len(DATA), digest_of([DATA]))


@pytest.fixture
def things(peer):
    """A project with one subject, session, scan and image, all of it made by a run."""
    project = peer.projects["P"] = Thing("P", "P", "xnat:projectData")
    subject = project.children["s"] = Thing("XNAT_S1", "s", "xnat:subjectData")
    session = subject.children["s_MR1"] = Thing("XNAT_E1", "s_MR1", "xnat:mrSessionData", subject="XNAT_S1")
    scan = session.children["1"] = Thing("1", "1", "xnat:mrScanData", {"type": "T1w"})
    scan.resources["NIFTI"] = Resource("17", "NIFTI")
    found = {PROJECT: project, SUBJECT: subject, SESSION: session, SCAN: scan}
    put(peer, found, IMAGE, DATA)
    return found


def put(peer, things, address, data):
    resource = things[address.container].resources.setdefault(
        address.resource, Resource(peer.number(), address.resource)
    )
    resource.disk[address.file] = data
    peer.catalogue(resource, address.file)


@pytest.fixture
def effects():
    return RunEffects({address: {"type": "T1w"} if address is SCAN else {} for address in MADE}, {IMAGE: SENT})


def outcomes(receipts):
    return {receipt.address: receipt.outcome for receipt in receipts}


def test_what_a_run_made_is_read_and_goes_the_innermost_first(peer, things, remote, effects):
    told, journal = [], []
    receipts = undo(
        plan_of(effects, remote, "P", remove_project=True), remote, listener=told.append, journal=journal.append
    )
    assert [receipt.address for receipt in receipts] == [NIFTI, SESSION, SUBJECT, PROJECT]
    assert set(outcomes(receipts).values()) == {Outcome.REMOVED}
    assert peer.projects == {}
    assert told == receipts
    assert journal == [event for receipt in receipts for event in (Began((receipt.address,)), receipt)]


def test_a_project_that_is_not_there_holds_nothing(peer, remote, effects):
    assert take_inventory(remote, "P", effects).objects == frozenset()
    assert {step.action for step in plan_of(effects, remote, "P", remove_project=True).steps} == {UndoAction.GONE}


OWN = [place.child(Level.RESOURCE, "R").child(Level.FILE, "a.txt") for place in (PROJECT, SUBJECT, SESSION, SCAN)]


@pytest.mark.parametrize("theirs", OWN, ids=["project", "subject", "session", "scan"])
def test_a_file_of_somebody_else_keeps_what_holds_it(peer, things, remote, effects, theirs):
    put(peer, things, theirs, b"theirs")
    plan = plan_of(effects, remote, "P", remove_project=True)
    stays = {step.address for step in plan.stays}
    assert stays == {theirs.container, *theirs.container.ancestors()}
    assert all(receipt.exit_code == 0 for receipt in undo(plan, remote))
    assert peer.files(*[x for x in (theirs.project, theirs.subject, theirs.session, theirs.scan) if x], "R")


@pytest.mark.parametrize("theirs", OWN, ids=["project", "subject", "session", "scan"])
def test_a_file_that_came_after_the_plan_keeps_what_holds_it(peer, things, remote, effects, theirs):
    plan = plan_of(effects, remote, "P", remove_project=True)
    put(peer, things, theirs, b"theirs")
    receipts = undo(plan, remote)
    place = SESSION if theirs.container == SCAN else theirs.container  # the scan would go with its session
    failed = {receipt.address: receipt for receipt in receipts if receipt.exit_code}
    assert set(failed) == {place, *place.ancestors()}
    assert failed[place].exit_code == ConflictError.exit_code
    assert peer.files(*[x for x in (theirs.project, theirs.subject, theirs.session, theirs.scan) if x], "R")


@pytest.mark.parametrize("data", [b"other", b"longer than it was"])
def test_a_file_that_came_or_changed_after_the_plan_keeps_its_resource(peer, things, remote, effects, data):
    plan = plan_of(effects, remote, "P", remove_project=True)
    put(peer, things, IMAGE, data)
    receipts = undo(plan, remote)
    assert not [receipt for receipt in receipts if not receipt.exit_code]
    assert "t1.nii was added or changed meanwhile" in receipts[0].message
    assert peer.files("P", "s", "s_MR1", "1", "NIFTI") == {"t1.nii": data}


@pytest.mark.parametrize(("level", "stays"), [(PROJECT, 1), (SUBJECT, 2), (SESSION, 3)], ids=str)
def test_an_object_that_came_after_the_plan_keeps_what_holds_it(peer, things, remote, effects, level, stays):
    plan = plan_of(effects, remote, "P", remove_project=True)
    kinds = {PROJECT: "xnat:subjectData", SUBJECT: "xnat:mrSessionData", SESSION: "xnat:mrScanData"}
    things[level].children["7"] = (
        Thing("XNAT_7", "7", kinds[level]) if level is not SESSION else Thing("7", "7", kinds[level])
    )
    receipts = undo(plan, remote)
    failed = [receipt.address for receipt in receipts if receipt.exit_code]
    assert failed == [PROJECT, SUBJECT, SESSION][:stays][::-1]
    assert f"{level}: not removed; " in next(receipt.message for receipt in receipts if receipt.address == level)
    assert "7" in things[level].children


@pytest.mark.parametrize("when", ["before the plan", "after the plan"])
def test_an_assessor_keeps_its_session(peer, things, remote, effects, when):
    plan = plan_of(effects, remote, "P", remove_project=True)
    things[SESSION].children["A"] = Thing("XNAT_E7", "A", "xnat:qcAssessmentData")
    peer.fail("GET", "/assessors/A/resources$", listing([]), times=99)
    if when == "before the plan":
        plan = plan_of(effects, remote, "P", remove_project=True)
        assert "assessor A" in next(step.reason for step in plan.stays if step.address == SESSION)
    receipts = undo(plan, remote)
    assert {receipt.address for receipt in receipts if not receipt.exit_code} <= {NIFTI, SCAN}
    assert "s_MR1" in things[SUBJECT].children


def test_a_session_of_another_subject_keeps_nobody(peer, things, remote, effects):
    other = things[PROJECT].children["t"] = Thing("XNAT_S2", "t", "xnat:subjectData")
    other.children["t_MR1"] = Thing("XNAT_E2", "t_MR1", "xnat:mrSessionData", subject="XNAT_S2")
    receipts = undo(plan_of(effects, remote, "P", remove_project=True), remote)
    assert outcomes(receipts) == dict.fromkeys((NIFTI, SESSION, SUBJECT), Outcome.REMOVED)
    assert peer.projects["P"].children.keys() == {"t"}


def test_a_listed_session_that_cannot_be_read_stops_an_undo(peer, things, remote, effects):
    """It may be below a subject that the undo would remove."""
    row = {"ID": "XNAT_E9", "label": "lost", "subject_label": "", "xsiType": "xnat:mrSessionData"}
    peer.fail("GET", "/experiments$", listing([row]), times=99)
    with pytest.raises(RefusedError, match="lost"):
        take_inventory(remote, "P", effects)


def test_an_empty_resource_of_a_scan_is_seen(peer, things, remote, effects):
    """No listing of files names it."""
    things[SCAN].resources["NIFTI"].disk.clear()
    things[SCAN].resources["NIFTI"].catalog.clear()
    things[SCAN].resources["EMPTY"] = Resource("18", "EMPTY")
    now = take_inventory(remote, "P", effects)
    assert {NIFTI, SCAN.child(Level.RESOURCE, "EMPTY")} <= now.objects
    assert now.files == {}


def test_the_inventory_has_sizes_and_digests(peer, things, remote, effects):
    put(peer, things, OWN[2], b"own")
    now = take_inventory(remote, "P", effects)
    assert now.files == {IMAGE: HeldFile(*(SENT.size_bytes, SENT.digest)), OWN[2]: HeldFile(3, digest_of([b"own"]))}
    assert now.objects == {*MADE, OWN[2].parent}


EDITS = [
    (SUBJECT, "gender", "female", True),
    (SESSION, "note", "ask Ann", True),
    (SCAN, "quality", "unusable", True),
    (SCAN, "type", "T1", True),  # the run gave another
    (SCAN, "type", "T1w", False),
    (SCAN, "parameters/te", "3.0", False),  # a server fills in what it reads
    (SCAN, "note", "", False),
]


@pytest.mark.parametrize(("address", "name", "value", "stays"), EDITS)
def test_what_somebody_edited_by_hand_stays(peer, things, remote, effects, address, name, value, stays):
    things[address].fields[name] = value
    edited = take_inventory(remote, "P", effects).edited
    assert edited == ({address: name} if stays else {})


@pytest.mark.parametrize(("given", "held", "stays"), [("34", "34.0", False), ("34", "35", True), ("x", "y", True)])
def test_a_number_is_no_edit_for_being_written_otherwise(peer, things, remote, given, held, stays):
    things[SESSION].fields["age"] = held
    edited = take_inventory(remote, "P", RunEffects({SESSION: {"xnat:mrSessionData/age": given}})).edited
    assert edited == ({SESSION: "age"} if stays else {})


def test_fields_that_the_run_changed_are_put_back(peer, things, remote):
    things[SCAN].fields |= {"quality": "unusable", "note": "theirs"}
    changes = {SCAN: {"quality": ("usable", "unusable"), "note": ("", "ours")}}
    plan = plan_of(RunEffects(changed=changes), remote, "P")
    assert outcomes(undo(plan, remote)) == {SCAN: Outcome.RESTORED}
    assert things[SCAN].fields["quality"] == "usable"
    assert things[SCAN].fields["note"] == "theirs"
    gone = SESSION.child(Level.SCAN, "2")
    assert not plan_of(RunEffects(changed={gone: {"quality": ("a", "b")}}), remote, "P").acts


def test_replaced_bytes_come_back(peer, things, remote, tmp_path):
    (tmp_path / "1").write_bytes(b"old")
    plan = plan_of(RunEffects(replaced={IMAGE: SENT}, backups={IMAGE: tmp_path / "1"}), remote, "P")
    assert outcomes(undo(plan, remote)) == {IMAGE: Outcome.RESTORED}
    assert peer.files("P", "s", "s_MR1", "1", "NIFTI") == {"t1.nii": b"old"}


def test_what_somebody_else_removed_meanwhile_is_no_failure(peer, things, remote):
    other = SCAN.child(Level.RESOURCE, "OTHER").child(Level.FILE, "b.txt")
    put(peer, things, other, b"b")
    effects = RunEffects(stored={IMAGE: SENT, other: Fingerprint(1, digest_of([b"b"]))})
    plan = plan_of(effects, remote, "P", remove_project=True)
    del things[SCAN].resources["NIFTI"]
    assert outcomes(undo(plan, remote)) == {IMAGE: Outcome.FOUND, other: Outcome.REMOVED}


@pytest.mark.parametrize(("act", "error"), [(page(403, "no permission"), ForbiddenError), (busy(), UnavailableError)])
def test_a_step_that_fails_is_named_and_leaves_the_others_alone(peer, things, remote, act, error):
    other = SCAN.child(Level.RESOURCE, "OTHER")
    put(peer, things, other.child(Level.FILE, "b.txt"), b"b")
    plan = plan_of(
        RunEffects(
            {NIFTI: {}, other: {}}, {IMAGE: SENT, other.child(Level.FILE, "b.txt"): Fingerprint(1, digest_of([b"b"]))}
        ),
        remote,
        "P",
    )
    peer.fail("DELETE", "/resources/OTHER", act, times=99)
    codes = {receipt.address: receipt.exit_code for receipt in undo(plan, remote)}
    assert codes == {NIFTI: 0, other: error.exit_code}
    assert things[SCAN].resources.keys() == {"OTHER"}


def test_a_server_that_cannot_be_asked_is_an_error(peer, things, remote, effects):
    peer.fail("GET", "/scans", Reply(403), times=99)
    with pytest.raises(ForbiddenError):
        take_inventory(remote, "P", effects)
