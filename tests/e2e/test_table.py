"""A draft of a folder, edited by a person, pushed."""

import csv
import shutil
from pathlib import Path

import pytest
from openpyxl import load_workbook

from tests.e2e.conftest import write_image

DATA = Path(__file__).parents[1] / "data"


def edit(path, file, column, value):
    """Change one cell as a person would."""
    if path.suffix == ".xlsx":
        book = load_workbook(path)
        rows = book.worksheets[0]
        names = [cell.value for cell in rows[1]]
        for row in rows.iter_rows(min_row=2):
            if row[0].value == file:
                row[names.index(column)].value = value
        book.save(path)
        return
    delimiter = "\t" if path.suffix == ".tsv" else ","
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter=delimiter))
    for row in rows:
        if row["file"] == file:
            row[column] = value
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize("ending", ["csv", "tsv", "xlsx"])
def test_draft_edit_push(ferry, images, tmp_path, ending):
    draft = tmp_path / f"draft.{ending}"
    (images / "ann" / "T3.nii.gz").write_bytes(b"")
    done = ferry("table", images, "-o", draft, "--json")
    assert done.code == 0, done.text
    assert done.record("draft") == {
        "record": "draft", "file": str(draft), "rows": 5, "doubtful": 1, "kept": 0, "gone": 0,
    }  # fmt: skip
    edit(draft, "images/ann/T1w.nii.gz", "subject", "anna")
    if ending == "csv":
        assert "1.5 x 1.5 x 3.0,8 x 9 x 5," in draft.read_text()
    (images / "ann" / "T3.nii.gz").unlink()
    write_image(images / "cid" / "T1w.nii.gz", seed=7)
    again = ferry("table", images, "-o", draft)
    assert "6 rows, 1 to check (column 'check'), edits of 1 row kept, 1 file no longer found" in again.out
    (images / "ann" / "T3.nii.gz").write_bytes(b"")
    done = ferry("push", draft, "--as", "table", "-p", "P", "-y")
    assert done.code == 7
    assert "! images/ann/T3.nii.gz  the file is empty" in done.out
    assert "TAB03" not in done.text
    people = {r["address"] for r in ferry("list", "P", "--json").records if r["record"] == "subject"}
    assert people == {"P/anna", "P/ann", "P/bob", "P/cid"}
    edit(draft, "images/bob/T1w.nii.gz", "date", "yesterday")
    assert "TAB07" in (told := ferry("check", draft).text)
    assert f"{draft.name}, line 4" in told


def test_what_cannot_be_drafted(ferry, images, tmp_path):
    assert ferry("table", images, "-o", tmp_path / "draft.doc").code == 2
    assert ferry("table", images, "-o", tmp_path / "draft.parquet").code == 2
    other = tmp_path / "other.csv"
    other.write_text("name,age\nann,3\n")
    done = ferry("table", images, "-o", other)
    assert done.code == 7
    assert other.read_text() == "name,age\nann,3\n"
    broken = tmp_path / "broken.xlsx"
    broken.write_bytes(b"no spreadsheet")
    assert ferry("push", broken, "-p", "P", "-y").code == 7


def cells(path):
    """The rows of a draft by file, as any spreadsheet program shows them."""
    first, *rest = load_workbook(path).worksheets[0].iter_rows(values_only=True)
    return {row[0]: {name: value or "" for name, value in zip(first, row, strict=True)} for row in rest}


@pytest.fixture
def legacy(tmp_path):
    """Real images as legacy folders hold them: time series, a pair, diffusion, damaged ones."""
    root = tmp_path / "legacy"
    for subject, folder, names in (
        ("walker", "nibabel", ["functional.nii", "anatomical.nii"]),
        ("dora", "dipy", ["small_25.nii.gz", "small_25.bval", "small_25.bvec"]),
        ("odd", "odd-derived", ["nifti1_pair.hdr", "nifti1_pair.img", "analyze75_pair.hdr", "analyze75_pair.img"]),
        ("odd", "odd-derived", ["truncated_stream.nii.gz"]),
    ):
        (root / subject).mkdir(parents=True, exist_ok=True)
        for name in names:
            shutil.copyfile(DATA / "nifti" / folder / name, root / subject / name)
    return root


