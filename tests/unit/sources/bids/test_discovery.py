"""What a dataset becomes: which file goes to which resource, and every finding that bad input gives."""

import json
from pathlib import Path

import pytest

from xnatferry.errors import UsageError
from xnatferry.sources.bids.dataset import BidsChoices
from xnatferry.sources.discovery import discover, recognise
from xnatferry.sources.model import Kind, Severity
from xnatferry.xnat.model import Level

DATA = Path(__file__).resolve().parents[3] / "data" / "bids"
DESCRIPTION = {"dataset_description.json": '{"Name": "x", "BIDSVersion": "1.8.0"}'}


@pytest.fixture
def dataset(tmp_path):
    """Write a dataset of empty images and discover it."""

    def made(files, *, description=DESCRIPTION, allow_incomplete=True, choices=None):
        files = dict.fromkeys(files, "") if not isinstance(files, dict) else files
        for path, content in {**description, **files}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            if content is not None:
                (tmp_path / path).write_bytes(content if isinstance(content, bytes) else content.encode())
        return discover(tmp_path, kind=Kind.BIDS, allow_incomplete=allow_incomplete, bids=choices)

    return made


def places(discovery):
    """Level, scan, resource and name of each file by its path in the dataset."""
    return {
        file.tree_path: (source.level.value, source.claims.group, source.claims.resource, file.name)
        for source in discovery.sources
        for file in source.files
        if file.tree_path and not (source.level is Level.SESSION and file.name == "dataset_description.json")
    }


def ids(discovery):
    return {finding.id for finding in discovery.all_findings} - {"NII01", "NII10"}


def errors(discovery):
    return {finding.id for finding in discovery.all_findings if finding.severity is Severity.ERROR}


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir() if path.is_dir()))
def test_every_file_of_a_sample_has_one_place(name):
    discovery = discover(DATA / name, allow_incomplete=True)
    assert discovery.kind is Kind.BIDS
    there = {path.relative_to(DATA / name).as_posix() for path in (DATA / name).rglob("*") if path.is_file()}
    assert set(places(discovery)) == there
    spots = [
        (source.claims.subject, source.claims.session, source.level, source.claims.resource, file.name.casefold())
        for source in discovery.sources
        for file in source.files
    ]
    assert len(set(spots)) == len(spots)  # the manifest finds a file by session, resource and name
    assert not errors(discovery)


def test_companions_go_where_other_tools_look(dataset):
    func = "sub-01/func/sub-01_task-rest"
    found = places(
        dataset(
            {
                f"{func}_echo-1_bold.nii.gz": "", f"{func}_echo-2_bold.nii.gz": "", f"{func}_echo-1_bold.json": "{}",
                f"{func}_events.tsv": "", f"{func}_events.json": "{}", f"{func}_recording-x_physio.tsv.gz": "",
                f"{func}_bold.json": "{}", "sub-01/dwi/sub-01_dwi.nii.gz": "", "sub-01/dwi/sub-01_dwi.bval": "0",
                "sub-01/dwi/sub-01_dwi.bvec": "0\n0\n0", "sub-01/sub-01_scans.tsv": "filename\n", "dwi.json": "{}",
            }
        )
    )  # fmt: skip
    first, dwi = f"{func}_echo-1_bold", "sub-01/dwi/sub-01_dwi"
    assert {path: place[:3] for path, place in found.items()} == {
        "dataset_description.json": ("project", None, "BIDS"),
        "dwi.json": ("project", None, "BIDS"),
        f"{first}.nii.gz": ("scan", first, "NIFTI"),
        f"{first}.json": ("scan", first, "BIDS"),
        f"{func}_echo-2_bold.nii.gz": ("scan", f"{func}_echo-2_bold", "NIFTI"),
        f"{func}_events.tsv": ("scan", first, "BIDS"),
        f"{func}_events.json": ("scan", first, "BIDS_EXTRA"),
        f"{func}_recording-x_physio.tsv.gz": ("scan", first, "BIDS"),
        f"{func}_bold.json": ("session", None, "BIDS"),
        f"{dwi}.nii.gz": ("scan", dwi, "NIFTI"),
        f"{dwi}.bval": ("scan", dwi, "NIFTI"),
        f"{dwi}.bvec": ("scan", dwi, "NIFTI"),
        "sub-01/sub-01_scans.tsv": ("session", None, "BIDS"),
    }


