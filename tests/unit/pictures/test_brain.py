"""Outlines and colours of a FreeSurfer subject lie where nibabel says that they are."""

from __future__ import annotations

from io import BytesIO
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from PIL import Image

from xnatferry.errors import DataError
from xnatferry.pictures.brain import OUTLINES, brain_pictures
from xnatferry.pictures.surfaces import Surface, read_surface
from xnatferry.pictures.voxels import open_frames

CENTRE, RADIUS = np.array([14.0, 22.0, 18.0]), 9.0
SHAPE, STEPS = (36, 44, 40), (1.0, 1.5, 1.25)


def ball_mesh(centre, radius, turns=48):
    """A ball of triangles, in voxels."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, turns), np.linspace(0, 2 * np.pi, turns), indexing="ij")
    points = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)
    grid = np.arange(turns * turns).reshape(turns, turns)
    a, b, c, d = (part.ravel() for part in (grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]))
    return centre + radius * points.reshape(-1, 3), np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def ball_volume(value, dtype="uint8"):
    places = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"), axis=-1)
    return np.where(np.linalg.norm(places - CENTRE, axis=-1) <= RADIUS, value, 0).astype(dtype)


def write_subject(folder, axes=(0, 2, 1), flips=(-1, -1, 1), *, labels=None):
    """A subject whose T1 is a bright ball, with its white surface around it; stored any way."""
    (folder / "mri").mkdir(parents=True)
    (folder / "surf").mkdir()
    target = np.array([[axes.index(axis), flips[axis]] for axis in range(3)])
    turn = nibabel.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), target)
    for name, values in (("T1", ball_volume(110)), ("aseg", labels)):
        if values is None:
            continue
        image = nibabel.Nifti1Image(values, np.diag([*STEPS, 1.0])).as_reoriented(turn)
        nibabel.save(nibabel.MGHImage(np.asanyarray(image.dataobj), image.affine), folder / f"mri/{name}.mgz")
    image = nibabel.Nifti1Image(ball_volume(1), np.diag([*STEPS, 1.0])).as_reoriented(turn)
    stored = nibabel.MGHImage(np.asanyarray(image.dataobj), image.affine)
    vertices, faces = ball_mesh(CENTRE, RADIUS)
    into_stored = np.linalg.inv(stored.affine) @ np.diag([*STEPS, 1.0])
    tkr = stored.header.get_vox2ras_tkr() @ into_stored
    nibabel.freesurfer.write_geometry(folder / "surf/lh.white", nibabel.affines.apply_affine(tkr, vertices), faces)
    return folder


@pytest.mark.parametrize(
    ("axes", "flips"), list(product(permutations(range(3)), [(1, 1, 1), (-1, 1, -1), (-1, -1, 1)]))
)
def test_surfaces_lie_on_the_volume_however_it_is_stored(tmp_path, axes, flips):
    subject = write_subject(tmp_path / "s", axes, flips)
    with open_frames(subject / "mri/T1.mgz") as frames:
        mesh = read_surface(subject / "surf/lh.white").on(frames.grid)
    distance = np.linalg.norm(mesh.vertices - CENTRE, axis=1)
    assert np.allclose(distance, RADIUS, atol=0.01)
    for axis in range(3):
        cut = mesh.cut(axis, CENTRE[axis] + 3.0)
        middle = np.delete(CENTRE, axis)
        assert np.allclose(np.linalg.norm(cut - middle, axis=-1), np.sqrt(RADIUS**2 - 9), atol=0.1)
        ends = {tuple(np.round(end, 3)) for end in cut[:, 0]} | {tuple(np.round(end, 3)) for end in cut[:, 1]}
        assert len(ends) >= 40  # a whole circle


def test_a_plane_beside_the_mesh_cuts_nothing():
    vertices, faces = ball_mesh(CENTRE, RADIUS)
    assert len(Surface(vertices.astype("f4"), faces.astype("i4")).cut(0, 100.0)) == 0


def test_outlines_surround_what_is_bright(tmp_path):
    pictures = brain_pictures(write_subject(tmp_path / "s"), media="image/png")
    assert list(pictures) == ["surfaces"]
    shown = np.asarray(Image.open(BytesIO(pictures["surfaces"].data))).astype(int)
    outline = np.abs(shown - OUTLINES["white"]).sum(axis=2) < 40
    assert outline.sum() > 300
    for panel in np.array_split(np.arange(shown.shape[1]), 3):
        rows, columns = np.nonzero(outline[:, panel])
        if not rows.size:
            continue
        inside = shown[int(rows.mean()), panel[int(columns.mean())]]
        assert inside.min() > 120
        assert shown[2, panel[5]].max() < 30


def test_the_left_of_a_segmentation_is_on_the_left(tmp_path):
    labels = ball_volume(1, "int32")
    labels[:14] *= 10  # thalamus, green
    labels[14:] *= 53  # hippocampus, yellow
    pictures = brain_pictures(write_subject(tmp_path / "s", labels=labels), media="image/png")
    shown = np.asarray(Image.open(BytesIO(pictures["segmentation"].data))).astype(int)
    axial = shown[:, -shown.shape[1] // 3 :]
    green = np.nonzero((axial[..., 1] > axial[..., 0] + 40) & (axial[..., 1] > axial[..., 2] + 20))[1]
    yellow = np.nonzero((axial[..., 0] > axial[..., 2] + 40) & (axial[..., 1] > axial[..., 2] + 40))[1]
    assert green.size > 200
    assert yellow.size > 200
    assert green.mean() < yellow.mean()


def test_what_is_not_there_and_what_is_broken(tmp_path):
    (tmp_path / "empty").mkdir()
    assert brain_pictures(tmp_path / "empty") == {}
    subject = write_subject(tmp_path / "s")
    (subject / "surf/rh.pial").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"rh\.pial"):
        brain_pictures(subject)
    (subject / "surf/rh.pial").unlink()
    (subject / "surf/lh.white").unlink()
    assert list(brain_pictures(subject)) == ["brain"]
    (subject / "mri/T1.mgz").write_bytes((subject / "mri/T1.mgz").read_bytes()[:100])
    with pytest.raises(DataError, match=r"T1\.mgz"):
        brain_pictures(subject)
