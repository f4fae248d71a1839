"""xnatctl, a command line: its commands as a user types them."""

import json
import os
import re
import subprocess
import sysconfig
from pathlib import Path

import pytest

pytest.importorskip("xnatctl")
pytestmark = pytest.mark.slow


@pytest.fixture
def xnatctl(archive, tmp_path):
    """Run a command; gives what it printed, read as JSON when it can be."""
    environment = {
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "XNAT_URL": archive.url,
        "XNAT_USER": "admin",
        "XNAT_PASS": "admin-secret",
        "NO_COLOR": "1",
    }
    program = Path(sysconfig.get_path("scripts")) / "xnatctl"

    def xnatctl(*words, code=0):
        done = subprocess.run([program, *words], env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == code, done.stdout + done.stderr
        try:
            return json.loads(done.stdout)
        except ValueError:
            return done.stdout

    xnatctl("auth", "login")
    return xnatctl


def test_who_am_i(xnatctl):
    assert xnatctl("whoami", "-o", "json")["username"] == "admin"
    xnatctl("health", "ping")


def test_a_study(xnatctl, project_id, subjects_dir, nifti, archive, tmp_path, files_below):
    xnatctl("project", "create", project_id, "--name", f"Name {project_id}", "--description", "a study")
    assert project_id in json.dumps(xnatctl("project", "list", "-o", "json"))
    assert xnatctl("project", "show", project_id, "-o", "json")
    xnatctl("api", "put", f"/data/projects/{project_id}/subjects/s1")
    xnatctl(
        "api",
        "put",
        f"/data/projects/{project_id}/subjects/s1/experiments/s1_MR1",
        "--params",
        "xsiType=xnat:mrSessionData",
    )
    scan = f"/data/projects/{project_id}/subjects/s1/experiments/s1_MR1/scans/1"
    xnatctl("api", "put", scan, "--params", "xsiType=xnat:mrScanData", "--params", "type=T1w")
    assert [row["label"] for row in xnatctl("subject", "list", "-P", project_id, "-o", "json")] == ["s1"]
    (session,) = xnatctl("session", "list", "-P", project_id, "-o", "json")
    assert "s1_MR1" in session.values()
    session_id = next(value for value in session.values() if re.fullmatch(r"XNAT_E\d+", str(value)))
    assert xnatctl("session", "show", "-E", "s1_MR1", "-P", project_id, "-o", "json")
    assert "T1w" in json.dumps(xnatctl("scan", "list", "-E", "s1_MR1", "-P", project_id, "-o", "json"))

    image = nifti / "nibabel" / "functional.nii"
    xnatctl("resource", "upload", session_id, "NIFTI", str(image), "--scan", "1")
    xnatctl("resource", "upload", "-P", project_id, "s1_MR1", "FREESURFER6", str(subjects_dir / "subject1"))
    assert "FREESURFER6" in json.dumps(xnatctl("resource", "list", session_id, "-o", "json"))

    # Without --verify: it takes the resource part of file URIs for a label, where XNAT 1.6 to 1.8 have the number.
    xnatctl("session", "download", "-E", "s1_MR1", "-P", project_id, "--out", str(tmp_path / "out"), "--extract",
            "--session-resources")  # fmt: skip
    found = {path.name: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert found["functional.nii"] == image.read_bytes()
    assert found["aseg.stats"] == (subjects_dir / "subject1" / "stats" / "aseg.stats").read_bytes()

    xnatctl("scan", "delete", "-E", session_id, "--scans", "1", "--yes")
    assert xnatctl("scan", "list", "-E", session_id, "-o", "json") == []
    xnatctl("subject", "delete", "s1", "-P", project_id, "--yes")
    assert xnatctl("subject", "list", "-P", project_id, "-o", "json") in ([], "")
