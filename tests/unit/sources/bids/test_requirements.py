"""What BIDS requires of a scan and its readers need, one break of a sound dataset at a time."""

import json

import numpy as np
import pytest
from bidsschematools.schema import load_schema

from xnatferry.checks.bids_requirements import bids_requirements
from xnatferry.sources.bids.names import parse_name
from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Kind, Severity

BOLD = "sub-01/func/sub-01_task-rest_bold"
DWI = "sub-01/dwi/sub-01_dwi"
ASL = "sub-01/perf/sub-01_asl"
EEG = "sub-01/eeg/sub-01_task-rest_eeg"
PHYSIO = "sub-01/func/sub-01_task-rest_physio"
ASL_FIELDS = {
    "MagneticFieldStrength": 3, "MRAcquisitionType": "3D", "EchoTime": 0.01, "ArterialSpinLabelingType": "PASL",
    "PostLabelingDelay": [1.8, 1.8], "BackgroundSuppression": False, "M0Type": "Absent", "TotalAcquiredPairs": 1,
    "RepetitionTimePreparation": 4.0,
}  # fmt: skip
EEG_FIELDS = {
    "TaskName": "rest", "EEGReference": "Cz", "SamplingFrequency": 500, "PowerLineFrequency": 50,
    "SoftwareFilters": "n/a",
}  # fmt: skip
SOUND = {
    "dataset_description.json": {"Name": "x", "BIDSVersion": "1.11.0"},
    "task-rest_bold.json": {"TaskName": "rest"},
    "sub-01/anat/sub-01_T1w.nii.gz": (4, 5, 6),
    "sub-01/anat/sub-01_T1w.json": {"EchoTime": 0.003},
    f"{BOLD}.nii.gz": (4, 5, 3, 5),
    f"{BOLD}.json": {"RepetitionTime": 2.0, "SliceTiming": [0, 1, 0.5]},
    f"{PHYSIO}.tsv.gz": b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0",
    f"{PHYSIO}.json": {"SamplingFrequency": 100, "StartTime": 0, "Columns": ["cardiac"]},
    f"{DWI}.nii.gz": (4, 5, 6, 2),
    "dwi.bval": b"0 1000\n",  # one level up, for all subjects
    "dwi.bvec": b"0 1\n0 0\n0 0\n",
    "dwi.json": {"EchoTime": 0.08},
    f"{ASL}.nii.gz": (4, 5, 6, 2),
    f"{ASL}.json": ASL_FIELDS,
    f"{ASL}context.tsv": b"volume_type\ncontrol\nlabel\n",
    "sub-01/fmap/sub-01_phasediff.nii.gz": (4, 5, 6),
    "sub-01/fmap/sub-01_phasediff.json": {"EchoTime1": 0.004, "EchoTime2": 0.006},
    "sub-01/fmap/sub-01_magnitude1.nii.gz": (4, 5, 6),
    "sub-01/fmap/sub-01_magnitude1.json": {"EchoTime": 0.004},
    f"{EEG}.vhdr": b"x",
    f"{EEG}.vmrk": b"x",
    f"{EEG}.eeg": b"x",
    f"{EEG}.json": EEG_FIELDS,
}
CHECKED = ("BIDS2", "DWI", "SID")


@pytest.fixture
def findings_with(tmp_path, make_image):
    """Write the sound dataset with changes (None removes a file); returns ids and file names of the findings."""

    def findings(changes):
        for name, content in {**SOUND, **changes}.items():
            path = tmp_path / "dataset" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, tuple):
                make_image(path, content, tr_s=2.0 if len(content) > 3 else None)
            elif isinstance(content, dict):
                path.write_text(json.dumps(content))
            elif content is not None:
                path.write_bytes(content)
        discovery = discover(tmp_path / "dataset", kind=Kind.BIDS)
        shown = [one for one in discovery.all_findings if one.severity is not Severity.INFO]
        return [(one.id, one.path.name, one.message) for one in shown if one.id.startswith(CHECKED)]

    return findings


