"""Tables from servers of two ages: what is asked for, what is kept, what a fault does."""

import json
from pathlib import Path

import pytest
from peer import OLD, Reply, Thing, busy, page

from xnatferry.errors import AuthenticationError, NotFoundError, UnavailableError
from xnatferry.results.operations import stats
from xnatferry.results.stats_table import RemarkKind

DATA = Path(__file__).parents[1] / "data"
STATS = r"/files/.*\.stats"


def store(remote, subject, folder, *, label="FREESURFER7", session=None, names=None, tags=""):
    """Put statistics into a session's resource, with the folder as top folder."""
    from xnatferry.xnat.model import Address

    session = session or f"{subject}_MR1"
    at = Address("P", subject, session)
    remote.ensure_project("P")
    remote.ensure_session(at)
    for path in [*sorted(folder.glob("stats/*aparc.stats")), folder / "stats/aseg.stats"]:
        if names is None or path.name in names:
            content = path.read_bytes()
            file = Address("P", subject, session, resource=label, file=f"{folder.name}/stats/{path.name}")
            remote.send_file(file, lambda content=content: [content], len(content))


@pytest.fixture
def filled(peer, remote):
    store(remote, "s6", DATA / "freesurfer6/subject1", label="FREESURFER6")
    store(remote, "s7", DATA / "freesurfer7/sub-001")
    return peer


def kinds(table):
    return sorted((remark.kind.value, remark.where) for remark in table.remarks)


def test_a_second_call_fetches_nothing(filled, remote, era, tmp_path):
    first = stats("aparc", "P", remote, cache=tmp_path / "cache")
    assert [entry.place.subject for entry in first.entries] == ["s6", "s7"]
    assert [entry.place.resource for entry in first.entries] == ["FREESURFER6", "FREESURFER7"]
    assert [entry.place.fs_version for entry in first.entries] == ["6", "7.4.1"]
    assert len(filled.seen("GET", STATS)) == first.fetched_files == 4
    filled.requests.clear()
    second = stats("aparc", "P", remote, cache=tmp_path / "cache")
    assert second.entries == first.entries
    assert not filled.seen("GET", STATS)
    assert (second.fetched_files, second.cached_files) == (0, 4)
    # Subjects, sessions, and one listing for each session; 1.6.4 has digests only in the catalog of each resource.
    assert len(filled.seen("GET", "^/data/projects")) == 2 + 2 + (2 if era == OLD else 0)
    assert not [path for path in (tmp_path / "cache").iterdir() if path.name.startswith("undated")]


def test_only_what_changed_is_fetched(filled, remote, tmp_path):
    before = stats("aseg", "P", remote, cache=tmp_path)
    resource = filled.projects["P"].children["s7"].children["s7_MR1"].resources["FREESURFER7"]
    name = "sub-001/stats/aseg.stats"
    resource.disk[name] = resource.disk[name].replace(b"5023.3", b"5023.4")
    filled.catalogue(resource, name)
    filled.requests.clear()
    after = stats("aseg", "P", remote, cache=tmp_path)
    assert [seen.path.rpartition("/experiments/")[2] for seen in filled.seen("GET", STATS)] == [
        "s7_MR1/resources/FREESURFER7/files/sub-001/stats/aseg.stats"
    ]
    assert after.entries[0] == before.entries[0]
    (number,) = [n for n in after.entries[1].numbers() if n[1:3] == ("Left-Lateral-Ventricle", "Volume_mm3")]
    assert number.value == 5023.4


def test_a_damaged_cache_is_not_believed(filled, remote, tmp_path):
    first = stats("aseg", "P", remote, cache=tmp_path)
    for path in tmp_path.rglob("*.txt"):
        path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    again = stats("aseg", "P", remote, cache=tmp_path)
    assert again.entries == first.entries
    assert again.fetched_files == 2
    assert stats("aseg", "P", remote, cache=tmp_path).fetched_files == 0


def test_a_cache_that_cannot_be_written(filled, remote, tmp_path):
    (tmp_path / "file").write_text("")
    assert len(stats("aseg", "P", remote, cache=tmp_path / "file" / "cache").entries) == 2


def test_the_newest_resource_is_read_and_told(filled, remote, tmp_path):
    store(remote, "s7", DATA / "freesurfer6/subject1", label="FREESURFER6")
    table = stats("aseg", "P/s7", remote, cache=tmp_path)
    assert [entry.place.resource for entry in table.entries] == ["FREESURFER7"]
    (remark,) = table.remarks
    assert remark.kind is RemarkKind.CHOICE
    assert "reads FREESURFER7, not FREESURFER6" in remark.message
    older = stats("aseg", "P/s7/s7_MR1", remote, resource="FREESURFER6", cache=tmp_path)
    assert [entry.place.fs_version for entry in older.entries] == ["6"]
    named = stats("aseg", "P/s7/s7_MR1/resources/FREESURFER6", remote, cache=tmp_path)
    assert named.entries == older.entries
    assert kinds(stats("aseg", "P", remote, resource="FREESURFER6", cache=tmp_path)) == []
    assert kinds(stats("aseg", "P", remote, resource="FREESURFER7", cache=tmp_path)) == [("subject", "P/s6/s6_MR1")]


