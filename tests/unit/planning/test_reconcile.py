from dataclasses import replace
from pathlib import Path

from xnatferry.planning.mapping import MappingRules, map_sources
from xnatferry.planning.plan import Decision, OnConflict, Transport
from xnatferry.planning.reconcile import reconcile
from xnatferry.planning.remote_state import Fingerprint, HeldFile, RemoteSession, RemoteState
from xnatferry.sources.model import Claims, Kind, LocalFile, Source
from xnatferry.xnat.gzip_stream import Content
from xnatferry.xnat.model import Address, Level

CONTENT = Content(10, "c" * 32, 99)


def never_asked(address, size_bytes, deep):
    raise AssertionError(f"the server was asked about {address}")


def source(name="t1.nii.gz", size=10, kind=Kind.NIFTI, files=1, **claims):
    claims = {"subject": "s"} | claims
    return Source(
        kind,
        Path(name),
        name,
        tuple(LocalFile(Path(name), name if i == 0 else f"{i}_{name}", size, 1) for i in range(files)),
        Claims(**claims),
    )


def decide(*sources, remote=None, digest="d" * 32, **options):
    rules = MappingRules("P", gzip=options.get("gzip", False))
    mapped = map_sources(sources, rules)
    remote = remote or RemoteState("http://x", project_exists=False)

    def fingerprint(local, gzip):
        return Fingerprint(7 if gzip else local.size_bytes, digest, CONTENT if gzip else None)

    options = {"read_content": never_asked} | options
    return reconcile(mapped, remote, project="P", fingerprint=fingerprint, **options)


def holding(size=10, digest="d" * 32, name="t1.nii.gz", subject="s", scan="1", **scan_fields):
    session = RemoteSession(
        subject, "xnat:mrSessionData", {scan: scan_fields}, {(scan, "NIFTI", name): HeldFile(size, digest)}
    )
    return RemoteState("http://x", project_exists=True, subjects=frozenset({subject}), sessions={"s_MR1": session})


def test_an_empty_server_gets_everything_containers_first():
    plan = decide(source())
    assert [step.address.level for step in plan.steps] == [
        Level.PROJECT,
        Level.SUBJECT,
        Level.SESSION,
        Level.SCAN,
        Level.RESOURCE,
        Level.FILE,
    ]
    assert plan.count() == {Decision.CREATE: 6}
    assert plan.sends_bytes == 10


def test_the_same_file_is_left_alone():
    plan = decide(source(), remote=holding())
    assert plan.nothing_to_do
    assert plan.files[0].payload.held_digest == "d" * 32


def test_other_bytes_are_a_conflict_and_each_policy_says_what_happens():
    for remote in (holding(digest="e" * 32), holding(size=11)):
        assert decide(source(), remote=remote).conflicts
        skipped = decide(source(), remote=remote, on_conflict=OnConflict.SKIP)
        assert skipped.nothing_to_do
        assert skipped.conflicts
        assert decide(source(), remote=remote, on_conflict=OnConflict.OVERWRITE).files[0].decision is Decision.UPDATE


def test_keep_both_puts_the_new_file_beside_the_old_one_once():
    first = decide(source(), remote=holding(digest="e" * 32), on_conflict=OnConflict.KEEP_BOTH)
    assert (first.files[0].decision, first.files[0].address.file) == (Decision.CREATE, "t1_2.nii.gz")
    there = holding(digest="e" * 32)
    session = there.sessions["s_MR1"]
    session.files["1", "NIFTI", "t1_2.nii.gz"] = HeldFile(10, "d" * 32)
    assert decide(source(), remote=there, on_conflict=OnConflict.KEEP_BOTH).nothing_to_do


def test_an_image_takes_over_the_empty_scan_that_an_interrupted_push_made_for_it():
    there = holding(name="other.nii", type="bold")
    there.sessions["s_MR1"].scans["4"] = {"type": "T1w", "series_description": "T1w"}
    there.sessions["s_MR1"].scans["3"] = {"type": "T2w", "series_description": "T2w"}
    plan = decide(source(type="T1w"), source("t2.nii", type="T2w"), source("new.nii", type="T1w"), remote=there)
    assert {step.address.file: step.address.scan for step in plan.files} == {
        "t1.nii.gz": "4",
        "t2.nii": "3",
        "new.nii": "2",
    }


def test_without_a_digest_the_size_decides_and_the_plan_says_so():
    step = decide(source(), remote=holding(digest=None)).files[0]
    assert step.decision is Decision.SAME
    assert "no digest" in step.reason


