"""Every way to store voxels gives the values that nibabel reads; what is broken gives one sentence."""

from __future__ import annotations

import gzip
import tracemalloc
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from xnatferry.errors import DataError, UsageError
from xnatferry.pictures import MEDIA, montage, mosaic, snapshots, thumbnail
from xnatferry.pictures.voxels import LARGEST_AXIS, open_frames

DATA = Path(__file__).resolve().parents[2] / "data"
DATATYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


def values(image: Path | bytes, index: int = 0) -> np.ndarray:
    with open_frames(image) as frames:
        return frames.frame(index)


def ramp(dtype: str, shape=(5, 6, 7)) -> np.ndarray:
    return (np.arange(np.prod(shape)) % 120).reshape(shape).astype(dtype)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", DATATYPES)
def test_all_datatypes_in_both_orders(kind, order, dtype) -> None:
    header = kind.header_class(endianness=order)
    image = kind(ramp(dtype), np.eye(4), header, dtype=np.dtype(dtype))
    image.header["scl_slope"], image.header["scl_inter"] = 1, 0
    data = image.to_bytes()
    assert np.array_equal(values(data), ramp(dtype))
    assert np.array_equal(values(gzip.compress(data)), ramp(dtype))


def test_slope_and_intercept_are_applied(tmp_path) -> None:
    image = nibabel.Nifti1Image(ramp("i2"), np.eye(4))
    image.header.set_slope_inter(0.25, -3)
    path = tmp_path / "scaled.nii"
    image.to_filename(path)
    assert np.allclose(values(path), nibabel.load(path).get_fdata())


