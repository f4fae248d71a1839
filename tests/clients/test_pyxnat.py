"""What pyxnat's users commonly do besides the two recipes."""

import pytest
import pyxnat


@pytest.fixture
def xnat(config):
    with pyxnat.Interface(config=config) as xnat:
        yield xnat


@pytest.fixture
def study(xnat, project_id):
    """Two subjects; the first with an MR session of two scans, the second with a PET session."""
    project = xnat.select.project(project_id)
    project.create()
    mr = project.subject("s1").experiment("s1_MR1")
    mr.create(experiments="xnat:mrSessionData")
    for number, kind in (("1", "T1"), ("2", "BOLD")):
        mr.scan(number).create(**{"scans": "xnat:mrScanData", "xnat:mrScanData/type": kind})
    project.subject("s2").experiment("s2_PET1").create(experiments="xnat:petSessionData")
    return project


def test_version(xnat):
    assert xnat.version()["version"].startswith("1.")


def test_select_by_path(xnat, study, project_id):
    assert [subject.label() for subject in xnat.select(f"/project/{project_id}/subjects")] == ["s1", "s2"]
    sessions = xnat.select(f"/projects/{project_id}/subjects/*/experiments")
    assert [session.label() for session in sessions] == ["s1_MR1", "s2_PET1"]
    assert xnat.select(f"/data/projects/{project_id}/subjects/s1/experiments/s1_MR1/scans/*").get() == ["1", "2"]
    assert xnat.select(f"/project/{project_id}/subject/s1").exists()
    assert not xnat.select(f"/project/{project_id}/subject/s9").exists()
    assert not xnat.select("/project/NOWHERE/subject/s1").exists()


def test_projects_are_listed(xnat, study, project_id):
    assert project_id in xnat.select.projects().get()
    assert xnat.select.projects(f"{project_id}*").get() == [project_id]


def test_ids_labels_and_types(xnat, study):
    session = study.subject("s1").experiment("s1_MR1")
    assert session.id() != session.label() == "s1_MR1"
    assert session.datatype() == "xnat:mrSessionData"
    assert session.parent().label() == "s1"
    assert xnat.select.experiment(session.id()).label() == "s1_MR1"
    assert study.subject("s1").experiment("s1_MR1").scan("1").datatype() == "xnat:mrScanData"
    assert study.experiment("s1_MR1").id() == session.id()


def test_attributes(study):
    subject = study.subject("s1")
    subject.attrs.set("gender", "female")
    subject.attrs.mset({"xnat:subjectData/demographics[@xsi:type=xnat:demographicData]/handedness": "left"})
    assert subject.attrs.get("gender") == "female"
    assert subject.attrs.get("handedness") == "left"
    session = subject.experiment("s1_MR1")
    session.attrs.set("date", "2021-03-04")
    assert session.attrs.get("date") == "2021-03-04"
    session.attrs.set("xnat:mrSessionData/age", "42")
    assert float(session.attrs.get("xnat:mrSessionData/age")) == 42
    scan = session.scan("1")
    scan.attrs.set("quality", "questionable")
    scan.set_param("contrast", "none")
    assert (scan.params(), scan.get_param("contrast")) == (["contrast"], "none")
    scan.attrs.set("note", "moved, and talked")
    assert scan.attrs.mget(["quality", "note"]) == ["questionable", "moved, and talked"]


def test_arrays(xnat, study, project_id):
    columns = ["label", "subject_label"]
    rows = xnat.array.experiments(project_id=project_id, columns=columns).data
    assert {row["label"] for row in rows} == {"s1_MR1", "s2_PET1"}
    rows = xnat.array.mrsessions(project_id=project_id, columns=columns).data
    assert [row["label"] for row in rows] == ["s1_MR1"]
    rows = xnat.array.scans(project_id=project_id).data
    assert sorted(row["xnat:imagescandata/id"] for row in rows if row["xnat:imagescandata/id"]) == ["1", "2"]


def test_xml(study):
    session = study.subject("s1").experiment("s1_MR1")
    assert session.xpath("//xnat:scan/@ID") == ["1", "2"]
    assert b"xnat:MRSession" in session.get()


def test_project_settings(study):
    assert study.accessibility() == b"protected"
    study.set_accessibility("private")
    assert study.accessibility() == b"private"
    assert int(study.prearchive_code()) in {0, 4, 5}
    assert study.current_arc() == b"arc001"
    assert "admin" in study.users()
    assert study.user_role("admin") == "owner"


def test_downloads_of_scans(study, tmp_path, nifti):
    session = study.subject("s1").experiment("s1_MR1")
    image = nifti / "nibabel" / "functional.nii"
    for number in ("1", "2"):
        session.scan(number).resource("NIFTI").file("f.nii").put(str(image), format="NIFTI")
    session.scans().download(str(tmp_path), type="ALL", extract=True)
    found = sorted(path for path in tmp_path.rglob("f.nii"))
    assert len(found) == 2
    assert {path.read_bytes() for path in found} == {image.read_bytes()}


def test_printing_an_object(study):
    """A bare object at the prompt asks the search engine."""
    for thing in (study, study.subject("s1"), study.subject("s1").experiment("s1_MR1")):
        assert repr(thing)
        assert "Traceback" not in repr(thing)


def test_sharing(xnat, study, project_id):
    other = xnat.select.project(f"{project_id}_B")
    other.create()
    subject = study.subject("s1")
    session = subject.experiment("s1_MR1")
    subject.share(f"{project_id}_B")
    session.share(f"{project_id}_B")
    assert sorted(subject.shares().get()) == sorted(session.shares().get()) == [project_id, f"{project_id}_B"]
    assert [one.id() for one in other.subjects()] == [subject.id()]
    assert [one.id() for one in other.experiments()] == [session.id()]
    assert session.xpath("//xnat:share/@project") == [f"{project_id}_B"]
    session.unshare(f"{project_id}_B")
    subject.unshare(f"{project_id}_B")
    assert subject.shares().get() == session.shares().get() == [project_id]
    assert subject.exists()


def test_a_stranger(archive, study, project_id):
    with pytest.raises(Exception, match=r"401|403|404|authentication|Unauthorized"):
        pyxnat.Interface(server=archive.url, user="nobody", password="wrong").select.project(project_id).create()
