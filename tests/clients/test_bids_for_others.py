"""What we made of a BIDS dataset is usable by those who never heard of us: bx, the BBRC validator, NRG's xnat2bids,
pyxnat's and xnatpy's listings.

bx and the validator bring a pyxnat of their own, so they cannot be installed beside the other clients: ``make bbrc``
gives them an environment, where the tests below run the programs themselves. Without it, the calls that they make (read
in bbrc-bx 0.9.2, ``bx/nifti.py``, and bbrc-validator 0.6.post1, ``sanity/data.py``) are made with pyxnat.
"""

import gzip
import json
import os
import re
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import xnat as xnatpy

import xnatferry
from xnatferry import api
from xnatferry.planning.mapping import MappingRules

pyxnat = pytest.importorskip("pyxnat")
ROOT = Path(__file__).parents[2]
DATA = ROOT / "tests" / "data"
BBRC = Path(os.environ.get("XNATFERRY_BBRC", ROOT / ".venv-bbrc")) / "bin"
needs_bbrc = pytest.mark.skipif(not (BBRC / "bx").exists(), reason="no environment with bbrc-bx (make bbrc)")


def write_dataset(root):
    """Images without sessions: T1w, two runs of bold with inherited metadata, and dwi with tables at its side."""
    image = (DATA / "nifti" / "nibabel" / "anatomical.nii").read_bytes()
    for name in ("anat/sub-01_T1w", "func/sub-01_task-rest_run-1_bold", "func/sub-01_task-rest_run-2_bold"):
        (root / "sub-01" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sub-01" / f"{name}.nii.gz").write_bytes(gzip.compress(image, mtime=0))
    (root / "sub-01" / "anat" / "sub-01_T1w.json").write_text('{"EchoTime": 0.004, "Manufacturer": "Siemens"}')
    (root / "sub-01" / "func" / "sub-01_task-rest_run-1_events.tsv").write_text("onset\tduration\n1\t2\n")
    (root / "sub-01" / "func" / "sub-01_task-rest_events.json").write_text("{}")
    (root / "task-rest_bold.json").write_text('{"RepetitionTime": 2.2, "TaskName": "rest"}')
    dwi = root / "sub-01" / "dwi"
    dwi.mkdir()
    for ending in ("nii.gz", "bval", "bvec"):
        (dwi / f"sub-01_dwi.{ending}").write_bytes((DATA / "nifti" / "dipy" / f"small_25.{ending}").read_bytes())
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    (root / "participants.tsv").write_text("participant_id\tsex\tage\nsub-01\tF\t34\n")
    return root


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("ds") / "made")


@pytest.fixture(scope="module")
def project(archive, dataset):
    with xnatferry.connect(server=archive.url, user="admin", password="admin-secret") as client:
        plan = api.plan(api.discover(dataset), client.remote, MappingRules("FOROTHERS"))
        assert not plan.refusals
        assert api.push(plan, client.remote).exit_code == 0
    return "FOROTHERS"


@pytest.fixture
def x(config, project):
    with pyxnat.Interface(config=config) as interface:
        yield interface


# bx


def bx_downloads(x, project, sequence, folder):
    """What ``bx nifti usable PROJECT`` does for the sequence that it asks for."""
    kept = []
    for row in x.array.experiments(project_id=project, columns=["label", "subject_label"]).data:
        for scan in x.select.experiment(row["ID"]).scans():
            if scan.label().startswith("0-") or not fnmatch(scan.attrs.get("type"), sequence):
                continue
            resource = scan.resource("NIFTI")
            if scan.attrs.get("quality") != "usable" or not resource.exists():
                continue
            here = folder / scan.label()
            here.mkdir(parents=True)
            resource.get(dest_dir=str(here), extract=True)
            for ending in ("nii.gz", "bvec", "bval"):
                there = list((here / "NIFTI").glob(f"*.{ending}"))
                if len(there) == 1:
                    kept.append(
                        (f"{row['subject_label']}_{row['label']}_{scan.label()}.{ending}", there[0].read_bytes())
                    )
    return dict(kept)


