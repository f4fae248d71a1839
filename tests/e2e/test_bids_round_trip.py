"""A BIDS dataset goes in and comes out identical: every sample, and whatever hypothesis makes up."""

import filecmp
import json
import shutil
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import xnatferry
from tests.e2e.conftest import write_image
from xnatferry import api
from xnatferry.planning.mapping import MappingRules
from xnatferry.planning.plan import Decision, OnConflict
from xnatferry.results.bids_export import plan_bids_pull, read_bids_export
from xnatferry.results.pull_run import fetch_all
from xnatferry.results.remote_files import list_files_below
from xnatferry.server.archive import running_archive
from xnatferry.sources.bids.dataset import BidsChoices
from xnatferry.xnat.model import Address, Level

DATA = Path(__file__).parents[1] / "data" / "bids"
SAMPLES = sorted(path.name for path in DATA.iterdir() if path.is_dir())
_numbers = count(1)


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    with (
        running_archive(tmp_path_factory.mktemp("archive"), admin_password="admin-pw") as archive,
        xnatferry.connect(server=archive.url, user="admin", password="admin-pw") as client,
    ):
        yield client.remote


def planned(root, project, remote, *, policy=OnConflict.FAIL, choices=None, update_fields=False, **rules):
    discovery = api.discover(root, allow_incomplete=True, bids=choices)
    plan = api.plan(discovery, remote, MappingRules(project, **rules), on_conflict=policy, update_fields=update_fields)
    assert not plan.refusals, plan.refusals
    assert not plan.blocked, plan.blocked
    return plan


def push(root, project, remote, **options):
    result = api.push(planned(root, project, remote, **options), remote)
    assert result.exit_code == 0, [str(r.message) for r in result.failures]
    return result


def pull(address, folder, remote):
    plan = plan_bids_pull(remote, Address.parse(address), folder)
    assert not plan.refusals, plan.refusals
    assert fetch_all(plan, remote).exit_code == 0
    return plan


