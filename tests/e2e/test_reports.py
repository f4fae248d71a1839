"""Reports of FreeSurfer subjects as a user asks for them."""

import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[1] / "data"


@pytest.fixture
def subjects(tmp_path):
    for name in ("sub-001", "sub-002"):
        shutil.copytree(DATA / "freesurfer7" / name, tmp_path / "subjects" / name, copy_function=shutil.copyfile)
    return tmp_path / "subjects"


def test_check_writes_one_page_and_still_checks(ferry, subjects, tmp_path):
    page = tmp_path / "report.html"
    done = ferry("check", subjects, "--report", page)
    assert done.code == 7  # files are missing, and the page says so
    text = page.read_text(encoding="utf-8")
    assert "sub-001" in text
    assert "sub-002" in text
    assert text.startswith("<!DOCTYPE html>")
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_page_that_cannot_be_written_is_said_before_anything_is_read(ferry, subjects, images, tmp_path):
    for wrong in (tmp_path / "report.txt", tmp_path, tmp_path / "none" / "report.html"):
        done = ferry("check", subjects, "--report", wrong)
        assert done.code == 2, done.text
        assert "found" not in done.out
    nothing = ferry("check", images, "--report", tmp_path / "x.html")
    assert nothing.code == 7
    assert not (tmp_path / "x.html").exists()


def test_reports_are_attached_once_and_taken_back(ferry, subjects):
    arguments = ("push", subjects, "-p", "P", "--attach-report", "--allow-incomplete", "-y", "--json")
    pushed = ferry(*arguments)
    assert pushed.code == 0, pushed.text
    there = {r["address"]: r for r in pushed.records if r["record"] == "step" and "VALIDATION/" in r["address"]}
    assert {address.rpartition("/")[2] for address in there} == {"FREESURFER7.html", "FREESURFER7.json"}
    again = ferry(*arguments)
    assert again.record("result")["sent_files"] == 0
    assert {r["decision"] for r in again.records if r["record"] == "step"} == {"same"}
    assert ferry("undo", pushed.record("result")["run"], "-y").code == 0
    assert "001" not in ferry("list", "P").out


def test_pdf_needs_its_extra_and_says_so(ferry, subjects, tmp_path):
    weasyprint = pytest.importorskip("weasyprint", exc_type=ImportError)
    assert weasyprint
    done = ferry("check", subjects, "--report", tmp_path / "report.pdf")
    assert done.code == 7, done.text
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
