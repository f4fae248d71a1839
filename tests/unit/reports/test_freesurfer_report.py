"""The page about FreeSurfer subjects: true, whole, harmless, and the same every time."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from xnatferry.errors import DataError
from xnatferry.reports.freesurfer_report import read_report
from xnatferry.sources.freesurfer import discover_freesurfer

DATA = Path(__file__).resolve().parents[2] / "data"
VOID = {"meta", "img", "br", "line", "rect", "circle"}


@pytest.fixture(scope="module")
def subjects(tmp_path_factory):
    """Seven people with the statistics of one, a little changed; the last has half a cortex and a name for mischief."""
    root = tmp_path_factory.mktemp("subjects")
    for number, name in enumerate([*(f"sub-{n}" for n in range(1, 7)), "<img src=x onerror=alert(1)>"]):
        folder = root / name
        shutil.copytree(DATA / "freesurfer7" / "sub-001", folder, copy_function=shutil.copyfile)
        share = 0.5 if number == 6 else 1 + number / 100
        for file in folder.glob("stats/?h.aparc.stats"):
            text = re.sub(
                r"(?<=MeanThickness, Mean Thickness, )[\d.]+",
                lambda m, share=share: str(float(m[0]) * share),
                file.read_text(),
            )
            file.write_text(text)
    shutil.copytree(DATA / "freesurfer6" / "subject1", root / "subject1", copy_function=shutil.copyfile)
    return root


@pytest.fixture(scope="module")
def report(subjects):
    return read_report(discover_freesurfer(subjects).sources, "Report of the study")


class Page(HTMLParser):
    """Tags, and whether all are closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def test_the_page_holds_everything_and_runs_nothing(report):
    text = report.html()
    page = Page(text)
    assert page.open == []
    assert "script" not in page.seen
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    for name, value in page.attributes:
        if name in {"src", "href"}:
            assert value.startswith(("data:", "#")), value
    assert "url(" not in text
    assert page.seen.count("img") == 1  # the segmentation of subject1; the name that looks like an image is none
    assert "&lt;img src=x onerror" in text


def test_the_same_subjects_give_the_same_bytes(report, subjects):
    again = read_report(discover_freesurfer(subjects).sources, "Report of the study")
    assert again.html() == report.html()
    source = report.subjects[0].source
    assert [file.digest for file in again.files(source)] == [file.digest for file in report.files(source)]


def test_the_odd_one_out_is_named(report):
    odd = next(one for one in report.subjects if "alert" in one.name)
    found = {(where, what) for where, what, *_ in report.outliers(odd)}
    assert {("left MeanThickness", "Thickness_mm"), ("right MeanThickness", "Thickness_mm")} <= found
    (z,) = [z for where, _, _, _, z in report.outliers(odd) if where == "left MeanThickness"]
    assert z < -3.5
    assert report.outliers(next(one for one in report.subjects if one.name == "sub-3")) == []


def test_a_check_that_could_not_be_made_has_not_passed(report):
    rows = {row.id: row for row in next(one for one in report.subjects if one.name == "sub-1").checks}
    assert rows["FS01"].result == "error"
    assert rows["FS02"].result == "passed"
    assert rows["FS05"].result == "not checked"
    assert rows["FS07"].result == "not checked"
    assert "mri/ contains no volume" in next(one for one in report.subjects if one.name == "sub-1").note


def test_versions_and_times_are_told_and_nobodys_name(report):
    one = next(one for one in report.subjects if one.name == "sub-1")
    assert one.attributes["version"] == "7.4.1"
    assert one.attributes["hours"] == "9.000"
    assert "d0db95021450" not in report.html()


def test_the_page_of_one_subject_compares_it_with_all(report):
    page = report.html(only="sub-2")
    assert "Compared with 7 other subjects" in page
    assert page.count('class="own"') >= 8
    assert 'id="subject-2"' not in page
    assert "sub-3" not in page
    record = report.record(next(one for one in report.subjects if one.name == "sub-2"))
    assert (record["subject"], record["compared_with"], record["refused"]) == ("sub-2", 7, True)


def test_an_archive_has_numbers_and_no_pictures(tmp_path, subjects):
    shutil.copytree(subjects / "sub-1", tmp_path / "sub-1")
    packed = shutil.make_archive(str(tmp_path / "packed"), "zip", tmp_path, "sub-1")
    report = read_report(discover_freesurfer(Path(packed)).sources, "one")
    assert report.subjects[0].values
    assert "is an archive" in report.subjects[0].note


def test_without_subjects_there_is_no_report():
    with pytest.raises(DataError, match="no FreeSurfer subject found"):
        read_report([], "nothing")