def test_header_facts_and_doubts_stand_beside_each_image(ferry, legacy, tmp_path):
    draft = tmp_path / "draft.xlsx"
    done = ferry("table", legacy, "-o", draft)
    assert done.code == 0, done.text
    rows = cells(draft)
    bold = rows["legacy/walker/functional.nii"]
    assert (bold["subject"], bold["frames"], bold["tr_ms"], bold["matrix"]) == ("walker", "20", "2000.0", "17 x 21 x 3")
    assert rows["legacy/dora/small_25.nii.gz"]["frames"] == "26"
    assert rows["legacy/odd/nifti1_pair.hdr"]["matrix"] == "17 x 21 x 3"
    assert "legacy/odd/nifti1_pair.img" not in rows
    assert rows["legacy/odd/nifti1_pair.hdr"]["check"].startswith("warning NII16")
    assert rows["legacy/odd/analyze75_pair.hdr"]["check"].startswith("error NII15")
    assert rows["legacy/odd/truncated_stream.nii.gz"]["check"].startswith("error NII09")
    edit(draft, "legacy/odd/nifti1_pair.hdr", "subject", "paula")
    edit(draft, "legacy/odd/nifti1_pair.hdr", "type", "T1 MPRAGE")
    assert "edits of 1 row kept" in ferry("table", legacy, "-o", draft).out
    done = ferry("push", draft, "-p", "P", "-y")
    assert done.code == 7
    assert "2 sources refused" in done.out
    files = ferry("list", "P/paula/paula_MR1/scans/1/resources/NIFTI", "--json").records
    assert {r["address"].rpartition("/")[2] for r in files if r["record"] == "file"} == {
        "nifti1_pair.hdr",
        "nifti1_pair.img",
    }


def test_what_most_files_share_marks_none_of_them(ferry, images, tmp_path):
    for number in range(4):
        shutil.copyfile(DATA / "nifti" / "odd-derived" / "complex64.nii.gz", images / f"c{number}.nii.gz")
        with (images / f"c{number}.nii.gz").open("ab") as stream:  # so that no two are alike
            stream.write(bytes([number]))
    shutil.rmtree(images / "bob")
    done = ferry("table", images, "-o", tmp_path / "draft.csv")
    assert "4 of 6 files: warning NII16: no unit of length is set" in done.out
    assert "NII16" not in (tmp_path / "draft.csv").read_text()


def test_freesurfer_subjects_are_drafted_edited_and_pushed(ferry, tmp_path):
    subjects = tmp_path / "subjects"
    shutil.copytree(DATA / "freesurfer7" / "sub-001", subjects / "sub-001", copy_function=shutil.copyfile)
    shutil.copytree(DATA / "freesurfer6" / "subject1", subjects / "subject1", copy_function=shutil.copyfile)
    draft = tmp_path / "draft.csv"
    assert ferry("table", subjects, "-o", draft).code == 0
    with draft.open(newline="") as stream:
        rows = {row["file"]: row for row in csv.DictReader(stream)}
    assert {file: (row["subject"], row["resource"]) for file, row in rows.items()} == {
        "subjects/sub-001": ("001", "FREESURFER7"),
        "subjects/subject1": ("subject1", "FREESURFER6"),
    }
    assert "error FS01" in rows["subjects/sub-001"]["check"]
    edit(draft, "subjects/subject1", "subject", "002")
    edit(draft, "subjects/subject1", "session", "002_base")
    assert ferry("push", draft, "-p", "P", "-y").code == 7
    done = ferry("push", draft, "-p", "P", "-y", "--allow-incomplete")
    assert done.code == 0, done.text
    resources = {r["address"] for r in ferry("list", "P", "--json").records}
    assert {"P/001/001_MR1", "P/002/002_base"} <= resources


def test_a_draft_by_template_says_what_the_template_reads(ferry, tmp_path):
    write_image(tmp_path / "in" / "old_7" / "AB12_t1_x.nii.gz")
    draft = tmp_path / "draft.csv"
    template = r"re:old_[0-9]+/(?P<subject>[A-Z]{2}[0-9]+)_(?P<type>t1|flair)(?:_.*)?\.nii(?:\.gz)?"
    assert ferry("table", tmp_path / "in", "--template", template, "-o", draft).code == 0
    with draft.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["subject"], row["type"]) == ("AB12", "t1")
    done = ferry("push", draft, "--template", "{subject}.nii", "-p", "P", "-y")
    assert done.code == 2
    assert "the columns of the table are used" in done.err