def files_below(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def copy_of(name, tmp_path):
    return shutil.copytree(DATA / name, tmp_path / name)


def changes(plan):
    return sorted(str(step.address) for step in plan.steps if step.decision is not Decision.SAME)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_comes_back_byte_for_byte_and_a_second_push_sends_nothing(name, remote, tmp_path):
    project = f"RT_{name}"
    push(DATA / name, project, remote)
    pull(project, tmp_path / "back", remote)
    assert files_below(tmp_path / "back") == files_below(DATA / name)
    again = planned(DATA / name, project, remote)
    assert again.nothing_to_do, changes(again)


TOGETHER = {
    "dataset_description.json": '{"Name": "x", "BIDSVersion": "1.11.0"}',
    "sub-01/eeg/sub-01_task-rest_eeg.edf": "eeg",
    "sub-01/eeg/sub-01_task-rest_events.tsv": "onset\tduration\n1\t1\n",
    "sub-01/eeg/sub-01_task-rest_events.json": '{"a": 1}',
    "sub-01/eeg/sub-01_task-rest_channels.tsv": "name\ttype\tunits\nCz\tEEG\tuV\n",
    "sub-01/emg/sub-01_task-rest_emg.edf": "emg",
    "sub-01/emg/sub-01_task-rest_channels.tsv": "name\ttype\tunits\nA1\tEMG\tuV\n",
    "sub-01/func/sub-01_task-rest_bold.nii.gz": "",
    "sub-01/func/sub-01_task-rest_events.tsv": "onset\tduration\n2\t2\n",
    "sub-01/func/sub-01_task-rest_events.json": '{"a": 2}',
}


@pytest.mark.parametrize("digests", [True, False])
def test_companions_of_recordings_made_together_share_names_and_all_come_back(remote, tmp_path, digests):
    """EEG in the scanner: ``eeg`` and ``func`` have events of one name, here also of one size."""
    root = tmp_path / "dataset"
    for name, text in TOGETHER.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    project = f"TOGETHER{digests}"
    push(root, project, remote)
    address = Address(project)
    held = list_files_below(remote, address).files
    if not digests:
        held = [replace(one, file=replace(one.file, digest=None)) for one in held]
    export = read_bids_export(remote, held, address)
    assert not export.refusals
    assert not export.warnings
    assert sorted("/".join(parts) for parts in export.places.values()) == sorted(TOGETHER)
    pull(project, tmp_path / "back", remote)
    assert files_below(tmp_path / "back") == files_below(root)
    of_scan = {}
    for held_at, parts in export.places.items():
        if held_at.scan is not None:
            of_scan.setdefault(held_at.scan, set()).add(parts[-2])
    assert sorted(of_scan.values(), key=str) == [{"eeg"}, {"emg"}, {"func"}]
    assert planned(root, project, remote).nothing_to_do


def test_freesurfer_runs_of_a_dataset_give_statistics_and_come_back(remote, tmp_path):
    root = copy_of("pheno004", tmp_path)
    run = root / "derivatives" / "freesurfer" / "sub-01"
    shutil.copytree(DATA.parent / "freesurfer7" / "sub-001", run)
    (run.parent / "fsaverage").mkdir()
    (run.parent / "fsaverage" / "README").write_text("an atlas\n")
    push(root, "RECONS", remote)
    (row,) = [row for row in remote.list_resources(Address("RECONS", "01", "01_MR1")) if row["label"] == "FREESURFER7"]
    assert (row["format"], row["content"]) == ("MGZ", "FREESURFER")
    (entry,) = api.stats("aseg", "RECONS", remote, cache=tmp_path / "cache").entries
    assert (entry.place.subject, entry.place.resource) == ("01", "FREESURFER7")
    pull("RECONS", tmp_path / "back", remote)
    assert files_below(tmp_path / "back") == files_below(root)
    assert planned(root, "RECONS", remote).nothing_to_do


def test_one_session_comes_back_with_what_it_shares(remote, tmp_path):
    push(DATA / "synthetic", "SHARED", remote)
    pull("SHARED/01/01_02", tmp_path / "back", remote)
    back, there = files_below(tmp_path / "back"), files_below(DATA / "synthetic")
    assert back.items() <= there.items()
    assert "dataset_description.json" in back
    assert "sub-01/sub-01_sessions.tsv" in back
    assert "sub-01/ses-02/anat/sub-01_ses-02_T1w.nii" in back
    assert not any(path.startswith(("sub-02", "sub-01/ses-01")) for path in back)


def test_the_plan_of_an_edited_dataset_shows_just_the_edits(remote, tmp_path):
    root = copy_of("synthetic", tmp_path)
    push(root, "LIFE", remote)
    before = {row["ID"]: row["note"] for row in remote.list_scans(Address("LIFE", "01", "01_01"))}
    func = root / "sub-01" / "ses-01" / "func"
    # One that sorts before all others of its folder: nobody's number may shift.
    shutil.copy(func / "sub-01_ses-01_task-rest_bold.nii", func / "sub-01_ses-01_task-aaa_bold.nii")
    anat = root / "sub-02" / "ses-02" / "anat"
    (anat / "sub-02_ses-02_T1w.nii").rename(anat / "sub-02_ses-02_acq-x_T1w.nii")
    (root / "README").write_text("another text\n")
    plan = planned(root, "LIFE", remote, policy=OnConflict.OVERWRITE)
    assert changes(plan) == sorted(
        [
            "LIFE/01/01_01/resources/BIDS_MANIFEST/files/manifest.json",
            "LIFE/01/01_01/scans/5",
            "LIFE/01/01_01/scans/5/resources/BIDS",
            "LIFE/01/01_01/scans/5/resources/BIDS/files/sub-01_ses-01_task-aaa_bold.json",
            "LIFE/01/01_01/scans/5/resources/NIFTI",
            "LIFE/01/01_01/scans/5/resources/NIFTI/files/sub-01_ses-01_task-aaa_bold.nii",
            "LIFE/02/02_02/resources/BIDS_MANIFEST/files/manifest.json",
            "LIFE/02/02_02/scans/5",
            "LIFE/02/02_02/scans/5/resources/BIDS",
            "LIFE/02/02_02/scans/5/resources/BIDS/files/sub-02_ses-02_acq-x_T1w.json",
            "LIFE/02/02_02/scans/5/resources/NIFTI",
            "LIFE/02/02_02/scans/5/resources/NIFTI/files/sub-02_ses-02_acq-x_T1w.nii",
            "LIFE/resources/BIDS/files/README",
            "LIFE/resources/BIDS_MANIFEST/files/manifest.json",
        ]
    )
    (told,) = [
        step for step in plan.steps if str(step.address).startswith("LIFE/02/02_02/resources/BIDS_MANIFEST/files")
    ]
    assert told.reason.endswith("no longer in the dataset: sub-02_ses-02_T1w.nii and 1 more")
    assert api.push(plan, remote).exit_code == 0
    after = {row["ID"]: row["note"] for row in remote.list_scans(Address("LIFE", "01", "01_01"))}
    assert before.items() <= after.items()
    pull("LIFE", tmp_path / "back", remote)
    assert files_below(tmp_path / "back") == files_below(root)


def test_one_changed_sidecar_is_all_that_the_plan_shows(remote, tmp_path):
    root = copy_of("asl003", tmp_path)
    push(root, "SIDECAR", remote)
    sidecar = root / "sub-Sub1" / "anat" / "sub-Sub1_T1w.json"
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "FlipAngle": 17}))
    files = [
        "SIDECAR/Sub1/Sub1_MR1/resources/BIDS_MANIFEST/files/manifest.json",
        "SIDECAR/Sub1/Sub1_MR1/scans/1/resources/BIDS/files/sub-Sub1_T1w.json",
    ]
    waiting = planned(root, "SIDECAR", remote)
    assert changes(waiting) == files
    assert [step.decision for step in waiting.steps if step.address.file == sidecar.name] == [Decision.DIFFERS]
    plan = planned(root, "SIDECAR", remote, policy=OnConflict.OVERWRITE, update_fields=True)
    assert changes(plan) == sorted([*files, "SIDECAR/Sub1/Sub1_MR1/scans/1"])
    (scan,) = [step for step in plan.steps if str(step.address).endswith("scans/1")]
    assert {path: new for path, (_, new) in scan.changes.items()} == {"parameters/flip": "17.0"}
    assert api.push(plan, remote).exit_code == 0
    pull("SIDECAR", tmp_path / "back", remote)
    assert files_below(tmp_path / "back") == files_below(root)


