"""yaxil, which reads: subjects, sessions, scans, and downloads."""

import pytest
import pyxnat

yaxil = pytest.importorskip("yaxil")


@pytest.fixture
def auth(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("XNAT_HOST", archive.url)
    monkeypatch.setenv("XNAT_USER", "admin")
    monkeypatch.setenv("XNAT_PASS", "admin-secret")
    auth = yaxil.auth2()
    yield auth
    yaxil.end_session(auth)


@pytest.fixture
def study(config, project_id, nifti):
    with pyxnat.Interface(config=config) as interface:
        session = interface.select.project(project_id).subject("s1").experiment("s1_MR1")
        session.create(experiments="xnat:mrSessionData")
        for number, kind in (("1", "T1w"), ("2", "BOLD")):
            session.scan(number).create(**{"scans": "xnat:mrScanData", "xnat:mrScanData/type": kind})
            image = nifti / "nibabel" / "functional.nii"
            session.scan(number).resource("NIFTI").file("f.nii").put(str(image), format="NIFTI")
        yield session.id()


def test_reading(auth, study, project_id):
    assert yaxil.test_auth(auth)
    (subject,) = yaxil.subjects(auth, "s1", project_id)
    assert (subject.label, subject.project) == ("s1", project_id)
    (experiment,) = yaxil.experiments(auth, "s1_MR1", project_id)
    assert (experiment.label, experiment.id, experiment.subject_id) == ("s1_MR1", study, subject.id)
    assert [one.label for one in yaxil.experiments(auth, subject=subject)] == ["s1_MR1"]
    assert yaxil.accession(auth, "s1_MR1", project_id) == study
    with pytest.raises(yaxil.exceptions.NoExperimentsError):
        list(yaxil.experiments(auth, "nothing", project_id))


def test_scans(auth, study, project_id):
    rows = list(yaxil.scans(auth, "s1_MR1", project=project_id))
    assert [(row["id"], row["type"], row["session_label"]) for row in rows] == [
        ("1", "T1w", "s1_MR1"),
        ("2", "BOLD", "s1_MR1"),
    ]


def test_download(auth, study, project_id, nifti, tmp_path):
    yaxil.download(auth, "s1_MR1", ["1"], project=project_id, out_dir=str(tmp_path / "one"))
    yaxil.download(auth, "s1_MR1", project=project_id, out_dir=str(tmp_path / "all"), out_format="native", in_mem=False)
    image = (nifti / "nibabel" / "functional.nii").read_bytes()
    assert [path.read_bytes() for path in (tmp_path / "one").rglob("f.nii")] == [image]
    assert [path.read_bytes() for path in (tmp_path / "all").rglob("f.nii")] == [image, image]


def test_a_wrong_password(archive):
    with pytest.raises(yaxil.SessionError):
        yaxil.auth2(host=archive.url, username="admin", password="wrong")
