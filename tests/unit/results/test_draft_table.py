"""What is written as a draft is read back as it was."""

from __future__ import annotations

import tempfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xnatferry.results.draft_table import Draft, cell_of
from xnatferry.results.tables import write_grid
from xnatferry.sources.table import read_lines

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Zs", "Zl", "Zp")), max_size=12)


@pytest.mark.parametrize("ending", ["csv", "tsv", "xlsx"])
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.tuples(WORDS.filter(bool), WORDS, WORDS), min_size=1, max_size=5))
def test_parse_of_write_is_the_same(ending: str, rows: list[tuple[str, str, str]]) -> None:
    columns = ("file", "subject", "type")
    draft = Draft(columns, tuple(dict(zip(columns, row, strict=True)) for row in rows))
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / f"draft.{ending}"
        write_grid(table, draft.grid, name="images")
        lines, _, problem = read_lines(table)
    assert problem is None
    assert lines[0][1] == list(columns)
    assert [line for line, _ in lines] == list(range(1, len(rows) + 2))
    assert [tuple(cells + [""] * (3 - len(cells))) for _, cells in lines[1:]] == rows


PARTS = st.lists(
    st.text("abAB .-ü", min_size=1, max_size=6).filter(lambda part: part.strip(" .")), min_size=1, max_size=3
)


@given(st.sampled_from([PurePosixPath("/"), PureWindowsPath("D:/"), PureWindowsPath("//server/share")]), PARTS, PARTS)
def test_a_cell_leads_from_the_table_to_the_file(root, home: list[str], file: list[str]) -> None:
    table, path = root.joinpath(*home), root.joinpath(*file, "T1.nii")
    cell = cell_of(path, table)
    assert "\\" not in cell
    walked = [*table.parts]
    for part in cell.split("/"):
        if part == "..":
            walked.pop()
        else:
            walked.append(part)
    assert type(root)(*walked) == path


def test_a_file_on_another_drive_is_named_from_its_drive() -> None:
    there = PureWindowsPath("E:/mri/T1.nii")
    assert cell_of(there, PureWindowsPath("D:/tables")) == "E:/mri/T1.nii"
    assert PureWindowsPath("D:/tables") / "E:/mri/T1.nii" == there