def test_new_subjects_and_sessions_are_all_that_is_sent(remote, tmp_path):
    root = copy_of("synthetic", tmp_path)
    only = BidsChoices(takes=lambda subject, session: (subject, session) == ("01", "01"))
    push(root, "GROWS", remote, choices=only)
    more = planned(root, "GROWS", remote, choices=BidsChoices(takes=lambda subject, _session: subject == "01"))
    assert {str(step.address.session) for step in more.steps if step.sends} == {"01_02"}
    push(root, "GROWS", remote)
    pull("GROWS", tmp_path / "back", remote)
    assert files_below(tmp_path / "back") == files_below(root)


def test_a_session_named_by_its_type_keeps_its_name_when_other_kinds_come(remote, tmp_path):
    root = copy_of("pheno004", tmp_path)
    push(root, "KINDS", remote)
    before = remote.list_scans(Address("KINDS", "01", "01_MR1"))
    for kind in ("pet", "eeg"):
        (root / "sub-01" / kind).mkdir()
    (root / "sub-01" / "pet" / "sub-01_pet.nii.gz").touch()
    (root / "sub-01" / "pet" / "sub-01_pet.json").write_text('{"TracerName": "FDG"}')
    (root / "sub-01" / "eeg" / "sub-01_task-x_eeg.edf").touch()
    plan = planned(root, "KINDS", remote, update_fields=True)
    new = [
        "2",
        "2/resources/BIDS",
        "2/resources/NIFTI",
        "3",
        "3/resources/EEG",
        "2/resources/BIDS/files/sub-01_pet.json",
    ]
    new += ["2/resources/NIFTI/files/sub-01_pet.nii.gz", "3/resources/EEG/files/sub-01_task-x_eeg.edf"]
    manifest = "KINDS/01/01_MR1/resources/BIDS_MANIFEST/files/manifest.json"
    assert changes(plan) == sorted([manifest, *(f"KINDS/01/01_MR1/scans/{place}" for place in new)])
    assert api.push(plan, remote).exit_code == 0
    after = remote.list_scans(Address("KINDS", "01", "01_MR1"))
    assert [row["ID"] for row in after] == ["1", "2", "3"]
    assert after[0] == before[0]
    assert {row["label"] for row in remote.list_sessions("KINDS")} == {"01_MR1", "02_MR1"}
    pull("KINDS", tmp_path / "back", remote)
    assert files_below(tmp_path / "back") == files_below(root)
    assert planned(root, "KINDS", remote, update_fields=True).nothing_to_do
    (root / "sub-01" / "pet" / "sub-01_pet.nii.gz").unlink()  # and fewer again
    assert {step.address.session for step in planned(root, "KINDS", remote).steps} == {None, "01_MR1", "02_MR1"}


