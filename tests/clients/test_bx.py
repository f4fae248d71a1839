"""bx (``bbrc-bx`` on PyPI) at its command line: tables and files of FreeSurfer results, images, labels, reports.

It needs ``bbrc-pyxnat``, a fork that installs itself as the package ``pyxnat`` over the one that the other tests need;
pip says nothing of it, and the one that comes last wins. So both lie in a folder of their own that only the ``bx``
processes look into; the first run asks PyPI for them, without what they depend on: that is here already, but for
packages that the commands used do not need (and ``pathlib``, an old copy of the standard library's).

Not run: ``snapshot``, which cuts pictures out of PDF reports and needs ``pymupdf`` for it; the tables of what other
pipelines than FreeSurfer write (SPM, FSL, ASHS, PET ...), of which there are no files here to read; ``dump``, which
runs the others one after the other; and lists of sessions of bx's own site, which are part of its source.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass

import openpyxl
import pytest
import pyxnat

PACKAGES = {
    "bbrc-bx": ("0.9.2", "2d1574ca539f7b75f6e2c4ad0def40d6ce276ab302705317f0f0f055675195ab"),
    "bbrc-pyxnat": ("1.6.4.post3", "21e5775f255dfd8611855dd50d2b9aa097df60f1dafde9f91a235473f4a0e091"),
}


@pytest.fixture(scope="session")
def bx_packages(request, tmp_path_factory):
    """The folder that holds bx and its pyxnat; skips when PyPI cannot be reached."""
    cache = getattr(request.config, "cache", None)
    kept = cache.mkdir("bx") if cache else tmp_path_factory.mktemp("bx")
    folder = kept / "-".join(f"{name}-{version}" for name, (version, _) in PACKAGES.items())
    if folder.is_dir():
        return folder
    work = tmp_path_factory.mktemp("download")
    wanted = work / "requirements.txt"
    wanted.write_text(
        "".join(f"{name}=={version} --hash=sha256:{digest}\n" for name, (version, digest) in PACKAGES.items())
    )
    options = ["--no-deps", "--only-binary", ":all:", "--retries", "1", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "-r", str(wanted), "--target", str(work / "site")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        assert "HASHES" not in done.stderr, done.stderr
        last = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
        pytest.skip(f"bx {PACKAGES['bbrc-bx'][0]} cannot be fetched from PyPI: {last}")
    part = kept / f"{folder.name}.{os.getpid()}"
    shutil.move(work / "site", part)
    try:
        part.rename(folder)
    except OSError:  # another process was first
        shutil.rmtree(part)
    return folder


@dataclass
class Study:
    """Two subjects: FreeSurfer 6 and images on the session of the first, FreeSurfer 7 on that of the second."""

    project: str
    first: str
    second: str


@pytest.fixture
def study(config, project_id, subjects_dir, zip_folder, nifti, tmp_path):
    with pyxnat.Interface(config=config) as xnat:
        project = xnat.select.project(project_id)
        ids = []
        for name, label in (("subject1", "FREESURFER6"), ("sub-001", "FREESURFER7")):
            session = project.subject(name).experiment(f"{name}_MR1")
            session.create(experiments="xnat:mrSessionData", **{"xnat:mrSessionData/date": "2021-03-04"})
            session.resource(label).put_zip(str(zip_folder(subjects_dir / name)), extract=True)
            ids.append(session.id())
        session = project.subject("subject1").experiment("subject1_MR1")
        image = tmp_path / "t1.nii.gz"
        image.write_bytes((nifti / "nibabel" / "anatomical.nii").read_bytes())
        for number, quality in (("1", "usable"), ("2", "unusable")):
            scan = session.scan(number)
            scan.create(
                **{"scans": "xnat:mrScanData", "xnat:mrScanData/type": "T1w", "xnat:mrScanData/quality": quality}
            )
            scan.resource("NIFTI").file("t1.nii.gz").put(str(image), format="NIFTI")
        validator = session.resource("BBRC_VALIDATOR")
        report = tmp_path / f"FreeSurferValidator_{ids[0]}.json"
        report.write_text(json.dumps(REPORT | {"experiment_id": ids[0]}))
        pdf = report.with_suffix(".pdf")
        pdf.write_bytes(b".pdf")
        for path in (report, pdf):
            validator.file(path.name).put(str(path))
        return Study(project_id, *ids)


REPORT = {
    "version": "##0390c55f",
    "generated": "2021-03-05, 10:00",
    "HasAllFiles": {"has_passed": True, "data": []},
    "IsSane": {"has_passed": False, "data": ["made up"]},
}


@pytest.fixture
def bx(bx_packages, config, tmp_path):
    """Run ``bx``; gives what it printed. ``out`` is the folder of its files."""
    out = tmp_path / "out"
    out.mkdir()
    home = tmp_path / "home"
    home.mkdir()

    def bx(*words, answers=""):
        command = [sys.executable, "-m", "bx.cli", *words, "--config", config, "--dest", str(out)]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(bx_packages)}
        done = subprocess.run(
            [command[0], "-W", "ignore", *command[1:]],
            input=answers, capture_output=True, text=True, check=False, env=environment, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in done.stderr, done.stderr
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    bx.out = out
    return bx


def table(bx):
    """The one table that bx has written: rows as dictionaries."""
    (path,) = bx.out.glob("*.xlsx")
    rows = list(openpyxl.load_workbook(path).active.values)
    path.unlink()
    return [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]


def test_ids(bx, study):
    bx("id", study.project)
    assert [(row["ID"], row["label"], row["subject_label"], row["project"]) for row in table(bx)] == [
        (study.first, "subject1_MR1", "subject1", study.project),
        (study.second, "sub-001_MR1", "sub-001", study.project),
    ]
    assert "subject1_MR1" in bx("id", study.first)  # one is printed
    assert "is not a project or an experiment nor a list" in bx("id", "NOWHERE")


def test_dates_of_acquisition(bx, study):
    bx("scandates", study.project)
    assert [(row["ID"], row["scandate"]) for row in table(bx)] == [
        (study.first, "2021-03-04"),
        (study.second, "2021-03-04"),
    ]


def test_tables_of_freesurfer6(bx, study):
    def measured(what):
        bx("freesurfer6", what, study.project, answers="1\n")
        rows = table(bx)
        assert {row["ID"] for row in rows} == {study.first}  # the other has none
        return rows

    values = {(row["measurement"], row["region"]): float(row["value"]) for row in measured("aseg")}
    assert values["Volume_mm3", "eTIV"] == pytest.approx(1405915.237151)
    assert len(values) > 300
    aparc = measured("aparc")
    assert {row["side"] for row in aparc if row["region"] == "precuneus"} == {"left", "right"}
    hippo = {(row["side"], row["region"]): row["value"] for row in measured("hippoSfVolumes")}
    assert hippo["left", "Hippocampal_tail"] == 551.25
    assert len(hippo) == 6


def test_a_table_of_freesurfer7(bx, study):
    bx("freesurfer7", "aseg", study.second)
    rows = table(bx)
    assert {row["ID"] for row in rows} == {study.second}
    assert len(rows) > 300


def test_images(bx, study, tmp_path):
    bx("nifti", "usable", study.project, answers="T1*\n")
    (path,) = bx.out.iterdir()
    assert path.name == f"subject1_subject1_MR1_1_{study.first}.nii.gz"
    assert path.read_bytes() == (tmp_path / "t1.nii.gz").read_bytes()
    bx("nifti", "all", study.first, answers="T1*\n")
    assert len(list(bx.out.iterdir())) == 2


def test_reports_of_its_validator(bx, study):
    bx("freesurfer6", "tests", study.project, answers="1\n")
    (row,) = table(bx)
    assert (row["ID"], row["HasAllFiles"], row["IsSane"]) == (study.first, True, False)
    bx("freesurfer6", "report", study.first, answers="1\n")
    (path,) = bx.out.iterdir()
    assert (path.suffix, path.read_bytes()) == (".pdf", b".pdf")


def test_files(bx, study, subjects_dir, files_below, tmp_path):
    bx("freesurfer6", "files", study.first, answers="1\n")
    (path,) = (bx.out / study.first).glob("*.zip")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / "unzipped")
    # Its pyxnat zips anew what it has got, without the folder that all have in common.
    assert files_below(tmp_path / "unzipped") == files_below(subjects_dir / "subject1")
