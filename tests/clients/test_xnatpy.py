"""xnatpy (``xnat`` on PyPI), as its documentation uses it."""

import hashlib
import zipfile

import pytest

xnat = pytest.importorskip("xnat")


@pytest.fixture(scope="module")
def connection(archive):
    """One connection for all: it reads the whole schema."""
    with xnat.connect(archive.url, user="admin", password="admin-secret") as connection:
        yield connection


@pytest.fixture
def project(connection, project_id):
    connection.put(f"/data/archive/projects/{project_id}")
    connection.clearcache()
    return connection.projects[project_id]


@pytest.fixture
def session(connection, project):
    subject = connection.classes.SubjectData(parent=project, label="s1")
    return connection.classes.MrSessionData(parent=subject, label="s1_MR1")


def test_connecting(archive, connection):
    assert connection.logged_in_user == "admin"
    assert connection.xnat_version.startswith("1.8")
    with pytest.raises(xnat.exceptions.XNATLoginFailedError):
        xnat.connect(archive.url, user="admin", password="wrong")


def test_an_alias_token_logs_in(archive, connection):
    alias, secret = connection.services.issue_token()
    with xnat.connect(archive.url, user=alias, password=secret, no_parse_model=True) as other:
        assert other.logged_in_user == "admin"


def test_the_hierarchy(connection, project, session, project_id):
    scan = connection.classes.MrScanData(
        parent=session, id="1", type="T1w", series_description="MPRAGE", quality="usable"
    )
    assert (scan.id, scan.type, scan.quality) == ("1", "T1w", "usable")
    scan.quality = "questionable"
    project.clearcache()
    assert [subject.label for subject in project.subjects.values()] == ["s1"]
    found = project.subjects["s1"].experiments["s1_MR1"]
    assert type(found).__name__ == "MrSessionData"
    assert found.scans["1"].quality == "questionable"
    assert found.scans["1"].series_description == "MPRAGE"
    assert found.project == project_id
    assert found.subject.label == "s1"
    assert connection.experiments[found.id].label == "s1_MR1"


def test_fields_of_a_subject(connection, project):
    subject = connection.classes.SubjectData(parent=project, label="s1")
    subject.demographics.gender = "female"
    subject.demographics.handedness = "left"
    subject.fields["consent"] = "yes, signed"
    subject.clearcache()
    again = connection.projects[project.id].subjects["s1"]
    assert again.demographics.gender == "female"
    assert again.demographics.handedness == "left"
    assert again.fields["consent"] == "yes, signed"
    again.label = "s2"
    connection.clearcache()
    assert list(connection.projects[project.id].subjects.key_map) == ["s2"]


def test_files(connection, session, nifti, tmp_path):
    scan = connection.classes.MrScanData(parent=session, id="1", type="T1w")
    resource = scan.create_resource("NIFTI")
    image = nifti / "dipy" / "small_25.nii.gz"
    resource.upload(str(image), "sub/dir/small.nii.gz")
    file = resource.files["sub/dir/small.nii.gz"]
    assert int(file.size) == image.stat().st_size
    assert file.digest == hashlib.md5(image.read_bytes()).hexdigest()
    file.download(str(tmp_path / "copy.nii.gz"))  # compares the digest too
    assert (tmp_path / "copy.nii.gz").read_bytes() == image.read_bytes()
    assert resource.file_count == 1
    file.delete()
    resource.clearcache()
    assert len(resource.files) == 0


@pytest.mark.parametrize("method", ["tgz_file", "tar_memory", "per_file"])
def test_folders(connection, session, subjects_dir, tmp_path, files_below, method):
    resource = session.create_resource("FREESURFER6")
    resource.upload_dir(str(subjects_dir / "subject1"), method=method)
    sent = files_below(subjects_dir / "subject1")
    if method == "per_file":
        sent = {name: data for name, data in sent.items() if data}  # it leaves empty files out
    out = tmp_path / "out"
    out.mkdir()
    resource.download_dir(str(out))
    found = files_below(out / "s1_MR1" / "resources" / "FREESURFER6" / "files")
    assert found == sent


def test_an_archive_is_extracted(session, subjects_dir, zip_folder, files_below):
    resource = session.create_resource("FREESURFER6")
    resource.upload(str(zip_folder(subjects_dir / "subject1")), "fs.zip", extract=True)
    names = {f"subject1/{name}" for name in files_below(subjects_dir / "subject1")}
    assert {file.path for file in resource.files.values()} == names


def test_a_session_is_downloaded(connection, session, nifti, tmp_path):
    for number in ("1", "2"):
        scan = connection.classes.MrScanData(parent=session, id=number, type="T1w")
        scan.create_resource("NIFTI").upload(str(nifti / "nibabel" / "functional.nii"), "f.nii")
    session.clearcache()
    session.download(str(tmp_path / "s.zip"))
    with zipfile.ZipFile(tmp_path / "s.zip") as archive:
        assert sorted(archive.namelist()) == [
            "s1_MR1/scans/1-T1w/resources/NIFTI/files/f.nii",
            "s1_MR1/scans/2-T1w/resources/NIFTI/files/f.nii",
        ]


def test_deleting(connection, project, session):
    scan = connection.classes.MrScanData(parent=session, id="1", type="T1w")
    scan.create_resource("NIFTI").upload_data("hello", "hello.txt")
    # Objects out of listings: xnatpy cannot forget one that the program made itself.
    session.scans["1"].delete()
    assert len(session.scans) == 0
    project.clearcache()
    project.subjects["s1"].experiments["s1_MR1"].delete()
    project.subjects["s1"].delete()
    project.clearcache()
    assert len(project.subjects) == 0