def test_derivatives_pushed_alone_hang_on_the_sessions_of_the_dataset_and_come_back(remote, tmp_path):
    about = '{"Name": "x", "BIDSVersion": "1.8.0", "DatasetType": "derivative", "GeneratedBy": [{"Name": "fMRIPrep"}]}'
    root = tmp_path / "prepared"
    names = [
        "sub-01.html",
        "sub-01/anat/sub-01_space-MNI_desc-preproc_T1w.nii.gz",
        "sub-01/figures/x.svg",
        "logs/a b.txt",
    ]
    names += ["desc-aseg_dseg.tsv", "sub-01/log/run/fmriprep.toml", "sourcedata/freesurfer/fsaverage/README"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "dataset_description.json").write_text(about)
    shutil.copytree(DATA.parent / "freesurfer7" / "sub-001", root / "sourcedata" / "freesurfer" / "sub-01")
    raw = copy_of("pheno004", tmp_path)
    (raw / "sub-01" / "pet").mkdir()  # so that its session is of another type than that of the results
    (raw / "sub-01" / "pet" / "sub-01_pet.nii.gz").touch()
    shutil.rmtree(raw / "sub-02")
    push(raw, "TWO", remote)
    push(root, "TWO", remote)
    (session,) = remote.list_sessions("TWO")
    labels = {row["label"] for row in remote.list_resources(Address("TWO", "01", session["label"]))}
    assert labels == {"BIDS", "BIDS_MANIFEST", "FMRIPREP", "FREESURFER7"}
    assert planned(raw, "TWO", remote).nothing_to_do
    assert planned(root, "TWO", remote).nothing_to_do
    pull("TWO", tmp_path / "both", remote)
    nested = {f"derivatives/fmriprep/{path}": content for path, content in files_below(root).items()}
    assert files_below(tmp_path / "both") == files_below(raw) | nested
    push(root, "ALONE", remote)
    pull("ALONE", tmp_path / "alone", remote)
    assert files_below(tmp_path / "alone") == files_below(root)


def test_two_datasets_of_one_subject_have_sessions_of_their_own(remote, tmp_path):
    push(DATA / "pheno004", "BOTH", remote)
    other = tmp_path / "other"
    (other / "sub-01" / "pet").mkdir(parents=True)
    (other / "sub-01" / "pet" / "sub-01_pet.nii.gz").touch()
    (other / "dataset_description.json").write_bytes((DATA / "pheno004" / "dataset_description.json").read_bytes())
    labels = {step.address.session for step in planned(other, "BOTH", remote).steps}
    assert labels == {None, "01_PET1"}


def test_what_others_filled_comes_as_far_as_its_names_go(remote, tmp_path):
    push(DATA / "asl003", "FOREIGN", remote)
    for address in ("FOREIGN/resources/BIDS_MANIFEST", "FOREIGN/Sub1/Sub1_MR1/resources/BIDS_MANIFEST"):
        remote.remove(Address.parse(address), remove_files=True)
    plan = plan_bids_pull(remote, Address("FOREIGN"), tmp_path / "back")
    fetch_all(plan, remote)
    back, there = files_below(tmp_path / "back"), files_below(DATA / "asl003")
    assert back.items() <= there.items()
    assert set(there) - set(back) == {"README"}
    assert any("README" in warning for warning in plan.warnings)


def test_a_file_that_is_gone_from_the_server_is_named(remote, tmp_path):
    push(DATA / "pheno004", "HOLES", remote)
    remote.remove(Address.parse("HOLES/01/01_MR1/scans/1/resources/NIFTI"), remove_files=True)
    plan = plan_bids_pull(remote, Address("HOLES"), tmp_path / "back")
    assert [refusal.relative for refusal in plan.refusals] == ["sub-01/anat/sub-01_T1w.nii.gz"]