def test_a_sound_dataset_has_no_finding(findings_with):
    assert findings_with({}) == []


BOLD_IMAGE, ASL_IMAGE, DWI_IMAGE = (f"sub-01_{name}.nii.gz" for name in ("task-rest_bold", "asl", "dwi"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"task-rest_bold.json": None}, [("BIDS23", BOLD_IMAGE, "lack TaskName")]),
        ({f"{BOLD}.json": {"EchoTime": 0.03}}, [("BIDS23", BOLD_IMAGE, "RepetitionTime or VolumeTiming")]),
        ({f"{BOLD}.json": {"VolumeTiming": [0, 2, 4, 6, 8]}}, []),
        ({f"{BOLD}.json": None, "task-rest_bold.json": None}, [("BIDS23", BOLD_IMAGE, "no sidecar")]),
        ({f"{EEG}.json": EEG_FIELDS | {"TaskName": "rest"}}, []),
        ({f"{EEG}.json": {"TaskName": "rest"}}, [("BIDS23", "sub-01_task-rest_eeg.eeg", "EEGReference")]),
        ({f"{PHYSIO}.json": {"Columns": ["x"]}}, [("BIDS23", "sub-01_task-rest_physio.tsv.gz", "SamplingFrequency")]),
        (
            {"sub-01/fmap/sub-01_phasediff.json": {"EchoTime1": 0.004}},
            [("BIDS23", "sub-01_phasediff.nii.gz", "EchoTime2")],
        ),
        ({f"{BOLD}.json": {"RepetitionTime": 2.0, "SliceTiming": [0, 1000, 500]}}, [("SID03", BOLD_IMAGE, "seconds")]),
        ({f"{BOLD}.json": {"RepetitionTime": 2.0, "SliceTiming": [0, 2.3, 1]}}, [("SID02", BOLD_IMAGE, "2.3 s")]),
        ({f"{BOLD}.json": {"RepetitionTime": 2.0, "SliceTiming": ["a", None, True]}}, []),
        ({f"{BOLD}.nii.gz": (4, 5, 3)}, [("BIDS24", BOLD_IMAGE, "4 x 5 x 3 voxels")]),
        ({f"{BOLD}.nii.gz": (4, 5, 3, 1)}, []),
        ({"sub-01/anat/sub-01_T1w.nii.gz": (4, 5, 6, 2)}, [("BIDS24", "sub-01_T1w.nii.gz", "single volume")]),
        ({"sub-01/anat/sub-01_FLAIR.nii.gz": (4, 5, 6, 2)}, [("BIDS24", "sub-01_FLAIR.nii.gz", "single volume")]),
        ({"sub-01/fmap/sub-01_magnitude1.nii.gz": (4, 5, 6, 2)}, [("BIDS24", "sub-01_magnitude1.nii.gz", "single")]),
        ({"dwi.bval": None, "dwi.bvec": None}, [("DWI04", DWI_IMAGE, "no gradient tables")]),
        ({"dwi.bvec": None}, [("DWI03", "dwi.bval", "no .bvec")]),
        ({f"{ASL}context.tsv": b"volume_type\ncontrol\n"}, [("BIDS25", "sub-01_aslcontext.tsv", "1 row")]),
        ({f"{ASL}context.tsv": None, "aslcontext.tsv": b"volume_type\ncontrol\nlabel\n"}, []),
        ({f"{ASL}context.tsv": None}, [("BIDS26", ASL_IMAGE, "aslcontext.tsv")]),
        (
            {f"{ASL}.json": ASL_FIELDS | {"PostLabelingDelay": [1.8]}},
            [("BIDS25", ASL_IMAGE, "PostLabelingDelay has 1 value, the image 2 volumes")],
        ),
        ({"sub-01/fmap/sub-01_magnitude1.nii.gz": None}, [("BIDS26", "sub-01_phasediff.nii.gz", "magnitude1")]),
        ({f"{EEG}.vmrk": None}, [("BIDS26", "sub-01_task-rest_eeg.eeg", "no .vmrk")]),
        ({f"{EEG}.eeg": b""}, [("BIDS27", "sub-01_task-rest_eeg.eeg", "0 bytes")]),
        (
            {"sub-02/eeg/sub-02_task-rest_eeg.edf": b"", "sub-02/eeg/sub-02_task-rest_eeg.json": EEG_FIELDS},
            [("BIDS27", "sub-02_task-rest_eeg.edf", "0 bytes")],
        ),
        ({"bold.json": {"EchoTime": 0.03}}, [("BIDS28", BOLD_IMAGE, "bold.json and task-rest_bold.json")]),
        ({"sub-01/func/sub-01_bold.json": {"EchoTime": 0.03}}, []),  # beside the image's own, which counts
    ],
)  # fmt: skip
def test_every_break_is_one_finding(findings_with, changes, expected):
    found = findings_with(changes)
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    assert all(part in message for (_, _, message), (_, _, part) in zip(found, expected, strict=True))


