"""Values that cannot be: each is a finding, and no field of XNAT gets it, wherever it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from xnatferry.sources.bids.participants import person_of, visit_of
from xnatferry.sources.discovery import discover
from xnatferry.sources.limits import LIMITS, is_possible, possible_values
from xnatferry.sources.model import Source

#: A value in seconds, and the path of its field; the same number in milliseconds cannot be.
TIMES = {
    "RepetitionTime": (2.3, "parameters/tr"),
    "RepetitionTimeExcitation": (2.3, "parameters/tr"),
    "RepetitionTimePreparation": (2.3, "parameters/tr"),
    "EchoTime": (0.00298, "parameters/te"),
    "EchoTime1": (0.00492, "parameters/te"),
    "InversionTime": (0.9, "parameters/ti"),
    "EffectiveEchoSpacing": (0.00058, "parameters/echoSpacing"),
    "TotalReadoutTime": (0.05, "parameters/addParam[name=TotalReadoutTime]/addField"),
    "DwellTime": (0.0005, "parameters/addParam[name=DwellTime]/addField"),
    "PostLabelingDelay": (1.8, "parameters/addParam[name=PostLabelingDelay]/addField"),
    "SliceTiming": ([0, 0.5, 1.0], "parameters/addParam[name=SliceTiming]/addField"),
}
OTHERS = {
    "FlipAngle": (900, "parameters/flip"),
    "MagneticFieldStrength": (30000, "fieldStrength"),
    "PixelBandwidth": (-1, "parameters/pixelBandwidth"),
    "RepetitionTime": (0, "parameters/tr"),
    "EchoTime": (float("nan"), "parameters/te"),
    "InversionTime": (-0.9, "parameters/ti"),
}


@pytest.fixture(params=["nifti", "bids"])
def read(request, tmp_path: Path, make_image):
    """Push source of one image with this sidecar: a plain folder, or a dataset; in three or four dimensions."""

    def act(sidecar: dict[str, object], shape: tuple[int, ...] = (4, 5, 3)) -> Source:
        image, root = tmp_path / "S1" / "T1.nii", tmp_path / "S1"
        if request.param == "bids":
            root = tmp_path / "set"
            suffix = "func/sub-01_task-rest_bold.nii" if len(shape) > 3 else "anat/sub-01_T1w.nii"
            image = root / "sub-01" / suffix
            image.parent.mkdir(parents=True)
            (root / "dataset_description.json").write_text('{"Name": "n", "BIDSVersion": "1.8.0"}')
        make_image(image, shape)
        image.with_suffix(".json").write_text(json.dumps(sidecar))
        return next(source for source in discover(root).sources if source.attributes)

    return act


@pytest.mark.parametrize("name", TIMES)
def test_milliseconds_are_said_and_not_sent(read, name: str) -> None:
    seconds, path = TIMES[name]
    ms = [value * 1000 for value in seconds] if isinstance(seconds, list) else seconds * 1000
    source = read({name: ms})
    (finding,) = (f for f in source.findings if f.id == "SID03")
    assert f"{name} is " in finding.message
    assert "seconds, not milliseconds" in finding.message
    assert path not in source.attributes


@pytest.mark.parametrize("name", TIMES)
def test_seconds_are_sent(read, name: str) -> None:
    seconds, path = TIMES[name]
    source = read({name: seconds})
    assert "SID03" not in [f.id for f in source.findings]
    assert path in source.attributes or path.startswith("parameters/addParam")


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 3, 2)])
def test_other_values_that_cannot_be(read, name: str, shape: tuple[int, ...]) -> None:
    value, path = OTHERS[name]
    source = read({name: value}, shape)
    assert [f.id for f in source.findings if f.id == "SID03"] == ["SID03"]
    assert path not in source.attributes or path == "parameters/tr"  # then that of the header
    assert source.attributes.get(path) != str(value)


def test_a_voxel_of_a_metre_is_said_and_not_sent(tmp_path: Path, make_image) -> None:
    path = make_image(tmp_path / "S1" / "T1.nii", step=(1000.0, 1000.0, 1000.0))
    (source,) = discover(path).sources
    assert "NII16" in [f.id for f in source.findings]
    assert not [name for name in source.attributes if "voxelRes" in name or "fov" in name]


@pytest.mark.parametrize("cell", ["nan", "-3", "inf", "1e9", "200"])
def test_ages_that_cannot_be(cell: str) -> None:
    person = person_of({"age": cell}, {})
    assert (person.age_years, person.subject, person.impossible) == (None, {}, [f"age {cell}"])
    fields, unmapped, impossible = visit_of({"age": cell})
    assert (fields, unmapped, impossible) == ({}, [], [f"age {cell}"])


def test_ages_that_can_be() -> None:
    assert visit_of({"age": "34.5"})[0] == {"age": "34.5"}
    assert visit_of({"age": "0"})[0] == {"age": "0.0"}
    assert person_of({"age": "18"}, {"age": {"Units": "months"}}).age_years == 1.5
    assert person_of({"weight": "nan", "height": "-1"}, {}).impossible == ["weight nan", "height -1"]


def test_impossible_values_of_tables_are_findings(tmp_path: Path, make_image) -> None:
    make_image(tmp_path / "sub-01" / "ses-1" / "anat" / "sub-01_ses-1_T1w.nii")
    (tmp_path / "dataset_description.json").write_text('{"Name": "n", "BIDSVersion": "1.8.0"}')
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-01\t-3\n")
    (tmp_path / "sub-01" / "sub-01_sessions.tsv").write_text("session_id\tage\nses-1\tnan\n")
    told = [f.message for f in discover(tmp_path).all_findings if f.id == "BIDS09"]
    assert any("age -3 (sub-01)" in message for message in told)
    assert any("age nan (ses-1)" in message for message in told)


@pytest.mark.parametrize("name", LIMITS)
def test_every_limit_excludes_what_is_no_number(name: str) -> None:
    limits = LIMITS[name]
    assert is_possible(name, limits.high)
    assert is_possible(name, limits.low) is limits.included
    assert not any(is_possible(name, value) for value in (float("nan"), float("inf"), limits.high * 1.01))
    assert possible_values({name: "text", "Other": -1}) == ({name: "text", "Other": -1}, [])