def test_recordings_are_scans_of_their_own_kind(dataset):
    discovery = dataset(
        [
            "sub-01/eeg/sub-01_task-x_eeg.vhdr", "sub-01/eeg/sub-01_task-x_eeg.vmrk", "sub-01/eeg/sub-01_task-x_eeg.eeg",
            "sub-01/eeg/sub-01_electrodes.tsv", "sub-01/eeg/sub-01_task-x_channels.tsv",
            "sub-02/meg/sub-02_task-x_meg.ds/a.res4", "sub-02/meg/sub-02_task-x_meg.ds/hz/b", "sub-02/meg/sub-02_acq-crosstalk_meg.fif",
            "sub-03/meg/sub-03_task-x_split-01_meg.fif", "sub-03/meg/sub-03_task-x_split-02_meg.fif",
            "sub-04/motion/sub-04_task-x_tracksys-y_motion.tsv", "sub-05/beh/sub-05_task-x_beh.tsv",
        ]
    )  # fmt: skip
    found = places(discovery)
    assert found["sub-01/eeg/sub-01_task-x_eeg.eeg"][2] == "EEG"
    assert found["sub-01/eeg/sub-01_electrodes.tsv"][:3] == ("session", None, "BIDS")
    assert found["sub-01/eeg/sub-01_task-x_channels.tsv"][:3] == ("scan", "sub-01/eeg/sub-01_task-x_eeg", "BIDS")
    assert found["sub-02/meg/sub-02_task-x_meg.ds/hz/b"][2:] == ("MEG", "sub-02_task-x_meg.ds/hz/b")
    assert found["sub-02/meg/sub-02_acq-crosstalk_meg.fif"][0] == "session"
    assert len({found[path][1] for path in found if path.startswith("sub-03")}) == 1
    types = {source.claims.subject: source.claims.session_type for source in discovery.sources if source.claims.subject}
    assert types == {"01": "EEG", "02": "MEG", "03": "MEG", "04": "OTHER", "05": "OTHER"}


def test_pet_beside_mr_is_one_session_of_both(dataset):
    discovery = dataset(["sub-01/pet/sub-01_pet.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz"])
    found = {source.claims.scan_type: source.claims.session_type for source in discovery.sources if source.claims.group}
    assert found == {"xnat:petScanData": "PETMR", "xnat:mrScanData": "PETMR"}


def test_derivatives_hang_on_what_they_are_about(dataset):
    about = json.dumps({"Name": "d", "BIDSVersion": "1", "GeneratedBy": [{"Name": "fMRIPrep", "Version": "23.1"}]})
    discovery = dataset(
        {
            "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz": "", "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz": "",
            "sub-02/anat/sub-02_T1w.nii.gz": "",
            "derivatives/fmriprep-23/dataset_description.json": about, "derivatives/fmriprep-23/sub-01.html": "",
            "derivatives/fmriprep-23/sub-01/ses-1/func/x.nii.gz": "", "derivatives/fmriprep-23/sub-02/anat/x.gii": "",
            "derivatives/fmriprep-23/sub-09/x": "", "derivatives/freesurfer/sub-01_ses-2/stats/aseg.stats": "",
        }
    )  # fmt: skip
    found = {path: place for path, place in places(discovery).items() if path.startswith("derivatives")}
    assert {path: (place[0], place[2]) for path, place in found.items()} == {
        "derivatives/fmriprep-23/dataset_description.json": ("project", "FMRIPREP"),
        "derivatives/fmriprep-23/sub-01.html": ("subject", "FMRIPREP"),
        "derivatives/fmriprep-23/sub-01/ses-1/func/x.nii.gz": ("session", "FMRIPREP"),
        "derivatives/fmriprep-23/sub-02/anat/x.gii": ("session", "FMRIPREP"),
        "derivatives/fmriprep-23/sub-09/x": ("project", "FMRIPREP"),
        "derivatives/freesurfer/sub-01_ses-2/stats/aseg.stats": ("session", "FREESURFER"),
    }
    assert "BIDS18" in ids(discovery)


def freesurfer_run(folder, version="7.4.1", **more):
    """A run of recon-all that lacks nearly everything but the marks of its version."""
    stamp = f"freesurfer-linux-ubuntu22_x86_64-{version}-20230614-7eb8460\n"
    files = {"scripts/build-stamp.txt": stamp, "stats/README": "", "trash/x": "", **more}
    return {f"{folder}/{name}": content for name, content in files.items()}


