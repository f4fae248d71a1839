"""Which pictures a plan makes anew, by what the server holds of them."""

from pathlib import Path

import pytest

from xnatferry.planning.plan import Decision
from xnatferry.planning.remote_state import HeldFile
from xnatferry.planning.snapshot_steps import image_of, snapshot_steps
from xnatferry.sources.model import Kind, LocalFile, Source
from xnatferry.xnat.model import Address

SCAN = Address("P", "s", "s_MR1", scan="1")
IMAGE = (LocalFile(Path("t1.nii.gz"), "t1.nii.gz", 10, 1),)


def decisions(held, digest="a" * 32):
    steps = snapshot_steps(SCAN, IMAGE, digest, held)
    return {step.address.file: step.decision for step in steps if step.payload is not None}


def stored(digest="a" * 32):
    files = [step for step in snapshot_steps(SCAN, IMAGE, digest, {}) if step.payload is not None]
    return {s.address.file: HeldFile(s.size_bytes or 999, s.payload.local.digest or "f" * 32) for s in files}


def test_the_record_decides():
    assert set(decisions({}).values()) == {Decision.CREATE}
    assert set(decisions(stored()).values()) == {Decision.SAME}
    assert set(decisions(stored("b" * 32)).values()) == {Decision.UPDATE}


def test_pictures_without_a_record_are_made_anew():
    """A push was killed before the record, which goes last: nothing says what the pictures show."""
    held = stored()
    held.pop("snapshots.json")
    assert decisions(held) == {
        "scan_qc.gif": Decision.UPDATE,
        "scan_qc_t.gif": Decision.UPDATE,
        "snapshots.json": Decision.CREATE,
    }


def test_a_picture_that_is_gone_comes_back_and_the_other_stays():
    held = stored()
    held.pop("scan_qc.gif")
    assert decisions(held)["scan_qc.gif"] is Decision.CREATE
    assert decisions(held)["scan_qc_t.gif"] is Decision.SAME


def test_pictures_of_others_are_left_alone():
    assert snapshot_steps(SCAN, IMAGE, "a" * 32, {"XNAT_E1_1_qc.gif": HeldFile(5)}) == []


def test_a_record_without_listed_digests_is_known_by_its_size():
    held = {name: HeldFile(file.size_bytes) for name, file in stored().items()}
    assert set(decisions(held).values()) == {Decision.SAME}


@pytest.mark.parametrize(
    ("names", "image"),
    [
        (["a.json", "a.nii.gz"], ["a.nii.gz"]),
        (["a.img", "a.hdr", "b.nii"], ["a.hdr", "a.img"]),
        (["notes.txt"], []),
    ],
)
def test_the_image_of_a_source(names, image):
    files = tuple(LocalFile(Path(name), name, 1, 1) for name in names)
    assert [file.name for file in image_of(Source(Kind.NIFTI, Path("a"), "a", files))] == image
