"""``--scrub`` and ``--allow-private``: what goes, what stays behind, and that nobody's files are touched."""

import gzip
import hashlib
import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

DATA = Path(__file__).parents[1] / "data"


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def private_image(path: Path, seed: int) -> np.ndarray:
    voxels = np.random.default_rng(seed).integers(0, 1000, (6, 5, 4)).astype("int16")
    image = nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
    image.header["descrip"] = b"DOE^JANE 19700101"
    image.header.extensions.append(Nifti1Extension(4, b"<AFNI_atr>jane@workstation</AFNI_atr>"))
    image.header.extensions.append(Nifti1Extension(6, b"phone her"))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image, path)
    return voxels


@pytest.fixture
def private(tmp_path):
    """Two images of one subject, plain and gzip, one with a sidecar that names her."""
    root = tmp_path / "private"
    private_image(root / "P7" / "T1w.nii", 1)
    private_image(root / "P7" / "T2w.nii.gz", 2)
    said = '{\n  "EchoTime": 0.00300,\n  "PatientName": "Doe^Jane",\n  "InstitutionName": "Here"\n}\n'
    (root / "P7" / "T2w.json").write_text(said)
    return root


def test_what_names_a_person_stays_behind_unless_allowed(ferry, private):
    checked = ferry("check", private, "--json")
    assert checked.code == 7
    assert {r["id"] for r in checked.records if r["record"] == "finding"} >= {"PRV01", "PRV02", "PRV03", "PRV04"}
    assert "Jane" not in checked.text
    assert "DOE" not in checked.text
    planned = ferry("plan", private, "-p", "PRIV")
    assert planned.code == 7
    assert "--scrub" in planned.text
    assert ferry("check", private, "--allow-private").code == 0


def test_images_arrive_scrubbed_and_everything_after_holds(ferry, private, tmp_path):
    before = digests(private)
    shown = ferry("check", private, "--scrub", "-v")
    assert shown.code == 0
    assert "PatientName" in shown.text
    assert "extension 4" in shown.text
    stored = tmp_path / "plan.json"
    assert ferry("plan", private, "-p", "PRIV", "--scrub", "-o", stored).code == 0
    assert "Jane" not in stored.read_text()
    first = ferry("push", stored, "--yes", "--json", "--record")
    assert first.code == 0, first.text
    told = {r["address"].rpartition("/")[2]: r["message"] for r in first.records if r["record"] == "receipt"}
    assert told["T2w.json"] == "scrubbed: PatientName"
    assert told["T1w.nii"] == told["T2w.nii.gz"] == "scrubbed: descrip, extension 4, extension 6"
    for again in (
        ferry("push", private, "-p", "PRIV", "--scrub", "--yes"),
        ferry("push", stored, "--yes"),
    ):
        assert again.code == 0, again.text
        assert "Up to date" in again.text
    assert ferry("verify", private, "-p", "PRIV", "--scrub", "--deep").code == 0
    assert ferry("verify", "latest", "--deep").code == 0
    back = tmp_path / "back"
    assert ferry("pull", "PRIV", back).code == 0
    held = {path.name: path for path in back.rglob("*") if path.is_file()}
    assert held["T2w.json"].read_text() == '{\n  "EchoTime": 0.00300,\n  "InstitutionName": "Here"\n}\n'
    for name in ("T1w.nii", "T2w.nii.gz"):
        here, there = nibabel.load(private / "P7" / name), nibabel.load(held[name])
        assert np.array_equal(np.asanyarray(here.dataobj), np.asanyarray(there.dataobj))
        assert not there.header.extensions
        assert there.header["descrip"].item() == b""
    assert ferry("push", private, "-p", "PRIV", "--allow-private", "--yes").code == 6  # other bytes than are there
    assert ferry("undo", "latest", "--yes").code == 0
    assert digests(private) == before


def test_an_image_that_changes_between_plan_and_push_is_not_sent(ferry, private, tmp_path):
    stored = tmp_path / "plan.json"
    assert ferry("plan", private, "-p", "PRIV", "--scrub", "-o", stored).code == 0
    private_image(private / "P7" / "T1w.nii", 9)
    assert ferry("push", stored, "--yes").code == 6


def test_compression_on_the_way_comes_after_scrubbing(ferry, private, tmp_path):
    assert ferry("push", private, "-p", "PRIV", "--scrub", "--gzip", "--yes").code == 0
    assert "Up to date" in ferry("push", private, "-p", "PRIV", "--scrub", "--gzip", "--yes").text
    assert ferry("pull", "PRIV", tmp_path / "back").code == 0
    (image,) = (tmp_path / "back").rglob("T1w.nii.gz")
    assert nibabel.load(image).header["descrip"].item() == b""