def test_freesurfer_runs_get_the_resource_that_readers_of_statistics_look_for(dataset):
    surfer, below = "derivatives/freesurfer", "derivatives/fmriprep/sourcedata/freesurfer"
    discovery = dataset(
        {
            **dict.fromkeys([f"sub-01/ses-{n}/anat/sub-01_ses-{n}_T1w.nii.gz" for n in "12"], ""),
            "sub-02/anat/sub-02_T1w.nii.gz": "", "sub-03/anat/sub-03_T1w.nii.gz": "",
            **freesurfer_run(f"{surfer}/sub-01_ses-1"), **freesurfer_run(f"{surfer}/sub-01_ses-2", "6.0.1"),
            **freesurfer_run(f"{surfer}/sub-01", **{"base-tps": "sub-01_ses-1"}), **freesurfer_run(f"{surfer}/sub-01_ses-1.long.sub-01"),
            **freesurfer_run(f"{surfer}/sub-02"), **freesurfer_run(f"{surfer}/fsaverage"), **freesurfer_run(f"{surfer}/sub-09"),
            **freesurfer_run(f"{below}/sub-02"), **freesurfer_run(f"{below}/sub-03"), "derivatives/fmriprep/sub-02.html": "",
        }
    )  # fmt: skip
    found = {path: place for path, place in places(discovery).items() if path.endswith(("stats/README", "html"))}
    assert {path.removesuffix("/stats/README"): (place[0], *place[2:]) for path, place in found.items()} == {
        f"{surfer}/sub-01_ses-1": ("session", "FREESURFER7", "sub-01_ses-1/stats/README"),
        f"{surfer}/sub-01_ses-2": ("session", "FREESURFER6", "sub-01_ses-2/stats/README"),
        f"{surfer}/sub-01": ("subject", "FREESURFER7_BASE", "sub-01/stats/README"),
        f"{surfer}/sub-01_ses-1.long.sub-01": ("session", "FREESURFER7_LONG", "sub-01_ses-1.long.sub-01/stats/README"),
        f"{surfer}/sub-02": ("session", "FREESURFER7", "sub-02/stats/README"),
        f"{surfer}/fsaverage": ("project", "FREESURFER", "fsaverage/stats/README"),
        f"{surfer}/sub-09": ("project", "FREESURFER", "sub-09/stats/README"),
        f"{below}/sub-02": ("session", "FREESURFER7_FMRIPREP", "sub-02/stats/README"),
        f"{below}/sub-03": ("session", "FREESURFER7", "sub-03/stats/README"),
        "derivatives/fmriprep/sub-02.html": ("session", "FMRIPREP", "sub-02.html"),
    }
    assert f"{surfer}/sub-02/trash/x" in places(discovery)  # the tree comes back whole
    assert {"FS01", "FS02", "BIDS18"} <= ids(discovery)
    assert recognise(discovery.root) is Kind.BIDS


def test_only_the_runs_of_chosen_sessions_go(dataset):
    files = {
        **dict.fromkeys(["sub-01/anat/sub-01_T1w.nii.gz", "sub-02/anat/sub-02_T1w.nii.gz"], ""),
        **freesurfer_run("derivatives/freesurfer/sub-01"),
        **freesurfer_run("derivatives/fmriprep/sourcedata/freesurfer/sub-01"),
        **freesurfer_run("derivatives/fmriprep/sourcedata/freesurfer/sub-02"),
    }
    discovery = dataset(files, choices=BidsChoices(takes=lambda subject, _session: subject == "02"))
    runs = [source.relative for source in discovery.sources if source.claims.resource.startswith("FREESURFER")]
    assert runs == ["derivatives/fmriprep/sourcedata/freesurfer/sub-02"]


def test_an_unfinished_run_stays_behind_unless_it_is_asked_for(dataset):
    discovery = dataset(
        {"sub-01/beh/sub-01_task-x_beh.tsv": "", **freesurfer_run("derivatives/freesurfer/sub-01")},
        allow_incomplete=False,
    )
    (run,) = [source for source in discovery.sources if source.claims.resource == "FREESURFER7"]
    assert run.refused
    assert run.version == "7.4.1"


def test_pairs_of_header_and_image_are_carried_and_listed(dataset):
    pair = ["sub-01/anat/sub-01_T1w.hdr", "sub-01/anat/sub-01_T1w.img"]
    discovery = dataset([*pair, "sub-01/anat/sub-01_T2w.nii.gz"])
    assert {places(discovery)[path][:3] for path in pair} == {("session", None, "BIDS_EXTRA")}
    (told,) = [finding for finding in discovery.findings if finding.id == "BIDS04"]
    assert all(path in told.message for path in pair)


