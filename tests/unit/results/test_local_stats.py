"""Tables of a SUBJECTS_DIR, with every fault that one may have."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from xnatferry.errors import NotFoundError, UsageError
from xnatferry.results.operations import stats
from xnatferry.results.stats_table import Remark, RemarkKind, StatsTable
from xnatferry.sources.freesurfer import discover_freesurfer

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture
def subjects_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "subjects"
    shutil.copytree(DATA / "freesurfer6" / "subject1", folder / "subject1")
    for name in ("sub-001", "sub-002"):
        shutil.copytree(DATA / "freesurfer7" / name, folder / name)
    return folder


def remarks(table: StatsTable) -> list[Remark]:
    """The remarks, but for the one about names in the real files of version 6, which differ from those of 7."""
    return [r for r in table.remarks if r.where != "subject1" or "is listed as" not in r.message]


def told(table: StatsTable) -> list[tuple[str, str]]:
    return [(remark.kind.value, remark.where) for remark in remarks(table)]


def held(table: StatsTable) -> list[str]:
    return [entry.place.subject for entry in table.entries]


@pytest.mark.parametrize("name", ["aseg", "wmparc", "aparc", "aparc.a2009s", "aparc.DKTatlas"])
def test_whole_subjects(subjects_dir: Path, name: str) -> None:
    table = stats(name, subjects_dir)
    assert held(table) == ["001", "002", "subject1"]
    assert [entry.place.session for entry in table.entries] == ["001_MR1", "002_MR1", "subject1_MR1"]
    assert [entry.place.fs_version for entry in table.entries] == ["7.4.1", "7.4.1", "6"]
    assert not table.lacking
    assert not [remark for remark in remarks(table) if remark.kind is not RemarkKind.MEASURE]
    long, wide = table.grid(), table.grid(wide=True)
    assert long.height == len(list(long.rows()))
    assert wide.height == 3
    # Every number of the long form that is a measurement stands in the wide form, and no other.
    numbers = [row for row in long.rows() if row[long.columns.index("measurement")] not in {"Index", "SegId"}]
    cells = [cell for row in wide.rows() for cell in row[9:] if cell is not None]
    assert sorted(row[long.columns.index("value")] for row in numbers) == sorted(cells)


def test_one_subject_and_a_zip_of_one(subjects_dir: Path, tmp_path: Path) -> None:
    alone = stats("aparc", subjects_dir / "sub-001")
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        for file in sorted((subjects_dir / "sub-001").rglob("*")):
            packed.write(file, file.relative_to(subjects_dir))
    packed = stats("aparc", tmp_path / "packed.zip")
    assert list(packed.grid().rows()) == list(alone.grid().rows())
    assert held(alone) == ["001"]


def change(file: str, how: Callable[[bytes], bytes | None]) -> Callable[[Path], None]:
    def act(subjects_dir: Path) -> None:
        path = subjects_dir / "sub-001" / "stats" / file
        content = how(path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)

    return act


BROKEN = {
    "gone": ("aseg", change("aseg.stats", lambda _: None), "subject", 2, "does not exist"),
    "empty": ("aseg", change("aseg.stats", lambda _: b""), "broken", 2, "the file is empty"),
    "cut in the header": (
        "aseg",
        change("aseg.stats", lambda c: c[:3000]),
        "broken",
        2,
        "no number|incomplete|no table",
    ),
    "cut in a row": ("aseg", change("aseg.stats", lambda c: c[:-40]), "broken", 2, "cells"),
    "cut between rows": ("aseg", change("aseg.stats", lambda c: b"".join(c.splitlines(True)[:-2])), "broken", 2, "45"),
    "cut in the last number": (
        "aparc",
        change("lh.aparc.stats", lambda c: c.rstrip()[:-1]),
        "broken",
        3,
        "the last line is incomplete",
    ),
    "no text at all": ("aseg", change("aseg.stats", lambda _: bytes(range(256))), "broken", 2, "no table|incomplete"),
    "a hemisphere gone": (
        "aparc",
        change("lh.aparc.stats", lambda _: None),
        "file",
        3,
        "^lh.aparc.stats does not exist",
    ),
    "hemispheres swapped": (
        "aparc",
        change("lh.aparc.stats", lambda c: c.replace(b"hemi lh", b"hemi rh")),
        "broken",
        3,
        "swapped",
    ),
    "another subject's hemisphere": (
        "aparc",
        change("lh.aparc.stats", lambda c: c.replace(b"subjectname sub-001", b"subjectname bert")),
        "broken",
        3,
        "another subject, bert",
    ),
    "a renamed subject": (
        "aseg",
        change("aseg.stats", lambda c: c.replace(b"subjectname sub-001", b"subjectname bert")),
        "name",
        3,
        "name subject bert",
    ),
    "no number": (
        "aparc",
        change("lh.aparc.stats", lambda c: c.replace(b" 2.813 ", b" nan ")),
        "measure",
        3,
        "lh_bankssts_thickness",
    ),
    "a region gone": (
        "aparc",
        change("lh.aparc.stats", lambda c: re.sub(rb"^insula .*\n", b"", c, flags=re.MULTILINE)),
        "measure",
        3,
        "9 measures are missing that others",
    ),
    "a measure gone": (
        "aseg",
        change("aseg.stats", lambda c: re.sub(rb"# Measure Estimated.*\n", b"", c)),
        "measure",
        3,
        "EstimatedTotalIntraCranialVol",
    ),
}


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: fault.replace(" ", "-"))
def test_a_fault_is_told_and_the_others_go_on(subjects_dir: Path, fault: str) -> None:
    name, act, kind, rest, why = BROKEN[fault]
    act(subjects_dir)
    table = stats(name, subjects_dir)
    assert told(table) == [(kind, "sub-001")]
    assert re.search(why, table.remarks[0].message) or why in table.remarks[0].measures, table.remarks
    assert len(table.entries) == rest
    assert bool(table.lacking) is (kind not in {"name", "measure"})
    values = [row[table.grid().columns.index("value")] for row in table.grid().rows()]
    assert all(value == value for value in values), "NaN in the table"


def test_what_every_version_writes_is_missed_in_one_subject(subjects_dir: Path) -> None:
    path = subjects_dir / "sub-001" / "stats" / "aseg.stats"
    path.write_bytes(re.sub(rb"# Measure Estimated.*\n", b"", path.read_bytes()))
    (remark,) = stats("aseg", subjects_dir / "sub-001").remarks
    assert remark.measures == ("eTIV",)


def test_a_high_resolution_run_of_version_6(subjects_dir: Path) -> None:
    path = subjects_dir / "subject1" / "stats" / "aseg.stats"
    path.write_bytes(path.read_bytes().replace(b"VoxelVolume_mm3 1", b"VoxelVolume_mm3 0.343"))
    table = stats("aseg", subjects_dir)
    regions = {number.region for number in table.entries[2].numbers()}
    assert "BrainSegVol" not in regions
    assert {"eTIV", "Left-Hippocampus"} <= regions
    (remark,) = remarks(table)
    assert remark.kind is RemarkKind.MEASURE
    assert "BrainSegVol" in remark.measures


def test_atlases_and_longitudinal_runs(subjects_dir: Path) -> None:
    for name in ("fsaverage", "sub-001.long.base"):
        shutil.copytree(subjects_dir / "sub-001", subjects_dir / name)
    table = stats("aseg", subjects_dir)
    rows = [(entry.place.subject, entry.place.session, entry.place.resource) for entry in table.entries]
    assert rows == [
        ("001", "001_MR1", "FREESURFER7_LONG"),
        ("001", "001_MR1", ""),
        ("002", "002_MR1", ""),
        ("subject1", "subject1_MR1", ""),
    ]
    assert ("choice", "fsaverage") in told(table)


def test_nothing_there(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(NotFoundError):
            stats("aseg", folder)
    with pytest.raises(UsageError, match=r"aparc\.DKTatlas"):
        stats("asge", tmp_path)


def test_some_measurements_only(subjects_dir: Path) -> None:
    table = stats("aparc", subjects_dir).only(["thickness"])
    assert {number.measurement for entry in table.entries for number in entry.numbers()} == {"ThickAvg", "Thickness_mm"}
    with pytest.raises(UsageError, match=r"use one of .*, thickness"):
        table = stats("aparc", subjects_dir).only(["thick"])


def test_subfields(subjects_dir: Path) -> None:
    mri = subjects_dir / "sub-001" / "mri"
    (mri / "lh.hippoSfVolumes-T1.v21.txt").write_text("Hippocampal_tail 551.25\nWhole_hippocampus 3400.75\n")
    (mri / "rh.hippoSfVolumes-T1.v21.txt").write_text("Hippocampal_tail 570.5\nWhole_hippocampus 3500\n")
    (mri / "brainstemSsVolumes.v12.txt").write_text("Medulla 4600.5\nPons 15000\n")
    table = stats("hippo", subjects_dir)
    assert held(table) == ["001"]
    assert table.entries[0].place.fs_version == "7.4.1"  # of the build stamp: these texts have no header
    assert [remark.kind for remark in table.lacking] == [RemarkKind.SUBJECT] * 2
    wide = table.grid(wide=True)
    assert dict(zip(wide.columns, next(iter(wide.rows())), strict=True))["lh_Hippocampal_tail"] == 551.25
    assert [number.unit for number in stats("brainstem", subjects_dir).entries[0].numbers()] == ["mm^3", "mm^3"]


def test_folders_that_hold_only_stats(subjects_dir: Path, tmp_path: Path) -> None:
    whole = stats("aparc", subjects_dir)
    for folder in subjects_dir.iterdir():
        for inner in folder.iterdir():
            if inner.name != "stats":
                shutil.rmtree(inner)
    table = stats("aparc", subjects_dir)
    assert [entry.parts for entry in table.entries] == [entry.parts for entry in whole.entries]
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        for file in sorted((subjects_dir / "sub-001").rglob("*.stats")):
            packed.write(file, file.relative_to(subjects_dir))
    assert held(stats("aparc", tmp_path / "packed.zip")) == ["001"]


def test_folders_that_hold_only_volumes_of_subfields(tmp_path: Path) -> None:
    (tmp_path / "A" / "mri").mkdir(parents=True)
    for side in ("lh", "rh"):
        (tmp_path / "A" / "mri" / f"{side}.hippoSfVolumes-T1.long.v21.txt").write_text("CA1 551.25\n")
    assert held(stats("hippo", tmp_path)) == ["A"]
    with zipfile.ZipFile(tmp_path / "packed.zip", "w") as packed:
        for file in sorted((tmp_path / "A").rglob("*.txt")):
            packed.write(file, file.relative_to(tmp_path))
    assert held(stats("hippo", tmp_path / "packed.zip")) == ["A"]
    (tmp_path / "B" / "mri").mkdir(parents=True)
    (tmp_path / "B" / "mri" / "notes.txt").write_text("x")
    assert held(stats("hippo", tmp_path / "A")) == ["A"]


SPELLINGS = {
    "Left-Thalamus": ("aseg", "Left-Thalamus-Proper"),
    "Right-Thalamus": ("aseg", "Right-Thalamus-Proper"),
    "G_and_S_frontomargin": ("aparc.a2009s", "G&S_frontomargin"),
    "S_oc_sup_and_transversal": ("aparc.a2009s", "S_oc_sup&transversal"),
    "eTIV": ("aseg", "ICV"),
}


@pytest.mark.parametrize("usual", SPELLINGS)
def test_a_region_has_one_column(subjects_dir: Path, usual: str) -> None:
    name, old = SPELLINGS[usual]
    (subjects_dir / "subject1").rename(tmp := subjects_dir.parent / "away")
    for path in (subjects_dir / "sub-001" / "stats").glob("*.stats"):
        text = path.read_text()
        path.write_text(re.sub(rf"(?<![\w-]){usual}(?![\w-])", old, text))
    table = stats(name, subjects_dir)
    regions = [{n.region for n in entry.numbers()} for entry in table.entries]
    assert all(usual in held and old not in held for held in regions)
    assert [(r.kind.value, r.where) for r in table.remarks] == [("choice", "sub-001")]
    assert f"{old} is listed as {usual}" in table.remarks[0].message
    alone = stats(name, subjects_dir / "sub-001")  # a table of one version has the names of its program
    assert old in {n.region for n in alone.entries[0].numbers()}
    assert tmp.is_dir()


def test_two_regions_of_one_file_stay_two(subjects_dir: Path) -> None:
    path = subjects_dir / "sub-001" / "stats" / "aseg.stats"
    path.write_text(path.read_text().replace("Right-Thalamus ", "Left-Thalamus-Proper "))
    table = stats("aseg", subjects_dir)
    assert {"Left-Thalamus", "Left-Thalamus-Proper"} <= {n.region for n in table.entries[0].numbers()}


@pytest.mark.parametrize("fault", ["a region gone", "no number", "a measure gone", "high resolution"])
def test_remarks_are_about_the_measures_of_the_table(subjects_dir: Path, fault: str) -> None:
    if fault == "high resolution":
        name, path = "aseg", subjects_dir / "subject1" / "stats" / "aseg.stats"
        path.write_bytes(path.read_bytes().replace(b"VoxelVolume_mm3 1", b"VoxelVolume_mm3 0.343"))
    else:
        name, act, *_ = BROKEN[fault]
        act(subjects_dir)
    table = stats(name, subjects_dir)
    (remark,) = remarks(table)
    assert not any(measure.endswith(("_Index", "_SegId")) for measure in remark.measures)
    measurements = {n.measurement for entry in table.entries for n in entry.numbers()} - {"Index", "SegId"}
    named: list[str] = []
    for one in sorted(measurements):
        for chosen in remarks(table.only([one])):
            named += chosen.measures
            assert chosen.measures[0] in chosen.message
            assert not re.match(r"\d", chosen.message) or chosen.message.startswith(f"{len(chosen.measures)} measure")
    assert sorted(named) == sorted(remark.measures)


def of(table: StatsTable, region: str, subject: str = "001") -> list[tuple[str, float]]:
    """Side and value of each number of a region in the header."""
    (entry,) = (entry for entry in table.entries if entry.place.subject == subject)
    return [(n.side, n.value) for n in entry.numbers() if n.region == region]


def measure(name: str, left: float, right: float, unit: str) -> Callable[[Path], None]:
    """Write one more measure into the headers of both hemispheres of sub-001, in place of one of this name."""

    def act(subjects_dir: Path) -> None:
        for side, value in (("lh", left), ("rh", right)):
            path = subjects_dir / "sub-001" / "stats" / f"{side}.aparc.stats"
            lines = [line for line in path.read_text().splitlines(keepends=True) if f", {name}, " not in line]
            at = next(i for i, line in enumerate(lines) if line.startswith("# NTableCols"))
            lines.insert(at, f"# Measure Cortex, {name}, Words, {value}, {unit}\n")
            path.write_text("".join(lines))

    return act


@pytest.mark.parametrize(
    ("name", "left", "right", "unit", "expected"),
    [
        ("SurfArea", 86000.5, 87000.5, "mm^2", [("left", 86000.5), ("right", 87000.5)]),
        ("MeanThickness", 2.5, 2.5, "mm", [("left", 2.5), ("right", 2.5)]),
        ("NumFolds", 3, 4, "unitless", [("left", 3), ("right", 4)]),
        ("BrainSegVol", 1100000, 1100000, "mm^3", [("", 1100000)]),
        ("BrainSegVol", 1100000, 1100007, "mm^3", [("left", 1100000), ("right", 1100007)]),
        ("NewVol", 11, 12, "mm^3", [("left", 11), ("right", 12)]),
    ],
)
def test_no_measure_of_a_hemisphere_is_dropped(
    subjects_dir: Path, name: str, left: float, right: float, unit: str, expected: list[tuple[str, float]]
) -> None:
    measure(name, left, right, unit)(subjects_dir)
    table = stats("aparc", subjects_dir)
    assert of(table, name) == expected
    wide = table.grid(wide=True)
    row = next(row for row in wide.rows() if row[wide.columns.index("subject")] == "001")
    cells = dict(zip(wide.columns, row, strict=True))
    assert [value for _, value in expected] == [
        cell for column, cell in cells.items() if name in column.split("_") and cell is not None
    ]
    differ = [r for r in table.remarks if "differ" in r.message]
    assert [(r.where, r.measures) for r in differ] == (
        [("sub-001", (name,))] if unit == "mm^3" and left != right else []
    )
    if name == "BrainSegVol":  # no file lacks it, with a side or without
        assert not [r for r in table.remarks if r not in differ and any(name in m.split("_") for m in r.measures)]


@pytest.mark.parametrize(
    ("folder", "inside", "labels"),
    [
        ("sub-01/ses-1", "ses-1", ("01", "01_1")),
        ("sub-03/T1w_run-01/freesurfer", "freesurfer", ("03", "03_MR1")),
        ("P1/visit2/freesurfer", "freesurfer", ("P1", "P1_visit2")),
        ("freesurfer/P1", "P1", ("P1", "P1_MR1")),
        ("recon/freesurfer", "P9", ("P9", "P9_MR1")),
    ],
)
def test_a_local_row_has_the_labels_of_a_push(
    tmp_path: Path, folder: str, inside: str, labels: tuple[str, str]
) -> None:
    run = tmp_path / "data" / folder
    shutil.copytree(DATA / "freesurfer7" / "sub-001", run)
    for path in (*(run / "stats").iterdir(), *(run / "scripts").glob("*.log")):
        path.write_bytes(path.read_bytes().replace(b"sub-001", inside.encode()))
    (entry,) = stats("aseg", tmp_path / "data").entries
    assert (entry.place.subject, entry.place.session) == labels
    (source,) = discover_freesurfer(tmp_path / "data", allow_incomplete=True).sources
    assert (source.claims.subject, source.claims.session or f"{labels[0]}_MR1") == labels
    assert "FS27" not in {finding.id for finding in source.findings}
    (alone,) = stats("aseg", run).entries
    assert alone.place.subject == labels[0]


def test_two_runs_of_one_subject_are_told(tmp_path: Path) -> None:
    for run in ("T1w_run-01", "T1w_run-02"):
        shutil.copytree(DATA / "freesurfer7" / "sub-001", tmp_path / "sub-001" / run / "freesurfer")
    remarks = [remark for remark in stats("aseg", tmp_path).remarks if "it has the subject" in remark.message]
    assert [remark.where for remark in remarks] == ["sub-001/T1w_run-02/freesurfer"]
