"""An archive that the first version made opens with this one, and everything in it is there and right."""

import hashlib
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from xnatferry.server.archive import running_archive
from xnatferry.server.audit import audit

FIRST = Path(__file__).resolve().parents[1] / "data" / "first-archive" / "archive.tar.gz"


@pytest.fixture
def old(tmp_path):
    with tarfile.open(FIRST) as packed:
        packed.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return tmp_path / "archive"


def migrations(root: Path) -> list[int]:
    with closing(sqlite3.connect(root / "metadata.sqlite")) as database:
        return [number for (number,) in database.execute("SELECT number FROM migrations ORDER BY number")]


def test_the_first_archive_opens_with_all_that_was_in_it(old):
    assert migrations(old) == [1, 10, 20, 25], "the test data is what the first version made"
    with running_archive(old) as running, httpx2.Client(base_url=running.url, auth=("admin", "first-archive")) as http:

        def rows(path, **query):
            answer = http.get(f"/data{path}", params={"format": "json", **query})
            assert answer.status_code == 200, answer.text
            return answer.json()["ResultSet"]["Result"]

        assert {(row["ID"], row["name"], row["description"]) for row in rows("/projects")} == {
            ("OLD", "Old data", "made by the first version"),
            ("OTHER", "OTHER", ""),
        }
        subjects = rows("/projects/OLD/subjects", columns="label,gender,yob,age")
        assert {(row["label"], row["gender"], row["yob"]) for row in subjects} == {
            ("s01", "female", "1970"),
            ("s02", "male", ""),
        }
        assert [row["label"] for row in rows("/projects/OTHER/subjects")] == ["shared01"]
        sessions = rows("/projects/OLD/experiments", columns="ID,label,date,xsiType,note,subject_label")
        assert {(row["label"], row["date"], row["note"]) for row in sessions} == {
            ("s01_MR1", "2020-01-02", "écrit ici"),
            ("s02_MR1", "2020-01-02", "écrit ici"),
        }
        (scan,) = rows("/experiments/" + sessions[0]["ID"] + "/scans")
        assert (scan["ID"], scan["type"], scan["quality"]) == ("1", "T1w", "usable")
        # as XNAT keeps what came in by a query (TurbineUtils.escapeParam)
        assert scan["series_description"] == "T1 &lt;MPRAGE&gt; &amp; more"

        for subject in ("s01", "s02"):
            (file,) = rows(f"/projects/OLD/subjects/{subject}/experiments/{subject}_MR1/scans/1/files")
            body = http.get(file["URI"]).content
            assert body == (subject * 400).encode()
            assert file["digest"] == hashlib.md5(body).hexdigest()
        unpacked = rows("/projects/OLD/subjects/s01/experiments/s01_MR1/resources/FREESURFER7/files")
        assert {(row["Name"], row["Size"]) for row in unpacked} == {
            ("aseg.stats", "15"),
            ("aseg.mgz", "600"),
            ("empty.done", "0"),
        }
        # XNAT lists protected projects to every account (recorded: 1.8.11).
        reader = httpx2.get(f"{running.url}/data/projects", auth=("reader", "reader-pw"), params={"format": "json"})
        assert [row["ID"] for row in reader.json()["ResultSet"]["Result"]] == ["OLD", "OTHER"]
        assert http.put("/data/projects/OLD/subjects/s03").status_code == 201
    assert set(migrations(old)) > {1, 10, 20, 25}


def test_its_files_agree_with_its_metadata(old):
    with running_archive(old):
        pass
    found = audit(old, deep=True)
    assert found.clean, found.findings
    assert found.files == 5


def test_the_command_line_works_on_it(ferry, old, tmp_path):
    env = {"XNATFERRY_ROOT": str(old)}
    assert "s02_MR1" in ferry("list", "OLD", env=env).out
    done = ferry("pull", "OLD/s01", tmp_path / "back", env=env)
    assert done.code == 0, done.text
    assert sum(path.is_file() for path in (tmp_path / "back").rglob("*")) == 4
