"""datalad-xnat reads with a login of its own; the part of it that speaks to XNAT."""

import pytest
import pyxnat

datalad = pytest.importorskip("datalad")
platform = pytest.importorskip("datalad_xnat.platform")


def test_reading(archive, config, project_id, nifti, monkeypatch):
    with pyxnat.Interface(config=config) as interface:
        session = interface.select.project(project_id).subject("s1").experiment("s1_MR1")
        session.create(experiments="xnat:mrSessionData")
        session.scan("1").create(**{"scans": "xnat:mrScanData", "xnat:mrScanData/type": "T1w"})
        session.scan("1").resource("NIFTI").file("f.nii").put(str(nifti / "nibabel" / "functional.nii"))
        session_id, subject_id = session.id(), interface.select.project(project_id).subject("s1").id()
    monkeypatch.setenv("DATALAD_CREDENTIAL_ARCHIVE_USER", "admin")
    monkeypatch.setenv("DATALAD_CREDENTIAL_ARCHIVE_PASSWORD", "admin-secret")
    datalad.cfg.reload(force=True)
    xnat = platform._XNAT(archive.url, credential="archive")
    assert project_id in xnat.get_project_ids()
    assert xnat.get_subject_ids(project_id) == [subject_id]
    assert xnat.get_experiment_ids(project_id, subject_id) == [session_id]
    (file,) = xnat.get_files(session_id)
    assert file["digest"]
    assert file["URI"].endswith("/files/f.nii")