def test_the_rules_are_those_of_the_schema():
    """Each required field of a rule for one suffix is asked for, unless the rule depends on other fields."""
    rules = bids_requirements()
    schema = load_schema()
    assert rules.version == schema.bids_version
    for family, rule, datatype, name in [
        ("func", "MRIFuncRequired", "func", "sub-1_task-x_bold.nii.gz"),
        ("asl", "MRIASLCommonMetadataFields", "perf", "sub-1_asl.nii.gz"),
        ("eeg", "EEGRequired", "eeg", "sub-1_task-x_eeg.edf"),
        ("meg", "MEGRequired", "meg", "sub-1_task-x_meg.fif"),
        ("pet", "PETTime", "pet", "sub-1_pet.nii.gz"),
        ("mrs", "MRSRequiredFields", "mrs", "sub-1_svs.nii.gz"),
        ("entity_rules", "EntitiesEchoMetadata", "anat", "sub-1_echo-1_MEGRE.nii.gz"),
        ("entity_rules", "EntitiesInvMetadata", "anat", "sub-1_inv-1_IRT1.nii.gz"),
    ]:
        fields = schema.rules.sidecars[family][rule].fields
        needed = {key for key, level in fields.items() if "required" in (level, getattr(level, "level", ""))}
        assert needed
        assert needed <= set(rules.missing(datatype, parse_name(name), {}))
    assert rules.missing("anat", parse_name("sub-1_T1w.nii.gz"), {}) == []
    assert "BolusCutOffFlag" not in rules.missing("perf", parse_name("sub-1_asl.nii.gz"), {})  # of PASL only


@pytest.mark.parametrize(
    ("name", "volumes", "flagged"),
    [
        ("DTI_64dir", 65, True),
        ("dwi", 65, True),
        ("ep2d_diff_b1000", 30, True),
        ("dwi", 1, False),  # a mean or a map
        ("bold", 65, False),
        ("different", 65, False),
    ],
)
def test_a_diffusion_series_without_gradients_outside_bids(tmp_path, make_image, name, volumes, flagged):
    path = make_image(tmp_path / "P1" / f"{name}.nii.gz", (3, 3, 3, volumes), dtype=np.uint8)
    (found,) = [one for one in discover(tmp_path).all_findings if one.id == "DWI04"] or [None]
    assert (found is not None) is flagged
    path.with_name(f"{name}.bval").write_text(" ".join(["0"] * volumes))
    assert "DWI04" not in {one.id for one in discover(tmp_path).all_findings}


def test_the_reference_of_a_series_may_have_slices_after_its_repetition_time(findings_with):
    sbref = {"RepetitionTime": 0.85, "SliceTiming": [0, 2.4, 1.2], "TaskName": "rest"}
    name = BOLD.replace("bold", "sbref")
    assert findings_with({f"{name}.nii.gz": (4, 5, 3), f"{name}.json": sbref}) == []
