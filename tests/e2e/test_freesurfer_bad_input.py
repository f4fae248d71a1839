"""Broken FreeSurfer subjects as labs have them: each is named and stays behind, and the whole ones beside it go."""

import gzip
import os
import shutil
import struct
import zipfile
from pathlib import Path

import pytest

FREESURFER7 = Path(__file__).resolve().parents[1] / "data" / "freesurfer7" / "sub-001"
_VOLUMES = ("orig", "T1", "brainmask", "norm", "aseg", "aparc+aseg", "ribbon", "wmparc")


def volume(centre: float = 0.0) -> bytes:
    """256 voxels of 1 mm in each direction, all of them 0."""
    head = struct.pack(">7ih15f", 1, 256, 256, 256, 1, 0, 0, 1, 1, 1, 1, -1, 0, 0, 0, 0, -1, 0, 1, 0, centre, 0, 0)
    return gzip.compress(head.ljust(284, b"\0") + bytes(256**3), 1, mtime=0)


def surface() -> bytes:
    return b"\xff\xff\xfecreated by somebody\n\n" + struct.pack(">2i", 12, 20) + bytes(12 * 32)


def curvature(vertices: int = 12) -> bytes:
    return b"\xff\xff\xff" + struct.pack(">3i", vertices, 20, 1) + bytes(4 * vertices)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A complete subject: real text files of FreeSurfer 7.4.1, volumes and surfaces of zeros."""
    folder = tmp_path_factory.mktemp("whole") / "sub-001"
    shutil.copytree(FREESURFER7, folder, copy_function=shutil.copyfile)
    packed = volume()
    for name in _VOLUMES:
        (folder / f"mri/{name}.mgz").write_bytes(packed)
    for name in ("surf", "label"):
        (folder / name).mkdir(exist_ok=True)
    for side in ("lh", "rh"):
        for name in ("white", "pial.T1", "inflated", "sphere.reg"):
            (folder / f"surf/{side}.{name}").write_bytes(surface())
        for name in ("thickness", "curv", "area"):
            (folder / f"surf/{side}.{name}").write_bytes(curvature())
        (folder / f"surf/{side}.pial").symlink_to(f"{side}.pial.T1")
        (folder / f"label/{side}.aparc.annot").write_bytes(struct.pack(">i", 12) + bytes(8 * 12))
        (folder / f"label/{side}.cortex.label").write_text("#!ascii label\n0\n")
    (folder / "scripts/recon-all.log").write_text("recon-all -s sub-001 finished without error at now\n")
    return folder


def without(*names):
    return lambda s: [path.unlink() for name in names for path in s.glob(name)]


def writing(name, content):
    def act(subject):
        path = subject / name
        if path.is_symlink():
            path.unlink()
        path.write_bytes(content if isinstance(content, bytes) else content(path.read_bytes()))

    return act


def linking(name, target):
    return lambda s: (s / name).symlink_to(target)


def replacing(name, old, new):
    return writing(name, lambda content: content.replace(old, new))


#: What is broken, how, and the finding that must say so; "-" where the subject goes all the same.
VARIANTS = {
    "unfinished": (writing("scripts/recon-all-status.log", b"#@# Skull Stripping\n"), "error FS02"),
    "failed": (
        writing("scripts/recon-all-status.log", lambda c: c + b"recon-all -s x exited with ERRORS at now\n"),
        "error FS02",
    ),
    "error-file": (
        lambda s: ((s / "scripts/recon-all.done").unlink(), (s / "scripts/recon-all.error").touch()),
        "error FS02",
    ),
    "running": (lambda s: (s / "scripts/IsRunning.lh+rh").write_text("PROCESSID 1"), "error FS02"),
    "mixed-version": (replacing("stats/rh.aparc.stats", b"cvs_version 7.4.1", b"cvs_version 6.0.0"), "error FS23"),
    "no-hemisphere": (without("surf/rh.*", "label/rh.*", "stats/rh.*"), "error FS01"),
    "truncated-mgz": (writing("mri/norm.mgz", lambda c: c[: len(c) // 2]), "error FS04"),
    "cut-by-a-byte": (writing("mri/aseg.mgz", lambda c: c[:-1]), "error FS04"),
    "web-page": (writing("mri/T1.mgz", b"<html>login</html>"), "error FS04"),
    "short-volume": (writing("mri/T1.mgz", lambda c: gzip.compress(gzip.decompress(c)[:-9], 1)), "error FS04"),
    "short-surface": (writing("surf/lh.white", surface()[:-1]), "error FS04"),
    "other-grid": (writing("mri/norm.mgz", volume(4.0)), "error FS05"),
    "other-surface": (writing("surf/lh.thickness", curvature(11)), "error FS07"),
    "empty-stats": (writing("stats/aseg.stats", b""), "error FS01"),
    "cut-stats": (writing("stats/aseg.stats", lambda c: c[: len(c) * 2 // 3]), "error FS09"),
    "swapped-stats": (lambda s: shutil.copyfile(s / "stats/lh.aparc.stats", s / "stats/rh.aparc.stats"), "error FS09"),
    "stats-of-another": (
        replacing("stats/wmparc.stats", b"subjectname stats-of-another", b"subjectname sub-002"),
        "error FS13",
    ),
    "link-loop": (lambda s: ((s / "mri/a").symlink_to("b"), (s / "mri/b").symlink_to("a")), "error FS19"),
    "folder-loop": (linking("mri/again", ".."), "warning FS14"),
    "link-out": (linking("surf/lh.EC_average", "/usr"), "warning FS14"),
    "dangling": (linking("mri/rawavg.mgz", "gone.mgz"), "error FS19"),
    "base": (lambda s: (s / "base-tps").write_text("a\nb\n"), "error FS20"),
}


@pytest.fixture
def broken(whole, tmp_path):
    """One subject for each variant, and a whole one; files are shared until they are broken."""
    root = tmp_path / "subjects"
    for name in (*VARIANTS, "whole"):
        folder = root / name
        shutil.copytree(whole, folder, symlinks=True, copy_function=os.link)
        for path in (folder / "stats").iterdir():
            text = path.read_bytes().replace(b"subjectname sub-001", b"subjectname " + name.encode())
            path.unlink()
            path.write_bytes(text)
    for name, (damage, _) in VARIANTS.items():
        folder = root / name
        for path in folder.rglob("*"):  # a name of its own for what is about to be written to
            if path.is_file() and not path.is_symlink() and path.stat().st_nlink > 1 and path.suffix != ".mgz":
                content = path.read_bytes()
                path.unlink()
                path.write_bytes(content)
        for path in (folder / "mri").glob("*.mgz"):
            content = path.read_bytes()
            path.unlink()
            path.write_bytes(content)
        damage(folder)
    return root


def test_the_verdict_on_every_variant(ferry, broken):
    ended = ferry("check", broken, "--json")
    assert ended.code == 7
    refused = {record["relative"]: record["refused"] for record in ended.records if record["record"] == "source"}
    assert refused["whole"] is False
    worst = {}
    for record in ended.records:
        if record["record"] != "finding" or record["path"] is None:
            continue
        if Path(record["path"]) == broken:
            continue  # what is said of all of them
        subject = Path(record["path"]).relative_to(broken).parts[0]
        worst.setdefault(subject, []).append(record)
    for name, (_, expected) in VARIANTS.items():
        told = {f"{record['severity']} {record['id']}": record for record in worst[name]}
        print(f"{name:18} {'refused' if refused[name] else 'goes':8} {expected}: {told[expected]['message'][:90]}")
        assert expected in told, (name, list(told))
        errors = {verdict for verdict in told if verdict.startswith("error")}
        assert errors == ({expected} if expected.startswith("error") else set()), name
        assert refused[name] is bool(errors)
        if expected[-4:] in {"FS01", "FS02", "FS04", "FS05", "FS07", "FS09", "FS13", "FS23"}:
            assert {"file", "found"} <= told[expected].keys(), name


def test_the_whole_ones_go_and_the_others_are_named(ferry, broken):
    keep = {"whole", "running", "truncated-mgz", "stats-of-another"}
    for path in broken.iterdir():
        if path.name not in keep:
            shutil.rmtree(path)
    ended = ferry("push", broken, "-p", "P", "-y")
    assert ended.code == 7
    assert "3 sources refused" in ended.text
    assert "IsRunning" in ended.text
    assert "running" not in ferry("list", "P").out
    again = ferry("push", broken, "-p", "P", "-y", "--allow-incomplete")
    assert again.code == 7, "an unfinished run may be carried, a damaged file not"
    assert "running" in ferry("list", "P").out


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_cannot_be_read_is_said(ferry, whole, tmp_path):
    folder = shutil.copytree(whole, tmp_path / "sub-001", symlinks=True)
    (folder / "mri/norm.mgz").chmod(0)
    ended = ferry("check", folder)
    assert ended.code == 7
    assert "norm.mgz cannot be read" in ended.text


def test_a_zip_of_several_subjects_and_a_name_with_a_blank(ferry, whole, tmp_path):
    with zipfile.ZipFile(tmp_path / "batch.zip", "w") as packed:
        for name in ("batch/s1", "batch/s 2"):
            for path in whole.rglob("*"):
                if path.is_file():
                    packed.write(path, f"{name}/{path.relative_to(whole)}")
    ended = ferry("push", tmp_path / "batch.zip", "-p", "P", "-y")
    assert ended.code == 7
    assert "to use s_2 instead, add --clean-labels" in ended.text
    assert ferry("push", tmp_path / "batch.zip", "-p", "P", "-y", "--clean-labels").code == 0
    listed = ferry("list", "P").out
    assert "s1_MR1" in listed
    assert "s_2_MR1" in listed


def test_a_file_of_more_than_four_gigabytes_is_read_by_its_ends(ferry, whole, tmp_path):
    """A sparse file takes no room; its header and size are checked without reading it."""
    folder = shutil.copytree(whole, tmp_path / "sub-001", symlinks=True)
    with (folder / "mri/dwi.nii").open("wb") as stream:
        stream.truncate(5 << 30)
    ended = ferry("check", folder, "--json")
    assert ended.code == 0
    (source,) = (record for record in ended.records if record["record"] == "source")
    assert {file["size_bytes"] for file in source["files"] if file["name"].endswith("dwi.nii")} == {5 << 30}


def test_the_session_of_the_server_is_taken_and_two_are_refused(ferry, whole, images, tmp_path):
    root = tmp_path / "subjects"
    shutil.copytree(whole, root / "ann", symlinks=True)
    visits = {"ann": "ann_2020", "bob": "bob_2021"}
    for subject, session in visits.items():
        assert ferry("push", images / subject, "-p", "P", "--subject", subject, "--session", session, "-y").code == 0
    assert ferry("push", root, "-p", "P", "-y").code == 0
    assert "FREESURFER7" in ferry("list", "P/ann/ann_2020").out
    assert "ann_MR1" not in ferry("list", "P").out
    ferry("push", images / "ann", "-p", "P", "--subject", "ann", "--session", "ann_2022", "--date", "2022-02-02", "-y")
    unclear = ferry("plan", root, "-p", "P")
    assert unclear.code == 7
    assert "2 possible sessions" in unclear.text
    assert "ann_2020" in unclear.text
    assert "ann_2022 (2022-02-02)" in unclear.text
    dated = ferry("plan", root, "-p", "P", "--session", "ann_2022")
    assert dated.code == 0


def test_a_subject_without_a_session_is_said_or_kept_back(ferry, whole, images, tmp_path):
    root = tmp_path / "subjects"
    shutil.copytree(whole, root / "zoe", symlinks=True)
    assert ferry("push", images, "-p", "P", "-y").code == 0
    told = ferry("plan", root, "-p", "P", "-v")
    assert told.code == 0
    assert "zoe_MR1 is created" in told.text
    kept = ferry("plan", root, "-p", "P", "--existing-only")
    assert kept.code == 7
    assert "subject zoe does not exist on the server" in kept.text


def test_small_requests_carry_a_subject_in_parts(ferry, whole):
    assert ferry("push", whole, "-p", "P", "-y", "--max-body", "200k").code == 0
    assert ferry("verify", whole, "-p", "P").code == 0
    wrong = ferry("push", whole, "-p", "P", "-y", "--max-body", "lots")
    assert (wrong.code, "--max-body lots" in wrong.text) == (2, True)


def test_a_label_of_another_version_is_refused(ferry, whole):
    ended = ferry("plan", whole, "-p", "P", "--resource", "FREESURFER6")
    assert ended.code == 7
    assert "the files are of FreeSurfer 7.4.1" in ended.text
