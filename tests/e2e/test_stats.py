"""`xnatferry stats` as a user types it."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def subjects_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "subjects"
    for name in ("sub-001", "sub-002"):
        shutil.copytree(DATA / "freesurfer7" / name, folder / name)
    return folder


@pytest.fixture
def home(ferry):
    return {"XNATFERRY_CACHE": str(ferry.home / "cache")}


def test_a_project(ferry, home, subjects_dir: Path, tmp_path: Path) -> None:
    assert ferry("push", subjects_dir, "-p", "BRAIN", "--allow-incomplete", "-y", "-q").code == 0
    target = tmp_path / "aparc.csv"
    first = ferry("stats", "aparc", "BRAIN", "-o", target, env=home)
    assert first.code == 0, first.text
    assert "aparc of 2 subjects" in first.out
    assert "4 files fetched, 0 from the cache" in first.out
    with target.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["project"], row["subject"], row["resource"], row["fs_version"]) for row in rows} == {
        ("BRAIN", "001", "FREESURFER7", "7.4.1"),
        ("BRAIN", "002", "FREESURFER7", "7.4.1"),
    }
    (thickness,) = [r for r in rows if (r["subject"], r["side"], r["region"]) == ("001", "left", "MeanThickness")]
    assert (thickness["measurement"], thickness["value"], thickness["unit"]) == ("Thickness_mm", "2.50118", "mm")
    assert (ferry.home / "cache" / "stats").stat().st_mode & 0o077 == 0

    second = ferry("stats", "aparc", "BRAIN", "-o", target, "--json", env=home)
    result = second.record("result")
    assert (result["fetched_files"], result["cached_files"], result["rows"]) == (0, 4, len(rows))

    wide = ferry("stats", "aparc", "BRAIN/001", "--wide", "--measure", "thickness", env=home)
    (row,) = csv.DictReader(io.StringIO(wide.out))
    assert row["lh_MeanThickness_thickness"] == "2.50118"
    assert "eTIV" not in row

    missing = ferry("stats", "hippo", "BRAIN", "-o", tmp_path / "hippo.csv", env=home)
    assert missing.code == 4
    assert not (tmp_path / "hippo.csv").exists()
    assert "001_MR1" in missing.err


def test_a_folder_without_a_server(ferry, subjects_dir: Path, tmp_path: Path) -> None:
    (subjects_dir / "sub-002" / "stats" / "aseg.stats").write_bytes(b"")
    for ending in ("tsv", "xlsx"):
        done = ferry("stats", "aseg", subjects_dir, "-o", tmp_path / f"aseg.{ending}", "-q")
        assert done.code == 1
        assert "sub-002: sub-002/stats/aseg.stats: the file is empty" in done.err
        assert (tmp_path / f"aseg.{ending}").stat().st_size > 5000
    assert not (ferry.home / "archive").exists()
    records = ferry("stats", "aseg", subjects_dir, "--json").records
    assert [r["where"] for r in records if r["record"] == "remark"] == ["sub-002"]
    rows = [r for r in records if r["record"] == "row"]
    assert {"subject": "001", "session": "001_MR1", "region": "eTIV", "value": 1626503.552457}.items() <= rows[
        19
    ].items()
    assert records[-1] == {**records[-1], "record": "result", "exit_code": 1, "rows": len(rows), "missing": 1}


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("aseg", "./none"), 4, "folder not found"),
        (("aseg", "NONE"), 4, "project not found"),
        (("aseg", "A/B/C/D"), 2, "not an address"),
        (("asge", "NONE"), 2, "asge"),
        (("aseg", "NONE", "-o", "table.doc"), 2, ".parquet"),
        (("aseg", "NONE", "-o", "no/such/table.csv"), 2, "does not exist"),
        (("aseg", "{folder}", "--measure", "weight"), 2, "no measurement 'weight'"),
    ],
)
def test_what_cannot_be_done_is_said(ferry, home, subjects_dir: Path, arguments, code: int, words: str) -> None:
    done = ferry("stats", *(str(a).format(folder=subjects_dir) for a in arguments), env=home)
    assert done.code == code, done.text
    assert words in done.err
