"""dax, on pyxnat with the ``/REST`` prefix: its listings and an upload."""

import pytest

XnatUtils = pytest.importorskip("dax.XnatUtils")


@pytest.fixture
def interface(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with XnatUtils.get_interface(host=archive.url, user="admin", pwd="admin-secret") as interface:
        yield interface


@pytest.fixture
def study(interface, project_id):
    interface.select.project(project_id).create()
    session = interface.select_session(project_id, "s1", "s1_MR1")
    session.create(experiments="xnat:mrSessionData")
    session.scan("1").create(
        **{"scans": "xnat:mrScanData", "xnat:mrScanData/type": "T1w", "xnat:mrScanData/quality": "usable"}
    )
    return project_id


def test_listings(interface, study):
    assert study in {row["ID"] for row in interface.get_projects()}
    (subject,) = interface.get_subjects(study)
    assert (subject["label"], subject["project"]) == ("s1", study)
    (session,) = interface.get_sessions(study)
    assert (session["label"], session["subject_label"]) == ("s1_MR1", "s1")
    (scan,) = interface.get_scans(study, "s1", "s1_MR1")
    assert (scan["ID"], scan["type"], scan["quality"]) == ("1", "T1w", "usable")
    assert [row["ID"] for row in interface.get_project_scans(study)] == ["1"]
    assert interface.get_assessors(study, "s1", "s1_MR1") == []


def test_uploads(interface, study, nifti, subjects_dir):
    scan = interface.select_scan(study, "s1", "s1_MR1", "1")
    image = nifti / "nibabel" / "functional.nii"
    XnatUtils.upload_file_to_obj(str(image), scan.resource("NIFTI"))
    (row,) = interface.get_scan_resources(study, "s1", "s1_MR1", "1")
    assert (row["label"], row["file_count"]) == ("NIFTI", "1")
    session = interface.select_session(study, "s1", "s1_MR1")
    XnatUtils.upload_folder_to_obj(str(subjects_dir / "subject1"), session.resource("FREESURFER6"), "FREESURFER6")
    assert len(session.resource("FREESURFER6").files().get()) > 10
    assert [row["label"] for row in interface.get_session_resources(study, "s1", "s1_MR1")] == ["FREESURFER6"]
