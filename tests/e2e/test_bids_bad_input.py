"""Every kind of bad BIDS dataset that people bring: one finding with a stable id that says where, and the rest goes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.conftest import write_image
from xnatferry.checks.finding_catalog import CATALOGUE
from xnatferry.sources.discovery import discover

T1 = "sub-01/anat/sub-01_T1w.nii.gz"
BOLD = "sub-01/func/sub-01_task-rest_bold.nii.gz"
EVENTS = "sub-01/func/sub-01_task-rest_events.tsv"
DWI = "sub-01/dwi/sub-01_dwi"
FMAP = "sub-01/fmap/sub-01_phasediff.nii.gz"
PEOPLE = "participants.tsv"
DESCRIPTION = "dataset_description.json"
TASK = "task-rest_bold.json"
ANNEX = "/annex/objects/MD5E-s1234--0123456789abcdef0123456789abcdef.nii.gz"


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """A small dataset with nothing wrong in it: anatomy, function with events, diffusion, a field map, two people."""
    root = tmp_path_factory.mktemp("bids") / "ds"
    texts = {
        DESCRIPTION: '{"Name": "x", "BIDSVersion": "1.8.0"}',
        PEOPLE: "participant_id\tage\tsex\nsub-01\t30\tF\nsub-02\t31\tM\n",
        TASK: '{"TaskName": "rest", "RepetitionTime": 1.0}',
        **dict.fromkeys(("T1w.json", "dwi.json", "magnitude1.json"), '{"EchoTime": 0.004}'),
    }
    for seed, subject in enumerate(("sub-01", "sub-02")):
        write_image(root / T1.replace("sub-01", subject), seed=seed)
        write_image(root / BOLD.replace("sub-01", subject), seed=10 + seed, shape=(4, 5, 6, 3))
        write_image(root / f"{DWI}.nii.gz".replace("sub-01", subject), seed=20 + seed, shape=(4, 5, 6, 3))
        write_image(root / FMAP.replace("sub-01", subject), seed=30 + seed)
        write_image(root / FMAP.replace("sub-01", subject).replace("phasediff", "magnitude1"), seed=40 + seed)
        texts |= {
            EVENTS.replace("sub-01", subject): "onset\tduration\n1\t1\n",
            f"{DWI}.bval".replace("sub-01", subject): "0 1000 1000\n",
            f"{DWI}.bvec".replace("sub-01", subject): "0 1 0\n0 0 1\n0 0 0\n",
            FMAP.replace("sub-01", subject).replace(".nii.gz", ".json"): json.dumps(
                {"EchoTime1": 0.004, "EchoTime2": 0.006, "IntendedFor": BOLD.removeprefix("sub-01/")}
            ).replace("sub-01", subject),
        }
    for name, text in texts.items():
        (root / name).write_text(text)
    return root


@pytest.fixture
def dataset(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "ds"))


def text(name, content, encoding="utf-8"):
    """Write (or replace) a file."""

    def spoil(root):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode(encoding))

    return spoil


def gone(name):
    return lambda root: (root / name).unlink()


def link(name):
    def spoil(root):
        (root / name).unlink()
        (root / name).symlink_to(f"../../.git{ANNEX}")

    return spoil


def image(*names):
    return lambda root: [write_image(root / name, seed=90 + number) for number, name in enumerate(names)]


# What is done to the dataset; id, where it points and a word of the message.
CASES = {
    "no description": (gone(DESCRIPTION), "BIDS01", "", "--as nifti"),
    "description is no JSON": (text(DESCRIPTION, '{"Name": '), "BIDS02", DESCRIPTION, "line 1, column"),
    "description is a list": (text(DESCRIPTION, "[]"), "BIDS02", DESCRIPTION, "list"),
    "description says little": (text(DESCRIPTION, '{"Name": "x"}'), "BIDS03", DESCRIPTION, "BIDSVersion"),
    "subject without a row": (text(PEOPLE, "participant_id\tage\nsub-01\t3\n"), "BIDS10", PEOPLE, "without a row: sub-02"),
    "row without a subject": (
        text(PEOPLE, "participant_id\nsub-01\nsub-02\nsub-03\n"), "BIDS10", PEOPLE, "without a folder: sub-03",
    ),
    "unknown column": (text(PEOPLE, "participant_id\tshoe\nsub-01\t4\nsub-02\t5\n"), "BIDS11", PEOPLE, "shoe"),
    "participants without header": (text(PEOPLE, "sub-01\t30\tF\nsub-02\t31\tM\n"), "BIDS08", PEOPLE, "header line is missing"),
    "participants with commas": (text(PEOPLE, "participant_id,age\nsub-01,3\n"), "BIDS08", PEOPLE, "participant_id"),
    "participants in Latin-1": (text(PEOPLE, "participant_id\tsite\nsub-01\tKöln\n", "latin-1"), "BIDS08", PEOPLE, "UTF-8"),
    "participants empty": (text(PEOPLE, ""), "BIDS08", PEOPLE, "empty"),
    "a person thrice": (
        text(PEOPLE, "participant_id\nsub-01\nsub-01\nsub-01\nsub-02\n"), "BIDS09", PEOPLE, "(1 more row of this kind)",
    ),
    "a person twice": (text(PEOPLE, "participant_id\nsub-01\nsub-01\nsub-02\n"), "BIDS09", PEOPLE, "also in line 2"),
    "empty cells": (text(PEOPLE, "participant_id\tage\nsub-01\t\nsub-02\t3\n"), "BIDS09", PEOPLE, "n/a"),
    "scans without header": (
        text("sub-01/sub-01_scans.tsv", "anat/sub-01_T1w.nii.gz\tn/a\n"),
        "BIDS08", "sub-01/sub-01_scans.tsv", "header line is missing",
    ),
    "scans that are not there": (
        text("sub-01/sub-01_scans.tsv", "filename\nanat/sub-01_T9w.nii.gz\n"), "BIDS15", "sub-01/sub-01_scans.tsv", "T9w",
    ),
    "events without header": (text(EVENTS, "1.5\t2\n3\t1\n"), "BIDS22", EVENTS, "header line is missing"),
    "events without onset": (text(EVENTS, "start\tduration\n1\t2\n"), "BIDS22", EVENTS, "no column onset"),
    "events empty": (text(EVENTS, ""), "BIDS22", EVENTS, "empty"),
    "sidecar is no JSON": (
        text(BOLD.replace(".nii.gz", ".json"), "{'RepetitionTime': 2}"), "SID01", BOLD.replace(".nii.gz", ".json"), "not JSON",
    ),
    "inherited sidecar is no JSON": (text(TASK, "{"), "SID01", TASK, "not JSON"),
    "sidecar in milliseconds": (text(TASK, '{"RepetitionTime": 1000}'), "SID03", BOLD, "uses seconds"),
    "slices that the image has not": (text(TASK, '{"SliceTiming": [0, 1]}'), "SID02", BOLD, "2 values, the image has 6 slices"),
    "b-values too few": (text(f"{DWI}.bval", "0 1000\n"), "DWI01", f"{DWI}.bval", "2 b-values, the image has 3 volumes"),
    "directions too few": (text(f"{DWI}.bvec", "0 1\n0 0\n0 0\n"), "DWI01", f"{DWI}.bvec", "2 directions"),
    "b-values are words": (text(f"{DWI}.bval", "a b c\n"), "DWI02", f"{DWI}.bval", "not a number"),
    "no directions": (gone(f"{DWI}.bvec"), "DWI03", f"{DWI}.bval", "no .bvec"),
    "two files for one scan": (image("sub-01/anat/sub-01_T1w.nii"), "BIDS06", "sub-01/anat/sub-01_T1w.nii", "one name"),
    "files differ in case": (image("sub-01/anat/sub-01_t1w.nii.gz"), "BIDS05", "", "sub-01_t1w.nii.gz"),
    "subjects differ in case": (
        image("sub-a/anat/sub-a_T1w.nii.gz", "sub-A/anat/sub-A_T1w.nii.gz"), "BIDS07", "", "sub-A and sub-a",
    ),
    "annexed image": (link(T1), "NII04", T1, "git-annex"),
    "annex pointer": (text(T1, f"{ANNEX}\n"), "NII04", T1, "git-annex pointer"),
    "annexed table": (link(EVENTS), "NII04", EVENTS, "git-annex"),
    "annexed participants": (link(PEOPLE), "NII04", PEOPLE, "git-annex"),
    "IntendedFor nowhere": (
        text(FMAP.replace(".nii.gz", ".json"), '{"IntendedFor": "func/sub-01_task-gone_bold.nii.gz"}'), "BIDS12", FMAP, "task-gone",
    ),
}  # fmt: skip


def found_in(root):
    return list(discover(root).all_findings)


def test_nothing_is_found_in_a_dataset_with_nothing_wrong(dataset):
    assert [one for one in found_in(dataset) if one.id != "PRV09"] == []  # faces: said of every head


@pytest.mark.parametrize("case", CASES)
def test_each_fault_has_its_id_its_place_and_words(dataset, case):
    spoil, finding_id, where, words = CASES[case]
    spoil(dataset)
    findings = found_in(dataset)
    fitting = [f for f in findings if f.id == finding_id and f.path == dataset / where]
    assert fitting, findings
    assert words in fitting[0].message
    assert fitting[0].severity is CATALOGUE[finding_id][0]


def test_byte_order_mark_windows_lines_and_missing_values_do_no_harm(ferry, dataset):
    rows = "\ufeffparticipant_id\tage\tsex\r\nsub-01\tn/a\tF\r\nsub-02\t31\tn/a\r\n"
    (dataset / PEOPLE).write_bytes(rows.encode())
    assert [one for one in found_in(dataset) if one.id != "PRV09"] == []  # faces: said of every head
    assert ferry("push", dataset, "-p", "P", "-y", "--force").code == 0
    listed = ferry("list", "P", "--json")
    assert {r["address"] for r in listed.records if r["record"] == "subject"} == {"P/01", "P/02"}


@pytest.mark.parametrize("case", ["description is no JSON", "no description", "subjects differ in case"])
def test_a_dataset_that_is_none_is_not_pushed_at_all(ferry, dataset, case):
    CASES[case][0](dataset)
    done = ferry("push", dataset, "-p", "P", "-y", "--force")
    assert done.code == 7, done.text
    assert ferry("list").out.strip() == ""


def test_faulty_scans_stay_behind_with_their_reasons_and_all_others_go(ferry, dataset, tmp_path):
    for case in (
        "annexed image",
        "b-values too few",
        "sidecar is no JSON",
        "events without header",
        "files differ in case",
    ):
        CASES[case][0](dataset)
    done = ferry("push", dataset, "-p", "P", "-y", "--force")
    assert done.code == 7, done.text
    for words in ("git-annex", "2 b-values", "not JSON"):
        assert words in done.out
    assert ferry("pull", "P", tmp_path / "back", "--as", "bids").code == 0
    back, here = (
        {p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir()}
        for root in (tmp_path / "back", dataset)
    )
    assert back < here
    # What belongs to a scan stays behind with it, but for its sidecar and events: those are in resources of their own.
    assert {T1, f"{DWI}.nii.gz", f"{DWI}.bval", BOLD} <= here - back
    assert {
        FMAP,
        f"{DWI}.nii.gz".replace("01", "02"),
        BOLD.replace("01", "02"),
        "sub-01/anat/sub-01_t1w.nii.gz",
    } <= back


def test_a_sidecar_that_comes_later_takes_the_place_of_the_merged_one(ferry, dataset, tmp_path):
    assert ferry("push", dataset, "-p", "P", "-y", "--force").code == 0
    own = dataset / BOLD.replace(".nii.gz", ".json")
    own.write_text('{"EchoTime": 0.03}')
    plan = ferry("plan", dataset, "-p", "P", "--force")
    assert plan.code == 0, plan.text
    assert "replaces metadata that was merged" in plan.out
    assert ferry("push", dataset, "-p", "P", "-y", "--force").code == 0
    assert ferry("pull", "P", tmp_path / "back", "--as", "bids").code == 0
    assert (tmp_path / "back" / own.relative_to(dataset)).read_text() == own.read_text()
    own.write_text('{"EchoTime": 0.04}')
    assert ferry("push", dataset, "-p", "P", "-y", "--force").code == 6


#: One file of each level, its damage, and files beside it in the same resource.
LEVELS = {
    "project": ("participants.json", "{", ["README", "participants.tsv", "phenotype/ace.tsv"]),
    "project, a link": ("CHANGES", None, ["README", "participants.tsv"]),
    "subject": ("sub-03/sub-03_scans.json", "{", ["sub-03/sub-03_sessions.tsv", "sub-03/sub-03_sessions.json"]),
    "session": ("sub-01/sub-01_scans.json", "{", ["sub-01/sub-01_scans.tsv"]),
    "scan": (EVENTS, None, [BOLD]),
    "derivatives": ("derivatives/fmriprep/sub-01/anat/b.txt", None, ["derivatives/fmriprep/sub-01/anat/a.txt"]),
    "derivatives, all": ("derivatives/fmriprep/b.txt", None, ["derivatives/fmriprep/dataset_description.json"]),
}


@pytest.mark.parametrize("level", LEVELS)
def test_an_unusable_file_keeps_back_no_other(ferry, dataset, tmp_path, level):
    for name, content in {
        "README": "x", "CHANGES": "1.0", "participants.json": "{}", "phenotype/ace.tsv": "participant_id\tace\nsub-01\t1\n",
        "sub-01/sub-01_scans.tsv": f"filename\nanat/{Path(T1).name}\n", "sub-01/sub-01_scans.json": "{}",
        "sub-03/sub-03_sessions.tsv": "session_id\nses-1\nses-2\n", "sub-03/sub-03_sessions.json": "{}",
        "sub-03/sub-03_scans.json": "{}", "derivatives/fmriprep/dataset_description.json": "{}",
        "derivatives/fmriprep/sub-01/anat/a.txt": "a", "derivatives/fmriprep/sub-01/anat/b.txt": "b",
        "derivatives/fmriprep/b.txt": "b",
    }.items():  # fmt: skip
        text(name, content)(dataset)
    image(*(f"sub-03/ses-{n}/anat/sub-03_ses-{n}_T1w.nii.gz" for n in (1, 2)))(dataset)
    bad, content, others = LEVELS[level]
    (link if content is None else lambda name: text(name, content))(bad)(dataset)
    here = {p.relative_to(dataset).as_posix() for p in dataset.rglob("*") if not p.is_dir()}
    done = ferry("push", dataset, "-p", "P", "-y", "--force")
    assert done.code == 7, done.text
    assert bad in done.out, "the refused file is named"
    assert ferry("pull", "P", tmp_path / "back", "--as", "bids").code == 0
    back = {p.relative_to(tmp_path / "back").as_posix() for p in (tmp_path / "back").rglob("*") if p.is_file()}
    assert set(others) <= here
    assert here - back == {bad}
    again = ferry("push", dataset, "-p", "P", "-y", "--force")
    assert again.code == 7
    assert "Up to date" in again.out or "files are in the local archive" in again.out