def test_hidden_files_of_other_programs_have_no_bids_name_and_need_none(dataset):
    hidden = [".datalad/config", ".gitattributes", ".reproman/jobs/a", "sub-01/.datalad/config", "sub-01/anat/.note"]
    discovery = dataset([*hidden, "sub-01/anat/sub-01_T1w.nii.gz"])
    assert "BIDS04" not in ids(discovery)
    assert set(hidden) <= places(discovery).keys()


@pytest.mark.parametrize(("files", "severity"), [({".git/config": ""}, "info"), ({"sourcedata/a.dcm": ""}, "warning")])
def test_files_of_git_that_are_not_uploaded_are_no_warning(dataset, files, severity):
    discovery = dataset({"sub-01/anat/sub-01_T1w.nii.gz": "", **files})
    (finding,) = [finding for finding in discovery.findings if finding.id == "BIDS14"]
    assert finding.severity == severity


def test_scans_stand_in_the_order_of_their_times(dataset):
    images = ["sub-01/anat/sub-01_T1w.nii.gz", "sub-01/func/sub-01_task-a_bold.nii.gz"]
    table = "filename\tacq_time\nanat/sub-01_T1w.nii.gz\t2020-01-01T10:00:00\nfunc/sub-01_task-a_bold.nii.gz\t2020-01-01T09:00:00\n"
    discovery = dataset({**dict.fromkeys(images, ""), "sub-01/sub-01_scans.tsv": table})
    scans = [source.claims.type for source in discovery.sources if source.claims.resource == "NIFTI"]
    assert scans == ["bold", "T1w"]


def test_sourcedata_stays_unless_it_is_asked_for(dataset):
    image = "sub-01/anat/sub-01_T1w.nii.gz"
    kept = dataset([image, "sourcedata/sub-01/raw.dcm"])
    assert "BIDS14" in ids(kept)
    assert "sourcedata/sub-01/raw.dcm" not in places(kept)
    carried = dataset([image], choices=BidsChoices(sourcedata=True))
    assert places(carried)["sourcedata/sub-01/raw.dcm"] == ("project", None, "SOURCEDATA", "sub-01/raw.dcm")


# Bad input

IMAGE = {"sub-01/anat/sub-01_T1w.nii.gz": ""}


def test_a_dataset_without_description_is_refused(dataset):
    assert "BIDS01" in errors(dataset(IMAGE, description={}))


@pytest.mark.parametrize("content", ["{", "[]", "", b"\xff\xfe"])
def test_a_broken_description_is_refused(dataset, content):
    assert "BIDS02" in errors(dataset(IMAGE, description={"dataset_description.json": content}))


def test_a_thin_description_is_told(dataset):
    assert "BIDS03" in ids(dataset(IMAGE, description={"dataset_description.json": "{}"}))


@pytest.mark.parametrize(
    ("files", "finding"),
    [
        ({"sub-01/anat/sub-01_nosuch.nii.gz": ""}, "BIDS04"),
        ({"odd.txt": ""}, "BIDS04"),
        ({"README": "", "readme": ""}, "BIDS05"),
        ({"sub-01/anat/sub-01_T1w.nii": ""}, "BIDS06"),
        ({"sub-a/anat/sub-a_T1w.nii": "", "sub-A/anat/sub-A_T1w.nii": ""}, "BIDS07"),
        ({"participants.tsv": "sub-01\tM\nsub-02\tF\n"}, "BIDS08"),
        ({"participants.tsv": ""}, "BIDS08"),
        ({"participants.tsv": b"participant_id\tname\nsub-01\tJos\xe9\n"}, "BIDS08"),
        ({"participants.tsv": "participant_id\tage\tage\nsub-01\t1\t2\n"}, "BIDS08"),
        ({"participants.tsv": "participant_id\tage\nsub-01\n"}, "BIDS09"),
        ({"participants.tsv": "participant_id\tage\nsub-01\t\n"}, "BIDS09"),
        ({"participants.tsv": "participant_id\nsub-01\nsub-01\n"}, "BIDS09"),
        ({"participants.tsv": "participant_id\nsub-01\nsub-02\n"}, "BIDS10"),
        ({"participants.tsv": "participant_id\nsub-02\n"}, "BIDS10"),
        ({"participants.tsv": "participant_id\tIQ\nsub-01\t100\n"}, "BIDS11"),
        ({"sub-01/fmap/sub-01_epi.nii.gz": "", "sub-01/fmap/sub-01_epi.json": '{"IntendedFor": "func/no.nii.gz"}'}, "BIDS12"),
        ({".bidsignore": "odd.txt\n", "odd.txt": ""}, "BIDS13"),
        ({".git/config": ""}, "BIDS14"),
        ({"sub-01/sub-01_scans.tsv": "filename\nanat/gone.nii\n"}, "BIDS15"),
        ({"participants.tsv": "participant_id\tdob\nsub-01\t1970-01-01\n"}, "BIDS16"),
        ({"sub-01/anat/sub-01_T1w.json": "not json"}, "SID01"),
        ({"T1w.json": "[1]"}, "SID01"),
        ({"sub-01/anat/sub-01_T1w.json": '{"PatientName": "x"}'}, "PRV01"),
    ],
)  # fmt: skip
def test_bad_input_has_its_finding(dataset, files, finding):
    assert finding in ids(dataset({**IMAGE, **files}))


