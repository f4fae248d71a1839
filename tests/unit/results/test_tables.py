"""Tables written and read back."""

from __future__ import annotations

import csv
import importlib.util
import zipfile
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.errors import DataError, UsageError
from xnatferry.results import tables
from xnatferry.results.tables import Grid, check_writable, pandas_frame, polars_frame, write_grid

ROWS = [("ann, A.", 1.5, None), ('"=1+1"', 526456.89097, 3.0), ("=HYPERLINK(1)", -2e-7, 12.0)]
GRID = Grid(("who", "value", "age"), frozenset({"value", "age"}), lambda: ROWS, len(ROWS))


@pytest.mark.parametrize(("ending", "delimiter"), [(".csv", ","), (".tsv", "\t")])
def test_text_comes_back(tmp_path: Path, ending: str, delimiter: str) -> None:
    path = tmp_path / f"table{ending}"
    write_grid(path, GRID, name="t")
    with path.open(newline="", encoding="utf-8") as stream:
        head, *rows = csv.reader(stream, delimiter=delimiter)
    assert head == ["who", "value", "age"]
    assert [(who, float(value), float(age) if age else None) for who, value, age in rows] == ROWS
    assert rows[1][2] == "3"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_exact(value: float) -> None:
    assert float(tables._text(value)) == value


def cells(path: Path, sheet: int) -> list[list[str]]:
    """What a spreadsheet holds, read from its XML: no reader of XLSX is needed to test ours."""
    space = {"s": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}
    with zipfile.ZipFile(path) as book:
        root = ET.fromstring(book.read(f"xl/worksheets/sheet{sheet}.xml"))
    assert not root.findall(".//s:f", space), "a text became a formula"
    return [
        ["".join(cell.itertext()) if cell.get("t") == "inlineStr" else cell.findtext("s:v", "", space) for cell in row]
        for row in root.findall(".//s:row", space)
    ]


def test_xlsx_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    second = Grid(("kind",), frozenset(), lambda: [("subject",)], 1)
    write_grid(path, GRID, name="aseg", second=("remarks", second))
    head, *rows = cells(path, 1)
    assert head == ["who", "value", "age"]
    assert [row[0] for row in rows] == [row[0] for row in ROWS]
    assert [float(row[1]) for row in rows] == [row[1] for row in ROWS]
    assert cells(path, 2) == [["kind"], ["subject"]]


def test_text_stays_text_in_xlsx(tmp_path: Path) -> None:
    texts = ["=1+1", "#N/A", "007", "2024-05-01", " a ", "a\x01b\x1f", "a\tb\nc"]
    write_grid(tmp_path / "t.xlsx", Grid(("=a",), frozenset(), lambda: [(text,) for text in texts], 7), name="t")
    assert cells(tmp_path / "t.xlsx", 1) == [["=a"], *([text] for text in texts[:5]), ["a_x0001_b_x001F_"], texts[6:]]
    sheet = zipfile.ZipFile(tmp_path / "t.xlsx").read("xl/worksheets/sheet1.xml").decode()
    assert sheet.count('t="inlineStr"') == 8
    assert 'ref="A1:A8"' in sheet
    assert 'topLeftCell="A2"' in sheet


def test_more_than_xlsx_holds(tmp_path: Path) -> None:
    path = tmp_path / "table.xlsx"
    path.write_text("as before")
    with pytest.raises(DataError, match=r"\.parquet"):
        write_grid(path, Grid(("a",), frozenset(), list, 2_000_000), name="t")
    assert path.read_text() == "as before"
    assert len(list(tmp_path.iterdir())) == 1


def test_parquet_comes_back(tmp_path: Path) -> None:
    polars = pytest.importorskip("polars")
    write_grid(tmp_path / "table.parquet", GRID, name="t")
    frame = polars.read_parquet(tmp_path / "table.parquet")
    assert frame.rows() == ROWS
    assert frame.schema == {"who": polars.String, "value": polars.Float64, "age": polars.Float64}
    assert polars_frame(GRID).equals(frame)


def test_pandas(tmp_path: Path) -> None:
    frame = pandas_frame(GRID)
    assert list(frame["value"]) == [row[1] for row in ROWS]
    assert frame["age"].isna().tolist() == [True, False, False]
    assert str(frame["age"].dtype) == "float64"
    assert pandas_frame(Grid(("a", "b"), frozenset({"b"}), list, 0)).shape == (0, 2)


def test_without_polars(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'xnatferry\[tables\]'"):
        check_writable(tmp_path / "table.parquet")
    with pytest.raises(UsageError, match="pandas"):
        pandas_frame(GRID)
    check_writable(tmp_path / "table.xlsx")


@pytest.mark.parametrize("name", ["table", "table.ods", "no/such/folder.csv", "folder.csv"])
def test_where_nothing_can_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(UsageError):
        check_writable(tmp_path / name)