def test_an_image_finds_the_scan_that_holds_it_already():
    assert decide(source(), remote=holding(scan="7")).files[0].address.scan == "7"


def test_a_new_image_takes_a_scan_number_that_is_free_on_the_server():
    assert decide(source("t2.nii.gz"), remote=holding()).files[0].address.scan == "2"


def test_a_session_is_never_moved_to_another_subject():
    plan = decide(source(), remote=holding(subject="other"))
    assert not plan.steps
    assert "belongs to subject other" in plan.refusals[0].reasons[0]


def test_fields_that_differ_are_shown_and_changed_only_when_allowed():
    for allowed, decision in ((False, Decision.SAME), (True, Decision.UPDATE)):
        plan = decide(source(type="T1w"), remote=holding(type="T2w"), update_fields=allowed)
        step = next(step for step in plan.steps if step.address.level is Level.SCAN)
        assert step.decision is decision
        assert step.changes == {"type": ("T2w", "T1w")}


def test_a_compressed_file_is_compared_as_it_would_arrive():
    plan = decide(source("t1.nii"), remote=holding(size=7), gzip=True)
    assert plan.nothing_to_do
    assert plan.files[0].address.file == "t1.nii.gz"


def test_results_travel_packed_and_single_images_alone():
    transports = {
        step.address.resource: step.transport
        for step in decide(source(), source("fs", kind=Kind.FREESURFER, resource="FS", files=3)).steps
        if step.address.level is Level.RESOURCE
    }
    assert transports == {"NIFTI": Transport.SINGLE, "FS": Transport.PACKED}


def test_below_gives_a_subtree():
    plan = decide(source(), source("u.nii", subject="u"))
    below = plan.below(Address("P", "u"))
    assert len(below) == 5
    assert all(step.address.subject == "u" for step in below)


def twins(digests=("a" * 32, "b" * 32)):
    """Two images of one name from two folders, as discovery gives them."""
    found = []
    for folder, digest in zip(("runA", "runB"), digests, strict=True):
        one = source("image.nii.gz", session="v")
        file = LocalFile(Path(folder) / "image.nii.gz", "image.nii.gz", 10, 1, digest)
        found.append(replace(one, relative=f"{folder}/image.nii.gz", files=(file,)))
    return found


def test_two_images_of_one_name_find_their_own_scans_again():
    files = {
        ("1", "NIFTI", "image.nii.gz"): HeldFile(10, "b" * 32),
        ("2", "NIFTI", "image.nii.gz"): HeldFile(10, "a" * 32),
    }
    session = RemoteSession("s", "xnat:mrSessionData", {"1": {}, "2": {}}, files)
    remote = RemoteState("http://x", project_exists=True, subjects=frozenset("s"), sessions={"v": session})
    plan = reconcile(
        map_sources(twins(), MappingRules("P")),
        remote,
        project="P",
        fingerprint=lambda local, gzip: Fingerprint(10, local.digest),
        read_content=never_asked,
    )
    assert plan.nothing_to_do
    assert {step.payload.local.path.parent.name: step.address.scan for step in plan.files} == {"runA": "2", "runB": "1"}
    changed = reconcile(
        map_sources(twins(("a" * 32, "c" * 32)), MappingRules("P")),
        remote,
        project="P",
        fingerprint=lambda local, gzip: Fingerprint(10, local.digest),
        read_content=never_asked,
        on_conflict=OnConflict.OVERWRITE,
    )
    assert {step.address.scan: step.decision for step in changed.files} == {"1": Decision.UPDATE, "2": Decision.SAME}


def test_keep_both_never_takes_the_name_of_another_file_of_the_source():
    folder = source("n.txt", kind=Kind.FREESURFER, resource="FS")
    folder = replace(folder, files=(*folder.files, LocalFile(Path("n_2.txt"), "n_2.txt", 10, 1)))
    session = RemoteSession("s", "xnat:mrSessionData", {}, {(None, "FS", "n.txt"): HeldFile(11, "e" * 32)})
    remote = RemoteState("http://x", project_exists=True, subjects=frozenset("s"), sessions={"s_MR1": session})
    plan = decide(folder, remote=remote, on_conflict=OnConflict.KEEP_BOTH)
    assert {step.address.file for step in plan.files} == {"n_3.txt", "n_2.txt"}
    packed = decide(replace(folder, archived=True), remote=remote, on_conflict=OnConflict.KEEP_BOTH)
    assert "cannot be renamed" in packed.blocked[0].reasons[0]
