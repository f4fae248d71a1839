"""Folders as they grow over ten years: what could be meant otherwise is told, in words that say which file and why."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import write_image


@pytest.fixture
def by_type(tmp_path):
    """Images sorted by kind: the folder is no subject."""
    root = tmp_path / "legacy"
    for number, name in enumerate(("T1/S04", "T1/S05", "T2/S04")):
        write_image(root / f"{name}.nii.gz", seed=number)
    return root


def subjects_in(ferry, project):
    return {r["address"] for r in ferry("list", project, "--json").records if r["record"] == "subject"}


def test_a_folder_named_as_a_kind_of_image_is_no_subject_without_being_asked(ferry, by_type):
    done = ferry("push", by_type, "-p", "P", "-y")
    assert done.code == 7
    assert "the folder 'T1' would be the subject" in done.out
    assert "--template '{type}/{subject}.nii.gz'" in done.out
    assert ferry("list").out.strip() == ""
    done = ferry("push", by_type, "-p", "P", "-y", "--template", "{type}/{subject}.nii.gz")
    assert done.code == 0, done.text
    assert subjects_in(ferry, "P") == {"P/S04", "P/S05"}


def test_a_subject_that_is_said_settles_it(ferry, by_type):
    done = ferry("push", by_type, "-p", "P", "-y", "--subject", "all")
    assert done.code == 0, done.text
    assert subjects_in(ferry, "P") == {"P/all"}


def test_folders_that_are_not_used_are_told(ferry, tmp_path):
    write_image(tmp_path / "in" / "old" / "backup" / "S02" / "x.nii.gz")
    done = ferry("check", tmp_path / "in")
    assert done.code == 0
    assert "NII27" in done.text
    assert "the folder 'S02' is not used" in done.text


def test_subjects_that_differ_in_case_are_named_as_subjects(ferry, tmp_path):
    for number, name in enumerate(("S01", "s01")):
        write_image(tmp_path / "in" / name / "T1.nii.gz", seed=number)
    done = ferry("plan", tmp_path / "in", "-p", "P")
    assert "subject labels 'S01', 's01' differ only in case" in done.out
    assert "session labels" not in done.out


def test_a_refusal_for_a_file_beside_the_image_names_that_file(ferry, images):
    (images / "ann" / "T1w.json").write_text("{'a': 1}")
    done = ferry("plan", images, "-p", "P")
    assert "! ann/T1w.nii.gz  T1w.json: the file is not JSON" in done.out


def test_notes_that_are_not_shown_are_counted_and_can_be_asked_for(ferry, images):
    (images / "readme.txt").write_text("x")
    assert "2 notes (-v shows" in ferry("check", images).text  # that, and that heads have faces
    assert "readme.txt" in ferry("check", images, "-v").text
