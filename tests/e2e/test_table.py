"""A draft of a folder, edited by a person, pushed."""

import csv

import pytest
from openpyxl import load_workbook

from tests.e2e.conftest import write_image


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
    assert "6 rows, 1 to look at (column 'check'), your edits of 1 row kept, 1 file not found any more" in again.out
    (images / "ann" / "T3.nii.gz").write_bytes(b"")
    done = ferry("push", draft, "--as", "table", "-p", "P", "-y")
    assert done.code == 7
    assert "! images/ann/T3.nii.gz  it is empty" in done.out
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