def test_tables_and_gzip_headers_arrive_scrubbed(ferry, tmp_path):
    root = shutil.copytree(DATA / "bids" / "asl003", tmp_path / "asl003")
    table = root / ".heudiconv" / "01" / "info" / "dicominfo.tsv"
    table.parent.mkdir(parents=True)
    table.write_text("series_id\tpatient_id\n1-T1\t4711\n")
    for image in root.rglob("*.nii.gz"):
        with image.open("wb") as file, gzip.GzipFile("Doe_Jane.nii", "wb", fileobj=file, mtime=3) as stream:
            stream.write(nibabel.Nifti1Image(np.zeros((6, 5, 4), "int16"), np.eye(4)).to_bytes())
    before = digests(root)
    refused = ferry("check", root)
    assert refused.code == 7
    assert "patient_id" in refused.text
    assert ferry("push", root, "-p", "HEUD", "--scrub", "--yes").code == 0
    assert "Up to date" in ferry("push", root, "-p", "HEUD", "--scrub", "--yes").text
    back = tmp_path / "back"
    assert ferry("pull", "HEUD", back, "--as", "bids").code == 0
    assert (back / table.relative_to(root)).read_text() == "series_id\tpatient_id\n1-T1\tn/a\n"
    images = list(back.rglob("*.nii.gz"))
    assert images
    for image in images:
        assert b"Doe" not in image.read_bytes()
        assert gzip.decompress(image.read_bytes()) == gzip.decompress((root / image.relative_to(back)).read_bytes())
    assert digests(root) == before


def test_a_dataset_comes_back_as_it_was_scrubbed(ferry, tmp_path):
    root = shutil.copytree(DATA / "bids" / "asl003", tmp_path / "asl003")
    sidecar = next(root.rglob("*_asl.json"))
    plain = sidecar.read_bytes()
    sidecar.write_bytes(plain.replace(b"{", b'{ "PatientName": "Doe^Jane",', 1))
    images = sorted(root.rglob("*.nii.gz"))
    for number, image in enumerate(images):
        private_image(image, number)
    before = digests(root)
    pushed = ferry("push", root, "-p", "BASL", "--scrub", "--yes")
    assert pushed.code == 0, pushed.text
    assert "Up to date" in ferry("push", root, "-p", "BASL", "--scrub", "--yes").text
    back = tmp_path / "back"
    pulled = ferry("pull", "BASL", back, "--as", "bids")
    assert pulled.code == 0, pulled.text
    after = digests(back)
    changed = {name for name in before if after.get(name) != before[name]}
    assert changed == {str(path.relative_to(root)) for path in (sidecar, *images)}
    assert json.loads((back / sidecar.relative_to(root)).read_bytes()) == json.loads(plain)
    assert digests(root) == before


@pytest.fixture
def subject(tmp_path):
    """The sample subject, run by jdoe on the computer calculon."""
    root = tmp_path / "subjects"
    shutil.copytree(DATA / "freesurfer7" / "sub-001", root / "sub-001", symlinks=True)
    scripts = root / "sub-001" / "scripts"
    scripts.mkdir(exist_ok=True)
    (scripts / "recon-all.env").write_text("API_TOKEN=hunter2\nUSER=jdoe\n")
    (scripts / "recon-all.env.bak").write_text("API_TOKEN=hunter2\n")
    (scripts / "note.log").write_text("cd /home/jdoe/subjects\nLinux calculon 6.1\nmoved by jdoe to /data/jdoe_old\n")
    stats = root / "sub-001" / "stats" / "aseg.stats"
    stats.chmod(0o644)
    text = "".join(
        f"# hostname calculon\n# user jdoe\n{line}" if line.startswith("# user") else line
        for line in stats.read_text().splitlines(keepends=True)
    )
    stats.write_text(text)
    return root  # fmt: skip


@pytest.mark.parametrize("packed", ["", "zip", "gztar"])
def test_a_subject_arrives_without_who_ran_it(ferry, subject, tmp_path, packed):
    source = subject
    if packed:
        source = Path(shutil.make_archive(str(tmp_path / "sub-001"), packed, subject, "sub-001"))
    before = digests(source) if source.is_dir() else hashlib.md5(source.read_bytes()).hexdigest()
    arguments = (source, "-p", "FS", "--scrub", "--allow-incomplete")
    pushed = ferry("push", *arguments, "--yes")
    assert pushed.code == 0, pushed.text
    assert "BBRC" in pushed.text
    assert "jdoe" not in pushed.text
    back = tmp_path / "back"
    assert ferry("pull", "FS", back).code == 0
    held = {path.name: path for path in back.rglob("*") if path.is_file()}
    assert "recon-all.env" not in held
    assert "recon-all.env.bak" not in held
    assert held["note.log"].read_text() == "cd /home/user/subjects\nLinux host 6.1\nmoved by user to /data/user_old\n"
    assert b"jdoe" not in held["aseg.stats"].read_bytes()
    everything = b"".join(path.read_bytes() for path in held.values())
    assert b"hunter2" not in everything
    assert b"calculon" not in everything
    after = digests(source) if source.is_dir() else hashlib.md5(source.read_bytes()).hexdigest()
    assert after == before
    if not packed:
        assert "Up to date" in ferry("push", *arguments, "--yes").text
        assert ferry("verify", "latest").code == 0
        assert ferry("undo", "latest", "--yes").code == 0
