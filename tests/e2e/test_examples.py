"""The two founding recipes, run as their readers run them, against the local archive."""

import csv
import gzip
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import xnatferry
from xnatferry.server.archive import running_archive

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
ASEG = """# Title Segmentation Statistics
# subjectname {subject}
# Measure BrainSeg, BrainSegVol, Brain Segmentation Volume, 1100000.000000, mm^3
# Measure EstimatedTotalIntraCranialVol, eTIV, Estimated Total Intracranial Volume, {icv}, mm^3
# ColHeaders  Index SegId NVoxels Volume_mm3 StructName normMean normStdDev normMin normMax normRange
  1   4  6000  6000.5  Left-Lateral-Ventricle  35.0 12.0 4.0 90.0 86.0
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    with running_archive(tmp_path_factory.mktemp("archive")) as running:
        yield running


@pytest.fixture
def run(archive, tmp_path):
    """Runs an example; returns its exit code and what it printed."""

    def run_one(name, *words):
        account = ["--server", archive.url, "--user", archive.user, "--password", archive.password]
        command = [sys.executable, "-W", "error", EXAMPLES / name, *account, *words]
        done = subprocess.run(
            [str(word) for word in command], cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False
        )
        assert archive.password not in done.stdout + done.stderr
        return done.returncode, done.stdout + done.stderr

    return run_one


@pytest.fixture
def client(archive):
    with xnatferry.connect(archive.url, archive.user, archive.password) as opened:
        yield opened


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    for subject in ("sub01", "sub02"):
        (folder / subject).mkdir(parents=True)
        with gzip.open(folder / subject / "T1w.nii.gz", "wb") as stream:
            stream.write(subject.encode() * 5000)
        (folder / subject / "dwi.nii").write_bytes(subject.encode() * 3000)
        (folder / subject / "dwi.bval").write_text("0 1000")
    return folder


def test_push_nifti(run, client, images):
    code, text = run("push_nifti.py", "--project", "NIFTI", images)
    assert code == 0, text
    assert text.count("stored") == 6
    files = {
        (f.scan, f.name): f.size_bytes
        for f in client.remote.list_files(xnatferry.Address.parse("NIFTI/sub02/sub02_MR1"), all_scans=True)
    }
    assert files == {
        (path.name.partition(".")[0], path.name): path.stat().st_size for path in (images / "sub02").iterdir()
    }
    assert {(row["ID"], row["quality"], row["xsiType"]) for row in client.list_scans("NIFTI/sub01/sub01_MR1")} == {
        ("T1w", "usable", "xnat:mrScanData"),
        ("dwi", "usable", "xnat:mrScanData"),
    }
    code, text = run("push_nifti.py", "--project", "NIFTI", images)
    assert (code, text.count("is there"), text.count("stored")) == (0, 6, 0)

    (images / "sub02" / "dwi.bval").write_text("0 2000")
    code, text = run("push_nifti.py", "--project", "NIFTI", images)
    assert code != 0
    assert "dwi.bval" in text

    code, text = run("push_nifti.py", "--project", "NIFTI", "--remove", images)
    assert (code, text.count("removed")) == (0, 2)
    assert client.list_sessions("NIFTI") == []


def test_import_freesurfer(run, client, tmp_path):
    subjects = tmp_path / "subjects"
    for subject, icv in (("sub01", "1500000.0"), ("sub02", "1600000.0")):
        (subjects / subject / "stats").mkdir(parents=True)
        (subjects / subject / "mri").mkdir()
        (subjects / subject / "stats" / "aseg.stats").write_text(ASEG.format(subject=subject, icv=icv))
        (subjects / subject / "mri" / "aseg.mgz").write_bytes(b"\x1f\x8b" * 9000)
    with zipfile.ZipFile(subjects / "sub02.zip", "w") as packed:
        for path in sorted((subjects / "sub02").rglob("*.*")):
            packed.write(path, path.relative_to(subjects))
    shutil.rmtree(subjects / "sub02")

    for _ in range(2):
        code, text = run("import_freesurfer.py", "--project", "FS", subjects, "--table", "out.csv")
        assert code == 0, text
        assert "sub02_MR1  2 files" in text
    names = [f.name for f in client.list_files("FS/sub01/sub01_MR1/resources/FREESURFER7")]
    assert sorted(names) == ["sub01/mri/aseg.mgz", "sub01/stats/aseg.stats"]
    with (tmp_path / "out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1] == {
        "subject": "sub02",
        "BrainSegVol": "1100000.000000",
        "eTIV": "1600000.0",
        "Left-Lateral-Ventricle": "6000.5",
    }


def test_notebook(run, client, tmp_path):
    import nibabel
    import numpy as np

    for subject in ("sub01", "sub02"):
        (tmp_path / "scanned" / subject).mkdir(parents=True)
        for kind in ("T1w", "T2w"):
            voxels = np.full((5, 6, 7), len(subject), "int16")
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "scanned" / subject / f"{kind}.nii.gz")
    words = ("--project", "NOTE", "--runs", tmp_path / "runs", tmp_path / "scanned", tmp_path / "back")
    code, text = run("notebook.py", *words)
    assert code == 0, text
    assert "4 files," in text
    assert "{'digest matched': 4}" in text
    assert "4 files fetched" in text
    back = {path.name: path.read_bytes() for path in (tmp_path / "back").rglob("*sub02*/**/*.nii.gz")}
    assert back == {path.name: path.read_bytes() for path in (tmp_path / "scanned" / "sub02").iterdir()}
    assert not client.remote.project_exists("NOTE"), "undo takes back what the push created"
    assert {path.name.split("-")[2] for path in (tmp_path / "runs").iterdir()} == {"push", "undo"}


def test_copy_between_projects(run, client, images):
    assert run("push_nifti.py", "--project", "FROM", images)[0] == 0
    plan = xnatferry.plan_copy("FROM/sub01", client.remote, client.remote, project="TO")
    assert len(plan.files) == 3
    result = xnatferry.copy("FROM/sub01", client.remote, client.remote, project="TO")
    assert result.exit_code == 0
    assert {verdict.proof for verdict in result.verdicts} == {xnatferry.Proof.DIGEST}
