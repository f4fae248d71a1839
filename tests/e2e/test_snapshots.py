"""``--snapshots``: pictures that are planned, proven, taken back and not sent twice, though no plan knows their bytes."""

import json
from io import BytesIO
from urllib.request import urlopen

import numpy as np
import pytest
from PIL import Image

from tests.e2e.conftest import write_image

PICTURES = {"scan_qc.gif", "scan_qc_t.gif", "snapshots.json"}


def steps_of(done):
    return {
        r["address"].rpartition("/")[2]: r["decision"]
        for r in done.records
        if r["record"] == "step" and "SNAPSHOTS/" in r["address"]
    }


@pytest.fixture
def image(tmp_path):
    return write_image(tmp_path / "images" / "ann" / "T1w.nii.gz", shape=(20, 24, 18))


def test_pictures_are_planned_sent_proven_and_not_sent_twice(ferry, image):
    root = image.parents[1]
    planned = ferry("plan", root, "-p", "P", "--snapshots", "--json")
    assert steps_of(planned) == dict.fromkeys(PICTURES, "create")
    pushed = ferry("push", root, "-p", "P", "--snapshots", "-y", "--json")
    assert pushed.code == 0, pushed.text
    assert {v["proof"] for v in pushed.records if v["record"] == "verdict"} == {"digest matched"}
    again = ferry("push", root, "-p", "P", "--snapshots", "-y", "--json")
    assert again.code == 0, again.text
    assert steps_of(again) == dict.fromkeys(PICTURES, "same")
    run = pushed.record("result")["run"]
    assert ferry("verify", run).code == 0
    # Without the option pictures are nobody's business; with it they come back after undo.
    assert "Up to date" in ferry("push", root, "-p", "P", "-y").out
    assert ferry("undo", run, "-y").code == 0
    assert ferry("list", "P").code == 4 or "ann" not in ferry("list", "P").out


def test_another_image_gets_other_pictures_and_nothing_else_does(ferry, image, tmp_path):
    root = image.parents[1]
    other = write_image(root / "bob" / "T1w.nii.gz", seed=3, shape=(20, 24, 18))
    assert ferry("push", root, "-p", "P", "--snapshots", "-y").code == 0
    write_image(image, seed=9, shape=(20, 24, 18))
    plan = tmp_path / "plan.json"
    planned = ferry("plan", root, "-p", "P", "--snapshots", "--on-conflict", "overwrite", "--json", "-o", plan)
    decisions = {
        r["address"]: r["decision"] for r in planned.records if r["record"] == "step" and "SNAPSHOTS/" in r["address"]
    }
    assert {a: d for a, d in decisions.items() if "ann" in a and d == "update"}.keys() == {
        a for a in decisions if "ann" in a
    }
    assert {d for a, d in decisions.items() if "bob" in a} == {"same"}
    assert ferry("push", plan, "-y").code == 0
    assert "Up to date" in ferry("push", plan, "-y").out
    assert "Up to date" in ferry("push", root, "-p", "P", "--snapshots", "-y").out
    assert other.exists()


def test_what_stands_in_xnat_is_what_its_pages_ask_for(archive, ferry, image):
    env = {"XNAT_HOST": archive.url, "XNAT_USER": "admin", "XNAT_PASS": "admin-pw"}
    done = ferry("push", image.parents[1], "-p", "P", "--snapshots", "-y", env=env)
    assert done.code == 0, done.text
    rest = "/data/projects/P/subjects/ann/experiments/ann_MR1/scans/1/resources"
    rows = _get(archive, f"{rest}/SNAPSHOTS/files?format=json")["ResultSet"]["Result"]
    assert {(r["Name"], r["file_content"]) for r in rows if r["Name"].endswith("gif")} == {
        ("scan_qc.gif", "ORIGINAL"),
        ("scan_qc_t.gif", "THUMBNAIL"),
    }
    (resource,) = [r for r in _get(archive, f"{rest}?format=json")["ResultSet"]["Result"] if r["label"] == "SNAPSHOTS"]
    assert (resource["format"], resource["content"]) == ("GIF", "SNAPSHOTS")
    widths = [
        Image.open(BytesIO(_read(archive, f"{rest}/SNAPSHOTS/files/{name}"))).width
        for name in ("scan_qc.gif", "scan_qc_t.gif")
    ]
    assert widths == [512, 256]
    about = json.loads(_read(archive, f"{rest}/SNAPSHOTS/files/snapshots.json"))
    assert about["image"] == "T1w.nii.gz"


def test_pictures_of_others_are_left_alone(archive, ferry, image):
    env = {"XNAT_HOST": archive.url, "XNAT_USER": "admin", "XNAT_PASS": "admin-pw"}
    assert ferry("push", image.parents[1], "-p", "P", "-y", env=env).code == 0
    rest = "/data/projects/P/subjects/ann/experiments/ann_MR1/scans/1/resources/SNAPSHOTS"
    for path in (rest, f"{rest}/files/XNAT_E1_1_qc.gif?inbody=true&content=ORIGINAL"):
        _read(archive, path, data=b"GIF89a", method="PUT")
    done = ferry("push", image.parents[1], "-p", "P", "--snapshots", "-y", "--json", env=env)
    assert done.code == 0, done.text
    assert steps_of(done) == {}


def test_an_image_without_a_picture_goes_without(ferry, tmp_path):
    import nibabel

    path = tmp_path / "images" / "ann" / "odd.nii"
    path.parent.mkdir(parents=True)
    data = bytearray(nibabel.Nifti1Image(np.zeros((8, 8, 8), np.uint8), np.eye(4)).to_bytes())
    data[70:74] = (1).to_bytes(2, "little") * 2  # single bits: datatype and bitpix
    path.write_bytes(data[: 352 + 64])
    done = ferry("push", tmp_path / "images", "-p", "P", "--snapshots", "-y")
    assert done.code == 0, done.text
    assert "SNAPSHOTS" not in done.out
    shown = ferry("push", tmp_path / "images", "-p", "P", "--snapshots", "-y", "-v")
    assert "PIC01" in shown.out, shown.text


def _get(archive, path):
    return json.loads(_read(archive, path))


def _read(archive, path, *, data=None, method="GET"):
    from base64 import b64encode
    from urllib.request import Request

    request = Request(archive.url + path, data=data, method=method)
    request.add_header("Authorization", "Basic " + b64encode(b"admin:admin-pw").decode())
    with urlopen(request, timeout=30) as answer:
        return answer.read()
