"""Statistics files of FreeSurfer 6 and 7, whole and broken."""

from __future__ import annotations

import math
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xnatferry.freesurfer.stats_file import StatisticsError, read_stats, read_volumes

DATA = Path(__file__).parents[2] / "data"
SIX, SEVEN = DATA / "freesurfer6/subject1/stats", DATA / "freesurfer7/sub-001/stats"
EVERY = sorted(path for folder in (SIX, SEVEN) for path in folder.glob("*.stats") if ".curv." not in path.name)


@pytest.mark.parametrize("path", EVERY, ids=lambda path: f"{path.parts[-3]}-{path.name}")
def test_every_sample_file_is_read_whole(path: Path) -> None:
    stats = read_stats(path.read_bytes())
    assert bool(stats.rows) is (path.name != "brainvol.stats")
    assert all(len(row) == len(stats.columns) for row in stats.rows)
    assert stats.fields.get("subjectname", path.parts[-3]) == path.parts[-3]
    assert len(stats.measures) == path.read_text().count("# Measure ")


def test_measures_have_their_units() -> None:
    stats = read_stats((SEVEN / "lh.aparc.stats").read_bytes())
    assert stats.measures["MeanThickness"] == 2.50118
    assert stats.measure_units["MeanThickness"] == "mm"
    assert stats.column_units["GausCurv"] == "mm^-2"
    assert "StructName" not in stats.column_units


def test_the_comma_that_freesurfer_forgets() -> None:
    content = (SIX / "lh.aparc.stats").read_bytes()
    assert b"# Measure Cortex, CortexVol Total cortical gray matter volume, 536883.609483, mm^3\n" in content
    assert read_stats(content).measures["CortexVol"] == 536883.609483


def test_commas_in_a_description() -> None:
    stats = read_stats(b"# Measure A, AVol, Volume, of A, really, 12.5, mm^3\n")
    assert stats.measures == {"AVol": 12.5}


def test_freesurfer_5_does_not_count_the_column_snr() -> None:
    head = b"# NTableCols 10\n# ColHeaders Index SegId NVertices Area_mm2 StructName Mean StdDev Min Max Range SNR\n"
    stats = read_stats(head + b"1 1001 1200 800.1 bankssts 22.5 4.1 1.0 50.0 49.0 5.4\n")
    assert stats.column("SNR") == [5.4]
    with pytest.raises(StatisticsError, match="9 columns and names 11"):
        read_stats(head.replace(b"10", b"9"))


def test_line_ends_of_windows() -> None:
    content = (SIX / "aseg.stats").read_bytes()
    assert read_stats(content.replace(b"\n", b"\r\n")) == read_stats(content)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"# Measure A, AVol, Volume, none, mm^3\n", "no number"),
        (b"# Measure A\n", "no number"),
        (b"# Measure A, AVol, Volume, 1500000,5, mm^3\n", "no number"),
        (b"# Measure A, AVol, Volume, 1_500, mm^3\n", "no number"),
        ("# Measure A, AVol, Volume, \u0661\u0665, mm^3\n".encode(), "no number"),
        (b"# Measure A, AVol, Volume, 1, mm^3\n# Measure A, AVol, Volume, 2, mm^3\n", "two values, 1 and 2"),
        (b"# ColHeaders A StructName\n1,5 x\n", "A in the row '1,5 x' is '1,5', not a number"),
        (b"# NRows 2\n# ColHeaders A B\n1 2\n", "2 rows, the file has 1"),
        (b"# NTableCols 3\n# ColHeaders A B\n1 2\n", "3 columns"),
        (b"# ColHeaders A B\n1\n", "1 cells"),
        (b"# ColHeaders A B\n1 2", "incomplete"),
    ],
)
def test_what_is_refused(content: bytes, why: str) -> None:
    with pytest.raises(StatisticsError, match=why):
        read_stats(content)


@given(st.integers(0, 10_000))
def test_a_file_cut_anywhere_is_refused_or_loses_no_digit(at: int) -> None:
    """Whatever is read from a part of a file is in the whole file: no number is a piece of another."""
    content = (SEVEN / "aseg.stats").read_bytes()
    whole = read_stats(content)
    try:
        part = read_stats(content[:at])
    except StatisticsError:
        return
    assert set(part.rows) <= set(whole.rows)
    assert part.measures.items() <= whole.measures.items()


@given(st.binary(max_size=400))
def test_rubbish_is_read_or_refused(content: bytes) -> None:
    for prefix in (b"", b"# ColHeaders StructName A\n", b"# Measure "):
        for read in (read_stats, read_volumes):
            with suppress(StatisticsError):
                read(prefix + content)


NAMES = st.text("abcXYZ_-019()/", min_size=1, max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(NAMES, NUMBERS, max_size=8))
def test_volumes_come_back(volumes: dict[str, float]) -> None:
    text = "".join(f"{name} {value!r}\n" for name, value in volumes.items())
    assert read_volumes(text.encode()) == volumes


@given(st.dictionaries(NAMES, st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8), st.dictionaries(NAMES, NUMBERS))
def test_statistics_come_back(rows: dict[str, tuple[float, float]], measures: dict[str, float]) -> None:
    text = "".join(f"# Measure X, {name}, Words, more words, {value!r}, mm^3\n" for name, value in measures.items())
    text += f"# NRows {len(rows)}\n# ColHeaders StructName A B\n"
    text += "".join(f"{name}  {a!r} {b!r}\n" for name, (a, b) in rows.items())
    stats = read_stats(text.encode())
    assert stats.measures == measures
    assert stats.column("A") == [a for a, _ in rows.values()]
    assert [row[0] for row in stats.rows] == list(rows)


@pytest.mark.parametrize("text", ["a 1\na 2\n", "a 1,5\n", "a 1_5\n", "a\n", "a b\n", "1\n", "a 1"])
def test_volumes_that_are_refused(text: str) -> None:
    with pytest.raises(StatisticsError):
        read_volumes(text.encode())


def test_no_number_is_kept_as_such() -> None:
    assert math.isnan(read_volumes(b"a nan\n")["a"])