def test_bx_finds_one_image_in_each_scan(x, project, dataset, tmp_path):
    sub = dataset / "sub-01"
    found = bx_downloads(x, project, "bold", tmp_path / "bold")
    assert found == {
        f"01_01_MR1_{number + 1}.nii.gz": (sub / "func" / f"sub-01_task-rest_run-{number}_bold.nii.gz").read_bytes()
        for number in (1, 2)
    }
    found = bx_downloads(x, project, "d*", tmp_path / "dwi")
    assert found == {
        f"01_01_MR1_4.{ending}": (sub / "dwi" / f"sub-01_dwi.{ending}").read_bytes()
        for ending in ("nii.gz", "bval", "bvec")
    }


@needs_bbrc
def test_bx_itself_downloads_them(project, config, dataset, tmp_path):
    asked = [str(BBRC / "bx"), "nifti", "usable", project, "--config", config, "--dest", str(tmp_path)]
    done = subprocess.run(asked, input="dwi\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    got = {re.sub(r"_XNAT_E\d+|_[^_.]*_E\d+", "", path.name): path.read_bytes() for path in tmp_path.glob("01_*")}
    sub = dataset / "sub-01" / "dwi"
    assert sorted(got.values()) == sorted((sub / f"sub-01_dwi.{e}").read_bytes() for e in ("nii.gz", "bval", "bvec"))


# The BBRC validator

RULES = """
import json, sys
import pyxnat
from bbrc.validation.sanity import data
from bbrc.validation.utils import __is_valid_scan__
x = pyxnat.Interface(config=sys.argv[1])
(session,) = x.array.experiments(project_id=sys.argv[2]).data
columns = ["xnat:imageScanData/quality", "xnat:imageScanData/type", "xsiType"]
said = {}
for scan in x.array.scans(experiment_id=session["ID"], columns=columns).data:
    number = scan["xnat:imagescandata/id"]
    nifti = data.HasNifti({}, x).run(session["ID"], number).has_passed
    dwi = scan["xnat:imagescandata/type"] == "dwi"
    tables = data.HasBvecBval({}, x).run(session["ID"], number).has_passed if dwi else None
    said[number] = [__is_valid_scan__(x, scan), nifti, tables]
print(json.dumps(said))
"""
EXPECTED = {"1": [True, True, None], "2": [True, True, None], "3": [True, True, None], "4": [True, True, True]}


@needs_bbrc
def test_the_validator_itself_takes_every_scan(project, config):
    done = subprocess.run(
        [str(BBRC / "python"), "-c", RULES, config, project], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == EXPECTED


def test_the_rules_of_the_validator_hold(x, project):
    (session,) = x.array.experiments(project_id=project).data
    columns = ["xnat:imageScanData/quality", "xnat:imageScanData/type", "xsiType"]
    said = {}
    for row in x.array.scans(experiment_id=session["ID"], columns=columns).data:
        number = row["xnat:imagescandata/id"]
        scan = x.select.experiment(session["ID"]).scan(number)
        valid = number.isdigit() and not number.startswith("0") and row["xnat:imagescandata/quality"] == "usable"
        valid &= scan.datatype() in {
            "xnat:mrScanData",
            "xnat:petScanData",
            "xnat:ctScanData",
            "xnat:otherDicomScanData",
        }
        resources = x._get_json(f"{scan._uri}/resources")
        images = [one for one in resources if one["content"] == "NIFTI_RAW" and one["label"] == "NIFTI"]
        tables = None
        if row["xnat:imagescandata/type"] == "dwi":
            files = x._get_json(f"/data/experiments/{session['ID']}/scans/{number}/resources/NIFTI/files")
            large = {one["Name"][-5:]: one["URI"] for one in files if int(one["Size"]) > 50 and "bv" in one["Name"]}
            widths = {len(x.get(uri).text.splitlines()[0].split()) for uri in large.values()}
            tables = set(large) == {".bval", ".bvec"} and len(widths) == 1
        said[number] = [valid, bool(images and int(images[0]["file_count"]) > 0), tables]
    assert said == EXPECTED


# NRG's xnat2bids: reads the scan resources NIFTI and BIDS from a session's folder, and needs exactly one JSON in BIDS


def xnat2bids(session):
    """Paths that the convention gives for a session folder as XNAT has it on disk; scans it would skip give nothing.

    Source: ``xnat2bids.py`` 1.1 of NRG's setup command, as far as the resources go; its list of suffixes is left out.
    """
    description = session / "RESOURCES" / "BIDS" / "dataset_description.json"
    tree = {description.name: description.read_bytes()}  # it fails without
    for scan in sorted((session / "SCANS").iterdir()):
        sidecars = list((scan / "BIDS").glob("*.json"))
        if len(sidecars) != 1:
            continue
        stem = sidecars[0].stem
        for folder in ("BIDS", "NIFTI"):
            for path in sorted((scan / folder).glob(f"{stem}.*")):
                if not path.name.endswith("_catalog.xml"):
                    tree[path.name] = path.read_bytes()
    return tree


def test_the_folders_are_those_of_xnat2bids(archive, project, dataset):
    tree = xnat2bids(archive.root / "archive" / project / "arc001" / "01_MR1")
    images = {path.name: path.read_bytes() for path in dataset.rglob("*") if path.name.endswith(("gz", "bval", "bvec"))}
    assert images.items() <= tree.items()
    for run in ("1", "2"):  # metadata that stands at the root only is written beside the image for them
        assert json.loads(tree[f"sub-01_task-rest_run-{run}_bold.json"]) == {"RepetitionTime": 2.2, "TaskName": "rest"}
    assert "dataset_description.json" in tree


# Listings


def test_pyxnat_lists_metadata_as_columns(x, project):
    scans = x.array.mrscans(
        project_id=project,
        columns=["xnat:mrScanData/type", "xnat:mrScanData/parameters/tr", "xnat:mrScanData/parameters/voxelRes/x"],
    ).data
    rows = {row["xnat:mrscandata/id"]: row for row in scans}
    assert rows["2"]["xnat:mrscandata/parameters/tr"] == "2200.0"
    assert float(rows["2"]["xnat:mrscandata/parameters/voxelres/x"]) > 0


def test_xnatpy_walks_and_downloads(archive, project, dataset, tmp_path):
    with xnatpy.connect(archive.url, user="admin", password="admin-secret") as connection:
        session = connection.projects[project].subjects["01"].experiments["01_MR1"]
        assert [scan.type for scan in session.scans.values()] == ["T1w", "bold", "bold", "dwi"]
        assert session.scans["2"].parameters.tr == 2200
        assert connection.projects[project].subjects["01"].demographics.gender == "female"
        files = session.scans["4"].resources["NIFTI"].files
        assert sorted(file.path for file in files.values()) == [
            "sub-01_dwi.bval",
            "sub-01_dwi.bvec",
            "sub-01_dwi.nii.gz",
        ]
        files["sub-01_dwi.bval"].download(str(tmp_path / "got"))
        assert (tmp_path / "got").read_bytes() == (dataset / "sub-01" / "dwi" / "sub-01_dwi.bval").read_bytes()


def test_freesurfer_of_a_dataset_is_read_by_pyxnat(archive, config, project_id, tmp_path):
    import shutil

    root = write_dataset(tmp_path / "ds")
    shutil.copytree(DATA / "freesurfer7" / "sub-001", root / "derivatives" / "freesurfer" / "sub-01")
    with xnatferry.connect(server=archive.url, user="admin", password="admin-secret") as client:
        plan = api.plan(api.discover(root, allow_incomplete=True), client.remote, MappingRules(project_id))
        assert api.push(plan, client.remote).exit_code == 0
    with pyxnat.Interface(config=config) as x:
        resource = x.select.project(project_id).subject("01").experiment("01_MR1").resource("FREESURFER7")
        assert "eTIV" in set(resource.aseg()["region"])
        assert set(resource.aparc()["side"]) >= {"left", "right"}
