"""What looks like data and is not uploaded is said in one warning, with counts by kind and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from xnatferry.sources.discovery import discover
from xnatferry.sources.model import Kind, Severity

#: Names of each kind, and a word of the advice.
KINDS = {
    "DICOM files": (["S2/1.dcm", "S2/2.IMA", "S2/IM0003"], "dcm2niix"),
    "images in another packing": (["S3/T1.nii.zst", "S3/T2.nii.bz2", "S3/T3.nii.xz", "S3/T4.nii.gz.gz"], "gzip"),
    "images of another format": (["S4/T1.mgz", "S4/T1.nrrd", "S4/T1.mnc", "S4/T1.mif.gz"], "--as files"),
    "unfinished downloads": (["S5/T1.NII.GZ.part", "S5/T1.nii.crdownload", "S5/.T1.nii.gz.Xy12Zz"], "finish the download"),
    "cloud placeholders": (["S6/.T1.nii.gz.icloud", "S6/T1.nii.gz.cloud"], "cloud"),
    "recordings": (["S7/rest.edf", "S7/rest.vhdr"], "BIDS"),
    "archives": (["S8/T1.zip", "S8/all.tar.gz"], "extract"),
    "FreeSurfer subjects": (
        [f"S{n}/T1w/{n}/{part}" for n in (9, 10) for part in ("mri/T1.mgz", "surf/lh.white", "stats/aseg.stats")],
        "--as freesurfer",
    ),
}  # fmt: skip


@pytest.fixture
def images(tmp_path: Path, make_image) -> Path:
    make_image(tmp_path / "set" / "S1" / "T1.nii")
    (tmp_path / "set" / "notes.txt").write_text("x")
    (tmp_path / "set" / ".hidden").write_text("x")
    return tmp_path / "set"


def put(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(bytes(128) + b"DICM" + bytes(99) if name.startswith("S2") else b"x")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_counted_and_has_advice(images: Path, kind: str) -> None:
    names, advice = KINDS[kind]
    for name in names:
        put(images, name)
    discovery = discover(images, kind=Kind.NIFTI)
    (finding,) = (f for f in discovery.findings if f.id == "NII28")
    assert finding.severity is Severity.WARNING
    number = 2 if kind == "FreeSurfer subjects" else len(names)
    assert f"{number} {kind} (" in finding.message
    assert advice in finding.message
    others = [f.message for f in discovery.findings if f.id == "NII19"]
    assert others == ["not uploaded: 1 file that belongs to no image: notes.txt"]


def test_all_kinds_stand_in_one_warning(images: Path) -> None:
    for names, _ in KINDS.values():
        for name in names:
            put(images, name)
    (finding,) = (f for f in discover(images, kind=Kind.NIFTI).findings if f.id == "NII28")
    assert all(kind in finding.message for kind in KINDS)


def test_nothing_is_said_of_notes(images: Path) -> None:
    for name in ("README.md", "S1/log", "S1/a.pdf", "code/run.sh", "S1/label/x.txt"):
        put(images, name)
    assert "NII28" not in [f.id for f in discover(images).findings]
