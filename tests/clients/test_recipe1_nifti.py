"""Founding recipe 1, as its users write it: subjects, MR sessions, scans, a NIFTI resource each, the files, and removal."""

import hashlib

import bxl.utils
import bxl.xnat
import nibabel
import pytest
import pyxnat


@pytest.fixture
def images(nifti):
    return [nifti / "nibabel" / "example4d.nii.gz", nifti / "dipy" / "small_25.nii.gz"]


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_with_bxl(archive, config, project_id, images, tmp_path):
    c = bxl.utils.setup_xnat(config)
    assert c.jsession_id is not None  # else it is offline and says nothing
    host, project = c.host, project_id
    c._put_resource(f"{host}/data/projects/{project}", {"name": "A study"})

    for number, image in enumerate(images, 1):
        subject = f"subject{number:02}"
        response = c._put_resource(f"{host}/data/projects/{project}/subjects/{subject}", {"gender": "female"})
        assert response.status_code == 201
        subject_id = response.text
        experiment_url = f"{host}/data/projects/{project}/subjects/{subject}/experiments/{subject}_MR1"
        experiment_id = c._put_resource(experiment_url, {"xsiType": "xnat:mrSessionData"}).text
        scan_url = f"{host}/data/experiments/{experiment_id}/scans/1"
        options = {"xsiType": "xnat:mrScanData", "type": "DWI", "series_description": "DWI", "quality": "usable"}
        c._put_resource(scan_url, options)
        c._put_resource(f"{scan_url}/resources/NIFTI", {"format": "NIFTI", "content": "NIFTI_RAW"})
        response = c._put_file(
            f"{scan_url}/resources/NIFTI/files/{image.name}",
            str(image),
            {"format": "NIFTI", "content": "NIFTI_RAW", "extract": "false", "overwrite": "true"},
        )
        assert response.status_code == 200

        # Every file is where it belongs, byte for byte.
        assert c.get_subjects(project)[subject_id]["label"] == subject
        scans = c.get_scans(experiment_id, {"columns": "ID,type,quality,xsiType"})
        assert [(scan["ID"], scan["type"], scan["quality"], scan["xsiType"]) for scan in scans.values()] == [
            ("1", "DWI", "usable", "xnat:mrScanData")
        ]
        (file,) = c.get_scan_resource_files(experiment_id, "1", "NIFTI").values()
        assert file["Name"] == image.name
        assert (file["Size"], file["digest"]) == (str(image.stat().st_size), md5(image))
        assert (file["file_format"], file["file_content"], file["collection"]) == ("NIFTI", "NIFTI_RAW", "NIFTI")
        assert c.download_resource(host + file["URI"]) == image.read_bytes()

    assert {row["label"] for row in c.get_mrsessions(project, {"columns": "ID,label"}).values()} == {
        "subject01_MR1",
        "subject02_MR1",
    }
    assert c.get_experiment_labels(experiment_id) == {
        "project": project,
        "subject": "subject02",
        "subjectID": subject_id,
        "session": "subject02_MR1",
        "sessionID": experiment_id,
    }

    # Removal takes the bytes along.
    folder = archive.root / "archive" / project / "arc001" / "subject02_MR1"
    assert (folder / "SCANS" / "1" / "NIFTI" / images[1].name).read_bytes() == images[1].read_bytes()
    c.delete_resource(f"{scan_url}/resources/NIFTI", {"removeFiles": True})
    assert not (folder / "SCANS" / "1" / "NIFTI").exists()
    assert c.get_scan_resources(experiment_id, "1") == {}
    c.delete_resource(scan_url)
    c.delete_resource(experiment_url)
    assert not folder.exists()
    c.delete_resource(f"{host}/data/projects/{project}/subjects/subject02")
    assert [row["label"] for row in c.get_subjects(project).values()] == ["subject01"]
    c.close_jsession()


def test_bxl_says_when_the_password_is_wrong(archive):
    with pytest.raises(bxl.xnat.XNATException, match="#401"):
        bxl.xnat.Connection(archive.url, ("admin", "wrong"))


def test_bxl_resource_collections(archive, config, project_id, nifti, tmp_path):
    """bxl's own functions for resources of any entity."""
    with bxl.utils.setup_xnat(config) as c:
        c._put_resource(f"{c.host}/data/projects/{project_id}")
        subject_id = c._put_resource(f"{c.host}/data/projects/{project_id}/subjects/s1").text
        assert project_id in c.get_projects()
        resource_id = c.create_resource_collection("subjects", subject_id, "BVALS", "text", "gradients")
        assert c.create_resource_collection("subjects", subject_id, "BVALS") == resource_id
        with pytest.raises(bxl.xnat.XNATException, match="already exists"):
            c.create_resource_collection("subjects", subject_id, "BVALS", force_create=True)
        bval = nifti / "dipy" / "small_25.bval"
        c.add_resource_file("subjects", subject_id, str(bval), "BVALS", meta_rContent="b values")
        with pytest.raises(bxl.xnat.XNATException, match="already exists"):
            c.add_resource_file("subjects", subject_id, str(bval), "BVALS")
        (row,) = c.get_resources("subjects", subject_id).values()
        assert (row["label"], row["file_count"], row["file_size"]) == ("BVALS", "1", str(bval.stat().st_size))
        with pytest.raises(bxl.xnat.XNATException, match="No subjects with ID"):
            c.create_resource_collection("subjects", "nobody", "BVALS")
        c.delete_resource(f"{c.host}/data/projects/{project_id}")
        assert project_id not in c.get_projects()