def test_a_table_that_is_too_large_is_not_called_empty(dataset, monkeypatch):
    monkeypatch.setattr("xnatferry.sources.bids.tables._LIMIT_BYTES", 1 << 20)
    discovery = dataset({**IMAGE, "participants.tsv": "participant_id\n" + "sub-01\n" * 200_000})
    (why,) = (one.message for one in discovery.findings if one.id == "BIDS08")
    assert why.startswith("the table is larger than 1 MiB")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(dataset):
    table = b"\xef\xbb\xbfparticipant_id\tsex\tage\r\nsub-01\tF\tn/a\r\n"
    discovery = dataset({**IMAGE, "T1w.json": '{"EchoTime": 0.003}', "participants.tsv": table})
    assert not ids(discovery)
    (attributes,) = {tuple(source.subject_facts.values()) for source in discovery.sources if source.claims.subject}
    assert attributes == ("female",)


def test_gradient_tables_of_the_wrong_length_stop_their_scan(dataset, make_image, tmp_path):
    make_image(tmp_path / "sub-01/dwi/sub-01_dwi.nii.gz", (4, 4, 4, 3))
    discovery = dataset({"dwi.bval": "0 1000", "dwi.bvec": "0 1\n0 0\n0 0"}, allow_incomplete=False)
    assert errors(discovery) == {"DWI01"}


def test_sidecar_and_header_that_disagree_are_told(dataset, make_image, tmp_path):
    make_image(tmp_path / "sub-01/func/sub-01_task-a_bold.nii.gz", (4, 4, 4, 3), tr_s=2.0)
    discovery = dataset({"task-a_bold.json": '{"RepetitionTime": 2.5}'}, allow_incomplete=False)
    assert "SID02" in ids(discovery)
    assert {source.attributes.get("parameters/tr") for source in discovery.sources if source.claims.group} == {"2500.0"}


def test_a_broken_annex_link_stops_its_scan_and_no_other(dataset, tmp_path):
    (tmp_path / "sub-01/anat").mkdir(parents=True)
    (tmp_path / "sub-01/anat/sub-01_T1w.nii.gz").symlink_to("../../.git/annex/objects/xx/MD5E-1.nii.gz")
    discovery = dataset(["sub-02/anat/sub-02_T1w.nii.gz"])
    refused = [source for source in discovery.sources if source.refused]
    assert [source.relative for source in refused] == ["sub-01/anat/sub-01_T1w.nii.gz"]
    assert errors(discovery) == {"NII04"}


def test_images_that_are_empty_need_a_word(dataset):
    assert "NII01" in errors(dataset(IMAGE, allow_incomplete=False))
    assert not errors(dataset(IMAGE))


def test_only_what_is_asked_for_is_read(dataset):
    files = [
        "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii",
        "sub-01/ses-2/anat/sub-01_ses-2_T1w.nii",
        "sub-02/anat/sub-02_T1w.nii",
    ]
    discovery = dataset(
        [*files, "sub-01/sub-01_sessions.tsv"], choices=BidsChoices(takes=lambda sub, ses: (sub, ses) == ("01", "2"))
    )
    assert set(places(discovery)) == {"dataset_description.json", files[1], "sub-01/sub-01_sessions.tsv"}
    nothing = dataset(files, choices=BidsChoices(takes=lambda _sub, _ses: False))
    assert "BIDS19" in errors(nothing)


def test_a_file_is_no_dataset(tmp_path):
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UsageError, match="folder"):
        discover(tmp_path / "x.json", kind=Kind.BIDS)