def test_colours_and_complex_numbers_are_shown() -> None:
    rgb = np.zeros((8, 9, 7), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    rgb["R"][:4] = 200
    picture = mosaic(nibabel.Nifti1Image(rgb, np.eye(4)).to_bytes(), planes=["axial"])
    shown = np.asarray(Image.open(BytesIO(picture.data)))
    assert shown.ndim == 3
    left = shown[shown.shape[0] // 4, shown.shape[1] // 4]
    assert left[0] > 150
    assert left[1] < 40
    wave = (3 + 4j) * ramp("f4")
    assert np.allclose(values(nibabel.Nifti1Image(wave.astype("c8"), np.eye(4)).to_bytes()), 5 * ramp("f4"))


def test_either_half_of_a_pair_will_do(tmp_path) -> None:
    nibabel.save(nibabel.Nifti1Pair(ramp("i2"), np.eye(4)), tmp_path / "pair.img")
    assert np.array_equal(values(tmp_path / "pair.hdr"), ramp("i2"))
    assert np.array_equal(values(tmp_path / "pair.img"), ramp("i2"))
    (tmp_path / "pair.img").unlink()
    with pytest.raises(DataError, match=r"pair\.img with the voxels is missing"):
        mosaic(tmp_path / "pair.hdr")


def test_real_images_equal_what_nibabel_reads() -> None:
    for path in sorted((DATA / "nifti" / "nibabel").glob("*.nii*")):
        image = nibabel.load(path)
        if image.header.get_intent()[0].startswith("ConnDense") or 0 in image.shape:
            continue
        with open_frames(path) as frames:
            at = frames.grid.frames // 2
            expected = np.asanyarray(image.dataobj).reshape(*frames.grid.shape, -1, order="F")[..., at]
            assert np.allclose(frames.frame(at), expected, rtol=1e-5), path


def test_a_huge_volume_is_thinned_in_little_memory(tmp_path) -> None:
    shape = (64, 64, 5 * LARGEST_AXIS)
    path = tmp_path / "long.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones(shape, np.float64), np.eye(4)), path)
    tracemalloc.start()
    with open_frames(path) as frames:
        volume = frames.frame(0)
        steps = frames.steps_mm
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert volume.shape == (64, 64, LARGEST_AXIS)
    assert steps == (1.0, 1.0, 5.0)
    assert peak < 0.6 * np.prod(shape) * 8


def test_only_one_volume_of_a_plain_series_is_read(tmp_path) -> None:
    path = tmp_path / "bold.nii"
    nibabel.save(nibabel.Nifti1Image(ramp("i2", (6, 6, 6, 9)), np.eye(4)), path)
    size = path.stat().st_size
    with path.open("r+b") as stream:
        stream.truncate(352 + 5 * 6**3 * 2)  # the middle volume is whole, what follows is gone
    assert size > path.stat().st_size
    assert np.array_equal(values(path, 4), ramp("i2", (6, 6, 6, 9))[..., 4])
    thumbnail(path)


def test_a_carpet_shows_the_volume_that_jumps(tmp_path) -> None:
    series = np.full((10, 10, 8, 20), 500, np.int16)
    series[..., 12] += 200
    series[0] = 0
    for name in ("bold.nii", "bold.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(series, np.eye(4)), tmp_path / name)
    with_carpet, without = mosaic(tmp_path / "bold.nii"), mosaic(tmp_path / "bold.nii", carpet=False)
    assert with_carpet.height > without.height
    assert with_carpet == mosaic(tmp_path / "bold.nii.gz")
    shown = np.asarray(Image.open(BytesIO(with_carpet.data)))
    band = shown[without.height : with_carpet.height - 30].mean(axis=0)
    assert band.argmax() * 20 // shown.shape[1] == 12


def test_the_mean_is_the_mean() -> None:
    series = np.zeros((6, 6, 6, 4), np.int16)
    series[:3, ..., 1:] = 100
    series[3:, ..., 2] = 100
    image = nibabel.Nifti1Image(series, np.eye(4)).to_bytes()
    still = mosaic(nibabel.Nifti1Image(series.mean(axis=3), np.eye(4)).to_bytes())
    assert mosaic(image, view="mean") == still
    assert mosaic(image) != still


@pytest.mark.parametrize("media", sorted(MEDIA))
def test_all_media_and_the_same_bytes_twice(media) -> None:
    path = DATA / "nifti" / "nibabel" / "anatomical.nii"
    picture = mosaic(path, media=media, width_px=300)
    assert picture == mosaic(path.read_bytes(), media=media, width_px=300)
    shown = Image.open(BytesIO(picture.data))
    assert (shown.width, shown.height, Image.MIME[shown.format]) == (300, picture.height, media)
    assert picture.data_uri.startswith(f"data:{media};base64,")


def test_snapshots_are_two_gifs_one_half_as_wide() -> None:
    original, small = snapshots(DATA / "nifti" / "nibabel" / "anatomical.nii")
    assert (original.width, small.width, original.media, small.media) == (512, 256, "image/gif", "image/gif")


def test_a_montage_rises_from_the_lowest_plane() -> None:
    volume = np.zeros((12, 12, 30), np.int16) + np.arange(30, dtype=np.int16) * 10
    picture = montage(nibabel.Nifti1Image(volume, np.eye(4)).to_bytes(), columns=3, rows=3, width_px=300)
    shown = np.asarray(Image.open(BytesIO(picture.data)))[: 3 * 100]
    shades = [shown[50 + 102 * (n // 3), 50 + 102 * (n % 3)] for n in range(9)]
    assert shades == sorted(shades)
    assert shades[0] < shades[-1]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda data: b"", "neither NIfTI nor MGH"),
        (lambda data: b"<html>" * 200, "neither NIfTI nor MGH"),
        (lambda data: data[:-10], "the header states more"),
        (lambda data: gzip.compress(data)[:-60], "cannot be read"),
        (lambda data: gzip.compress(data)[:300] + b"x" * 500, "cannot be read"),
        (lambda data: data[:70] + (1).to_bytes(2, "little") + data[72:], "datatype code 1 "),
        (lambda data: data[:42] + b"\xff\x7f\xff\x7f" + data[46:], "not plausible|states more"),
    ],
)
def test_what_is_broken_gives_one_sentence(spoil, says) -> None:
    image = nibabel.Nifti1Image(np.random.default_rng(1).integers(0, 9999, (9, 9, 9), dtype=np.int16), np.eye(4))
    with pytest.raises(DataError, match=says):
        mosaic(spoil(image.to_bytes()))


def test_what_cannot_be_asked_for(tmp_path) -> None:
    image = nibabel.Nifti1Image(ramp("i2"), np.eye(4)).to_bytes()
    with pytest.raises(UsageError, match="image/tiff"):
        mosaic(image, media="image/tiff")
    with pytest.raises(UsageError, match="diagonal"):
        mosaic(image, planes=["diagonal"])
    with pytest.raises(UsageError, match="0 x 3"):
        montage(image, columns=0)
    with pytest.raises(DataError, match="cannot be read"):
        mosaic(tmp_path / "none.nii")


@pytest.mark.parametrize("fill", [0, 7, np.nan, np.inf])
def test_an_empty_image_is_a_dark_picture_not_an_error(fill) -> None:
    picture = mosaic(nibabel.Nifti1Image(np.full((5, 5, 5), fill, np.float32), np.eye(4)).to_bytes())
    assert picture.width == 768