def test_with_pyxnat(archive, config, project_id, images, tmp_path):
    xnat = pyxnat.Interface(config=config)
    project = xnat.select.project(project_id)
    assert not project.exists()
    project.create()

    for number, image in enumerate(images, 1):
        subject = project.subject(f"subject{number:02}")
        if not subject.exists():
            subject.create()
        session = subject.experiment(f"{subject.label()}_MR1")
        if not session.exists():
            session.create(experiments="xnat:mrSessionData")
        scan = session.scan("1")
        scan.create(
            **{
                "scans": "xnat:mrScanData",
                "xnat:mrScanData/type": "T1",
                "xnat:mrScanData/series_description": "T1 MPRAGE",
                "xnat:mrScanData/quality": "usable",
            }
        )
        resource = scan.resource("NIFTI")
        resource.create()
        resource.file(image.name).put(
            str(image), format="NIFTI", content="NIFTI_RAW", tags="raw", overwrite=True, params={"extract": "false"}
        )

        file = resource.file(image.name)
        assert file.exists()
        assert (file.size(), file.format(), file.content(), file.labels()) == (
            str(image.stat().st_size),
            "NIFTI",
            "NIFTI_RAW",
            "raw",
        )
        assert file.last_modified().endswith("GMT")
        copy = file.get(str(tmp_path / f"{number}.nii.gz"))
        assert nibabel.load(copy).shape == nibabel.load(image).shape
        assert md5(tmp_path / f"{number}.nii.gz") == md5(image)

    assert [subject.label() for subject in project.subjects()] == ["subject01", "subject02"]
    assert [one.label() for one in project.experiments()] == ["subject01_MR1", "subject02_MR1"]
    assert scan.attrs.get("type") == "T1"
    assert scan.attrs.mget(["quality", "series_description"]) == ["usable", "T1 MPRAGE"]
    assert session.scans().get() == ["1"]
    assert [one.label() for one in scan.resources()] == ["NIFTI"]
    assert resource.files().get() == [images[1].name]

    # A second put without overwrite keeps the first bytes and is no error.
    file.put(str(images[0]), overwrite=False)
    assert file.size() == str(images[1].stat().st_size)
    file.put(str(images[0]), overwrite=True)
    assert file.size() == str(images[0].stat().st_size)

    file.delete()
    assert not resource.file(images[1].name).exists()
    scan.delete()
    assert not scan.exists()
    session.delete()
    assert [one.label() for one in project.experiments()] == ["subject01_MR1"]
    project.delete()
    assert not project.exists()
    assert not (archive.root / "archive" / project_id).exists()
    xnat.disconnect()


def test_both_clients_see_the_same(config, project_id, images):
    with bxl.utils.setup_xnat(config) as c, pyxnat.Interface(config=config) as xnat:
        xnat.select.project(project_id).subject("s1").experiment("s1_MR1").create(experiments="xnat:mrSessionData")
        session = xnat.select.project(project_id).subject("s1").experiment("s1_MR1")
        assert session.id() in c.get_mrsessions(project_id)
        c._put_file(
            f"{c.host}/data/experiments/{session.id()}/resources/IMAGES/files/sub/dir/{images[0].name}", str(images[0])
        )
        (file,) = session.resource("IMAGES").files()
        assert repr(file) == f"<File Object> sub/dir/{images[0].name}"


def test_text_instead_of_a_file(config, project_id):
    """pyxnat takes what is no path for the content itself."""
    with pyxnat.Interface(config=config) as xnat:
        resource = xnat.select.project(project_id).resource("NOTES")
        resource.parent().create()
        resource.file("note.txt").put("hello\n", format="TXT", content="NOTE")
        assert xnat.get(resource.file("note.txt")._uri).text.strip() == "hello"


def test_an_empty_file_is_refused_as_xnat_does(config, project_id, tmp_path):
    """pyxnat sends it as a body without a length, which XNAT takes for no file at all."""
    empty = tmp_path / "empty.txt"
    empty.touch()
    with pyxnat.Interface(config=config) as xnat:
        project = xnat.select.project(project_id)
        project.create()
        with pytest.raises(pyxnat.core.errors.DatabaseError, match="500"):
            project.resource("NOTES").file("empty.txt").put(str(empty))
        assert project.resource("NOTES").files().get() == []