# Generated datasets

labels = st.text(st.sampled_from("abcXYZ0189+"), min_size=1, max_size=5)
# No marks of other things than images (web pages, pointers of git-annex and Git LFS): those are refused.
contents = st.text("ab \n\r\t0\x00\xff\xfe", max_size=40).map(lambda text: text.encode("latin-1"))
sidecars = st.dictionaries(st.sampled_from(["EchoTime", "TaskName", "Note"]), st.integers(0, 9)).map(
    lambda found: json.dumps(found).encode()
)


@st.composite
def datasets(draw):
    """A tree by path: several subjects, with and without sessions, inherited files at all levels, odd files."""
    tree = {"dataset_description.json": b'{"Name": "x", "BIDSVersion": "1.8.0"}'}
    tree |= {
        name: draw(contents)
        for name in draw(st.sets(st.sampled_from(["README", "CHANGES", "odd name.txt", ".hidden"])))
    }
    for path in draw(
        st.sets(st.sampled_from(["stimuli/a+b/pic 1.jpg", "phenotype/t.tsv", "code/run.py", "extra/x#y é.txt"]))
    ):
        tree[path] = draw(contents)
    subjects = draw(st.lists(labels, min_size=1, max_size=3, unique_by=str.casefold))
    for subject in subjects:
        sessions = draw(st.one_of(st.just([None]), st.lists(labels, min_size=1, max_size=2, unique_by=str.casefold)))
        for session in sessions:
            folder, stem = f"sub-{subject}", f"sub-{subject}"
            if session is not None:
                folder, stem = f"{folder}/ses-{session}", f"{stem}_ses-{session}"
            tree |= draw(visits(folder, stem))
        if sessions != [None] and draw(st.booleans()):
            tree[f"sub-{subject}/sub-{subject}_sessions.tsv"] = b"session_id\n"
        if draw(st.booleans()):
            tree[f"sub-{subject}/sub-{subject}_T1w.json"] = draw(sidecars)
        if draw(st.booleans()):
            tree[f"derivatives/pipe+1/sub-{subject}/report {subject}.html"] = draw(contents)
    if draw(st.booleans()):
        tree["T1w.json"] = draw(sidecars)
        tree["task-rest_bold.json"] = draw(sidecars)
    return tree


@st.composite
def visits(draw, folder, stem):
    tree = {}
    for run in range(draw(st.integers(0, 2))):
        image = f"{folder}/anat/{stem}_run-{run}_T1w"
        tree[image + draw(st.sampled_from([".nii", ".nii.gz"]))] = draw(contents)
        if draw(st.booleans()):
            tree[f"{image}.json"] = draw(sidecars)
    for task in draw(st.sets(labels, max_size=2)):
        run = f"{folder}/func/{stem}_task-{task}"
        for echo in draw(st.sampled_from([[""], ["_echo-1", "_echo-2"]])):
            tree[f"{run}{echo}_bold.nii.gz"] = draw(contents)
        for ending in draw(
            st.sets(st.sampled_from(["events.tsv", "events.json", "recording-x_physio.tsv.gz", "bold.json"]))
        ):
            tree[f"{run}_{ending}"] = draw(sidecars) if ending.endswith("json") else draw(contents)
    for name in draw(
        st.sets(st.sampled_from(["eeg/{}_task-x_eeg.vhdr", "eeg/{}_task-x_eeg.eeg", "eeg/{}_electrodes.tsv"]))
    ):
        tree[f"{folder}/{name.format(stem)}"] = draw(contents)
    for name in draw(st.sets(st.sampled_from(["meg/{}_task-x_meg.ds/a.res4", "meg/{}_task-x_meg.ds/hz/b.ds"]))):
        tree[f"{folder}/{name.format(stem)}"] = draw(contents)
    for name in draw(
        st.sets(st.sampled_from(["beh/{}_task-x_beh.tsv", "{}_scans.tsv", "odd/no bids.dat", "anat/plain.nii"]))
    ):
        tree[f"{folder}/{name.format(stem)}"] = draw(contents)
    return tree


