"""xnatutils: ``xnat-put``, ``xnat-ls``, ``xnat-get`` and the rest, on xnatpy."""

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


def test_put_list_and_get(project, login, nifti, tmp_path):
    session = f"{project}_S01_MR01"
    image = nifti / "dipy" / "small_25.nii.gz"
    xnatutils.put(session, "dwi", str(image), create_session=True, **login)
    assert xnatutils.ls(project, datatype="session", **login) == [session]
    assert xnatutils.ls(session, datatype="scan", **login) == ["dwi"]
    xnatutils.get(session, str(tmp_path), **login)
    assert [path.read_bytes() for path in tmp_path.rglob("*.nii.gz")] == [image.read_bytes()]


def test_variables_and_names(project, login, nifti):
    session = f"{project}_S02_MR01"
    xnatutils.put(session, "dwi", str(nifti / "dipy" / "small_25.nii.gz"), create_session=True, **login)
    xnatutils.varput(session, "rating", "good", **login)
    assert xnatutils.varget(session, "rating", **login) == "good"
    xnatutils.rename(session, f"{project}_S02_MR02", **login)
    assert xnatutils.ls(project, datatype="session", **login) == [f"{project}_S02_MR02"]
