"""xnatutils: ``xnat-put``, ``xnat-ls``, ``xnat-get`` and the rest, on xnatpy."""

import shutil

import pytest

xnatutils = pytest.importorskip("xnatutils")


@pytest.fixture
def login(archive):
    return {"server": archive.url, "user": "admin", "password": "admin-secret", "use_netrc": False}


@pytest.fixture
def project(archive, project_id, login):
    with xnatutils.connect(**login) as connection:
        connection.put(f"/data/archive/projects/{project_id}")
    return project_id


@pytest.fixture
def image(nifti, tmp_path):
    """An image in a folder of its own: single files it packs as links, which no server can follow."""
    folder = tmp_path / "images"
    folder.mkdir()
    return shutil.copy(nifti / "dipy" / "small_25.nii.gz", folder / "small_25.nii.gz")


def test_put_list_and_get(project, login, image, tmp_path):
    session = f"{project}_S01_MR01"
    xnatutils.put(session, "dwi", str(image.parent), resource_name="NIFTI_GZ", create_session=True, **login)
    assert xnatutils.ls(project_id=project, datatype="session", **login) == [session]
    assert xnatutils.ls(session, datatype="scan", **login) == ["dwi"]
    xnatutils.get(session, str(tmp_path / "out"), **login)
    assert [path.read_bytes() for path in (tmp_path / "out").rglob("*.nii.gz")] == [image.read_bytes()]


def test_variables_and_names(project, login, image):
    session = f"{project}_S02_MR01"
    xnatutils.put(session, "dwi", str(image.parent), resource_name="NIFTI_GZ", create_session=True, **login)
    xnatutils.varput(session, "rating", "good", **login)
    assert xnatutils.varget(session, "rating", **login) == "good"
    xnatutils.rename(session, f"{project}_S02_MR02", **login)
    assert xnatutils.ls(project_id=project, datatype="session", **login) == [f"{project}_S02_MR02"]