def test_who_lacks_the_table(filled, remote, tmp_path):
    from xnatferry.xnat.model import Address

    remote.ensure_subject(Address("P", "empty"))
    remote.ensure_session(Address("P", "bare", "bare_MR1"))
    remote.ensure_session(Address("P", "s7", "s7_MR2"))
    store(remote, "half", DATA / "freesurfer7/sub-002", names={"rh.aparc.stats"})
    table = stats("aparc", "P", remote, cache=tmp_path)
    assert kinds(table) == [
        ("file", "P/half/half_MR1"),
        ("session", "P/s7/s7_MR2"),  # its other session has it
        ("subject", "P/bare/bare_MR1"),
        ("subject", "P/empty"),
    ]
    assert sorted(remark.where for remark in table.lacking) == ["P/bare/bare_MR1", "P/empty", "P/half/half_MR1"]
    assert {number.side for number in table.entries[0].numbers()} == {"", "right"}


def test_a_resource_of_a_subject(filled, remote, tmp_path):
    from xnatferry.xnat.model import Address

    content = (DATA / "freesurfer7/sub-001/stats/aseg.stats").read_bytes()
    at = Address("P", "s7", resource="FREESURFER7_BASE", file="base/stats/aseg.stats")
    remote.send_file(at, lambda: [content], len(content))
    table = stats("aseg", "P/s7/resources/FREESURFER7_BASE", remote, cache=tmp_path)
    assert [(e.place.subject, e.place.session, e.place.resource) for e in table.entries] == [
        ("s7", "", "FREESURFER7_BASE")
    ]


def test_what_the_server_lists_beside(filled, remote, tmp_path):
    subjects = [{"ID": "1", "label": "s6", "gender": "female", "dob": "1980-01-01"}]
    subjects += [{"ID": "2", "label": "s7", "gender": "M", "dob": "", "age": "41"}]
    for number, row in enumerate(subjects, 1):
        below = {"id": f"E{number}", "label": f"{row['label']}_MR1", "project": "P"}
        row |= {f"xnat:subjectdata/experiments/experiment/{name}": value for name, value in below.items()}
    sessions = [
        {
            "ID": f"E{number}",
            "label": f"{label}_MR1",
            "subject_label": label,
            "xsiType": "xnat:mrSessionData",
            "date": "2020-07-01",
            "xnat:subjectassessordata/age": age,
        }
        for number, label, age in ((1, "s6", ""), (2, "s7", "34.7"))
    ]
    for path, rows in (("subjects", subjects), ("experiments", sessions)):
        body = json.dumps({"ResultSet": {"Result": rows}})
        filled.fail("GET", f"P/{path}$", Reply(200, body, {"Content-Type": "application/json"}))
    table = stats("aseg", "P", remote, cache=tmp_path)
    assert [(e.place.experiment_id, e.place.date, e.place.sex, e.place.age) for e in table.entries] == [
        ("E1", "2020-07-01", "female", 40.5),
        ("E2", "2020-07-01", "M", 34.7),
    ]
    grid = table.grid()
    assert list(next(iter(grid.rows())))[:9] == [
        "P",
        "s6",
        "s6_MR1",
        "E1",
        "2020-07-01",
        "female",
        40.5,
        "FREESURFER6",
        "6",
    ]


@pytest.mark.parametrize("status", [403, 404, 500])
def test_one_file_that_does_not_come(filled, remote, tmp_path, status):
    filled.fail("GET", "s6_MR1.*aseg.stats", page(status, "no"), times=9)
    filled.fail("GET", "experiments/XNAT_E.*aseg.stats", page(status, "no"), times=9)
    table = stats("aseg", "P", remote, cache=tmp_path)
    assert [entry.place.subject for entry in table.entries] == ["s7"]
    assert kinds(table) == [("broken", "P/s6/s6_MR1")]


def test_what_came_otherwise_than_listed(filled, remote, tmp_path):
    filled.fail("GET", "s6_MR1.*aseg.stats", Reply(200, b"other", {"Content-Type": "text/plain"}), times=9)
    table = stats("aseg", "P", remote, cache=tmp_path)
    assert kinds(table) == [("broken", "P/s6/s6_MR1")]
    assert "the server lists" in table.remarks[0].message


def test_a_server_that_is_away_ends_it_and_what_came_is_kept(filled, remote, tmp_path, pauses):
    filled.fail("GET", "s7_MR1.*aseg.stats", busy(), times=9)
    with pytest.raises(UnavailableError):
        stats("aseg", "P", remote, cache=tmp_path, workers=1)
    assert pauses
    filled.faults.clear()
    assert stats("aseg", "P", remote, cache=tmp_path).cached_files == 1


def test_no_such_place(filled, remote, open_remote, tmp_path):
    for address in ("Q", "P/none", "P/s7/none", "P/s6/s7_MR1"):
        with pytest.raises(NotFoundError):
            stats("aseg", address, remote, cache=tmp_path)
    with pytest.raises(AuthenticationError):
        stats("aseg", "P", open_remote(password="wrong"), cache=tmp_path)


def test_other_experiments_are_no_sessions(filled, remote, tmp_path):
    filled.projects["P"].children["s7"].children["form"] = Thing("XNAT_E00099", "form", "xnat:qcAssessmentData", {})
    named = [("choice", "P/s6/s6_MR1")]  # regions of version 6 under their names in 7
    assert kinds(stats("aseg", "P", remote, cache=tmp_path)) == named