@pytest.mark.timeout(400)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(tree=datasets())
def test_any_dataset_comes_back_byte_for_byte(tree, remote, tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    for path, content in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    project = f"GEN{next(_numbers)}"
    push(root, project, remote)
    back = tmp_path_factory.mktemp("back")
    pull(project, back, remote)
    assert files_below(back) == tree
    assert planned(root, project, remote).nothing_to_do
    compared = filecmp.dircmp(root, back)
    assert not compared.left_only
    assert not compared.right_only


def test_labels_that_xnat_refuses_are_encoded(remote, tmp_path):
    root = tmp_path / "plus"
    image = root / "sub-01+x" / "ses-a+b" / "anat" / "sub-01+x_ses-a+b_T1w.nii.gz"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    plan = planned(root, "PLUS", remote)
    (session,) = [step.address for step in plan.steps if step.address.level is Level.SESSION]
    assert (session.subject, session.session) == ("01-x2B-x", "01-x2B-x_a-x2B-b")


TWINS = {
    "simultaneous EEG and fMRI": {
        "func/sub-01_task-rest_bold.nii.gz": b"", "func/sub-01_task-rest_events.tsv": b"onset\tduration\n1\t1\n",
        "eeg/sub-01_task-rest_eeg.vhdr": b"h", "eeg/sub-01_task-rest_eeg.vmrk": b"m", "eeg/sub-01_task-rest_eeg.eeg": b"e",
        "eeg/sub-01_task-rest_events.tsv": b"onset\tduration\n2\t2\n",
    },
    "the same events": {
        "func/sub-01_task-rest_bold.nii.gz": b"", "func/sub-01_task-rest_events.tsv": b"onset\tduration\n1\t1\n",
        "meg/sub-01_task-rest_meg.fif": b"m", "meg/sub-01_task-rest_events.tsv": b"onset\tduration\n1\t1\n",
    },
    "images of one name": {
        "perf/sub-01_m0scan.nii.gz": b"", "perf/sub-01_m0scan.json": b'{"RepetitionTime": 1}',
        "fmap/sub-01_m0scan.nii.gz": b"", "fmap/sub-01_m0scan.json": b'{"RepetitionTime": 2}',
    },
}  # fmt: skip


@pytest.mark.parametrize("twins", TWINS)
@pytest.mark.parametrize("md5", [True, False], ids=["MD5", "no MD5 listed"])
def test_files_of_one_name_in_two_scans_of_a_session_all_come_back(remote, tmp_path, twins, md5):
    root, project = tmp_path / "twins", f"TWINS{next(_numbers)}"
    for number, (name, content) in enumerate({**TWINS[twins], "../dataset_description.json": b"{}"}.items()):
        path = root / "sub-01" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        if name.endswith(".nii.gz"):
            write_image(path, seed=number)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    push(root, project, remote)
    if not md5:
        held = list_files_below(remote, Address(project))
        bare = [replace(one, file=replace(one.file, digest=None)) for one in held.files]
        read_by = read_bids_export(remote, bare, Address(project))
        assert not read_by.refusals
        for one in read_by.files:
            path = root.joinpath(*read_by.places[one.address])
            remote.fetch(one.address, one.file, target := tmp_path / "one")
            assert target.read_bytes() == path.read_bytes(), path
            target.unlink()
        assert {"/".join(place) for place in read_by.places.values()} == set(files_below(root))
        return
    pull(project, tmp_path / "back", remote)
    assert files_below(tmp_path / "back") == files_below(root)
    assert planned(root, project, remote).nothing_to_do


def test_a_file_of_the_manifest_that_is_gone_ends_a_pull_with_8(remote, tmp_path):
    root, project = copy_of("pheno004", tmp_path), f"GONE{next(_numbers)}"
    push(root, project, remote)
    held = list_files_below(remote, Address(project)).files
    lost = next(one for one in held if one.address.scan is not None and one.address.resource == "NIFTI")
    remote.remove(lost.address, remove_files=True)
    plan = plan_bids_pull(remote, Address(project), tmp_path / "back")
    assert len(plan.refusals) == 1
    assert "no longer on the server" in plan.refusals[0].reasons[0]
    assert fetch_all(plan, remote).exit_code == 8
    assert len(files_below(tmp_path / "back")) == len(files_below(root)) - 1
