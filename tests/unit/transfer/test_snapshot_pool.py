"""Pictures from processes of their own: in any order, and a dead process is a sentence, not a hang."""

import os
import signal
from pathlib import Path

import pytest

from xnatferry.errors import DataError
from xnatferry.pictures import snapshots
from xnatferry.sources.model import LocalFile, Made
from xnatferry.transfer.snapshot_pool import SnapshotPool

IMAGES = Path(__file__).resolve().parents[2] / "data" / "nifti" / "nibabel"


def made(path, content="ORIGINAL"):
    return LocalFile(path, "p.gif", 0, 0, made=Made(content, ""))


def test_the_pictures_are_those_that_this_process_would_make():
    paths = [IMAGES / "anatomical.nii", IMAGES / "functional.nii"]
    with SnapshotPool([made(path) for path in paths], workers=2) as snapshot_pool:
        for path in reversed(paths):
            original, small = snapshots(path)
            assert snapshot_pool.picture(made(path)) == original.data
            assert snapshot_pool.picture(made(path, "THUMBNAIL")) == small.data


def test_an_image_that_cannot_be_shown_says_why(tmp_path):
    (tmp_path / "bad.nii").write_bytes(b"no image")
    with (
        SnapshotPool([made(tmp_path / "bad.nii")]) as snapshot_pool,
        pytest.raises(DataError, match=r"bad\.nii: no picture"),
    ):
        snapshot_pool.picture(made(tmp_path / "bad.nii"))


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_killed_process_is_replaced():
    one, two = IMAGES / "anatomical.nii", IMAGES / "functional.nii"
    with SnapshotPool([made(one)], workers=1) as snapshot_pool:
        snapshot_pool.picture(made(one))
        (process,) = snapshot_pool._all
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert snapshot_pool.picture(made(two)).startswith(b"GIF8")
    assert all(process.poll() is not None for process in snapshot_pool._all)


def test_a_small_studio_draws_thumbnails_for_pages():
    from xnatferry.pictures import thumbnail

    path = IMAGES / "anatomical.nii"
    with SnapshotPool((), workers=1, small=True) as snapshot_pool:
        assert snapshot_pool.thumbnail(path) == thumbnail(path).data
