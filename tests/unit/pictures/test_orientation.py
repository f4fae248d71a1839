"""Where left, front and top are: nibabel's canonical orientation is the referee, a marker in a known corner the proof."""

from __future__ import annotations

from io import BytesIO
from itertools import pairwise, permutations, product

import nibabel
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from xnatferry.pictures import Convention, mosaic
from xnatferry.pictures.voxels import open_frames

#: Every way to store three axes: for R, A, S the stored axis and its direction.
ORIENTATIONS = [(axes, flips) for axes in permutations(range(3)) for flips in product((1, -1), repeat=3)]
SHAPE_RAS = (20, 24, 16)
STEPS_RAS = (2.0, 1.5, 3.0)


def marked_ras() -> np.ndarray:
    """A grey block with a white corner at the left, in front, on top."""
    volume = np.full(SHAPE_RAS, 60, np.uint8)
    volume[0, 0, 0] = 0
    volume[:8, -8:, -8:] = 250
    return volume


def stored(ras: np.ndarray, axes, flips) -> nibabel.Nifti1Image:
    """The volume *ras* stored another way, with the affine that says so."""
    target = np.array([[axes.index(axis), flips[axis]] for axis in range(3)])
    from_ras = nibabel.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), target)
    image = nibabel.Nifti1Image(ras, np.diag([*STEPS_RAS, 1.0]))
    return image.as_reoriented(from_ras)


def read_ras(data: bytes) -> np.ndarray:
    with open_frames(data) as frames:
        assert frames.grid.orientation.known
        return frames.grid.orientation.upright(frames.frame(0))


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_all_48_orientations_show_the_corner_where_it_is(axes, flips) -> None:
    image = stored(marked_ras(), axes, flips)
    data = image.to_bytes()
    assert np.array_equal(read_ras(data), marked_ras())
    assert np.array_equal(read_ras(data), np.asanyarray(nibabel.as_closest_canonical(image).dataobj))
    picture = np.asarray(Image.open(BytesIO(mosaic(data, width_px=400).data)).convert("L"))
    sagittal, coronal, axial = _panels(picture)
    assert _bright_corner(sagittal) == "top right"  # in front, on top
    assert _bright_corner(coronal) == "top left"
    assert _bright_corner(axial) == "top left"


def test_radiological_pictures_are_the_mirror() -> None:
    data = stored(marked_ras(), (0, 1, 2), (1, 1, 1)).to_bytes()
    picture = mosaic(data, width_px=400, convention=Convention.RADIOLOGICAL)
    found = [_bright_corner(p) for p in _panels(np.asarray(Image.open(BytesIO(picture.data)).convert("L")))]
    assert found == ["top left", "top right", "top right"]


@given(
    angles=st.tuples(*[st.floats(-3.1, 3.1)] * 3),
    mirrored=st.booleans(),
    steps=st.tuples(*[st.floats(0.2, 6.0)] * 3),
)
def test_oblique_images_turn_as_nibabel_turns_them(angles, mirrored, steps) -> None:
    a, b, c = angles
    turn = nibabel.eulerangles.euler2mat(a, b, c) @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0])
    strengths = np.sort(np.abs(turn), axis=0)
    assume((strengths[2] - strengths[1]).min() > 0.05)  # at 45 degrees either name is right
    assume(sorted(np.abs(turn).argmax(axis=0)) == [0, 1, 2])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(steps)
    volume = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    image = nibabel.Nifti1Image(volume, affine)
    assert np.array_equal(read_ras(image.to_bytes()), np.asanyarray(nibabel.as_closest_canonical(image).dataobj))


def test_a_qform_alone_is_enough() -> None:
    image = stored(marked_ras(), (2, 0, 1), (-1, 1, -1))
    image.set_qform(image.affine, code=1)
    image.set_sform(None, code=0)
    assert np.array_equal(read_ras(image.to_bytes()), marked_ras())


def test_mgz_is_turned_by_its_cosines(tmp_path) -> None:
    turned = stored(marked_ras(), (0, 2, 1), (-1, -1, 1))  # as FreeSurfer conforms: LIA
    image = nibabel.MGHImage(np.asanyarray(turned.dataobj), turned.affine)
    path = tmp_path / "orig.mgz"
    nibabel.save(image, path)
    with open_frames(path) as frames:
        assert np.array_equal(frames.grid.orientation.upright(frames.frame(0)), marked_ras())


def test_without_an_affine_no_side_is_marked() -> None:
    known = stored(lamp(), (0, 1, 2), (1, 1, 1))
    unknown = nibabel.Nifti1Image(lamp(), None)
    unknown.header["qform_code"] = unknown.header["sform_code"] = 0
    with open_frames(unknown.to_bytes()) as frames:
        assert not frames.grid.orientation.known
    assert letters_at_the_edge(known.to_bytes())
    assert not letters_at_the_edge(unknown.to_bytes())


def lamp() -> np.ndarray:
    """Dark, with a light in the middle: what is bright at an edge is a letter."""
    volume = np.zeros(SHAPE_RAS, np.uint8)
    volume[:, :, ::2] = 30
    volume[8:12, 10:14, 6:10] = 250
    return volume


def letters_at_the_edge(data: bytes) -> bool:
    picture = np.asarray(Image.open(BytesIO(mosaic(data, width_px=400).data)).convert("L"))
    return bool((picture[:-25, :14] > 200).any())


def _panels(picture: np.ndarray) -> list[np.ndarray]:
    """The three panels, by the known proportions of the block."""
    r, a, s = (n * step for n, step in zip(SHAPE_RAS, STEPS_RAS, strict=True))
    scale = (picture.shape[1] - 8) / (a + r + r)
    tall = round(max(s, a) * scale)
    edges = np.cumsum([0, a * scale + 4, r * scale + 4, r * scale]).round().astype(int)
    return [picture[:tall, left:right] for left, right in pairwise(edges)]


def _bright_corner(panel: np.ndarray) -> str:
    """Where the brightest quarter is; letters at the edges are too small to matter."""
    rows = np.flatnonzero(panel.mean(axis=1) > 5)
    shown = panel[rows[0] : rows[-1] + 1]
    half, middle = shown.shape[0] // 2, shown.shape[1] // 2
    quarters = {
        "top left": shown[:half, :middle],
        "top right": shown[:half, middle:],
        "bottom left": shown[half:, :middle],
        "bottom right": shown[half:, middle:],
    }
    return max(quarters, key=lambda name: quarters[name].mean())
