"""Pictures of a FreeSurfer subject: its brain with outlines of the surfaces, and with its segmentation in colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image, ImageDraw

from xnatferry.errors import DataError
from xnatferry.pictures.drawing import GAP_PX, write_sides
from xnatferry.pictures.intensity import grey, window_of
from xnatferry.pictures.picture import Picture, encode
from xnatferry.pictures.surfaces import Surface, read_surface
from xnatferry.pictures.voxels import open_frames

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from xnatferry.pictures.grid import Grid

#: Colour of each kind of surface, as Freeview draws them.
OUTLINES: Final[Mapping[str, tuple[int, int, int]]] = {"white": (70, 150, 255), "pial": (255, 80, 70)}
_VOLUMES: Final = ("T1", "orig", "nu", "norm", "brain", "brainmask")
_LABELS: Final = ("aseg", "aseg.auto", "aparc.DKTatlas+aseg.deep")
_OPACITY: Final = 0.5
_MARGIN_MM: Final = 12.0
#: Shades up to this one are air.
_DARK: Final = 20
# Colours of the structures of aseg, as in FreeSurfer's ``FreeSurferColorLUT.txt``, by label number.
_BOTH: Final = {
    # left, right: colour
    (2, 41): (245, 245, 245),  # cerebral white matter
    (3, 42): (205, 62, 78),  # cerebral cortex
    (4, 43): (120, 18, 134),  # lateral ventricle
    (5, 44): (196, 58, 250),  # inferior lateral ventricle
    (7, 46): (220, 248, 164),  # cerebellum white matter
    (8, 47): (230, 148, 34),  # cerebellum cortex
    (10, 49): (0, 118, 14),  # thalamus
    (11, 50): (122, 186, 220),  # caudate
    (12, 51): (236, 13, 176),  # putamen
    (13, 52): (12, 48, 255),  # pallidum
    (17, 53): (220, 216, 20),  # hippocampus
    (18, 54): (103, 255, 255),  # amygdala
    (26, 58): (255, 165, 0),  # accumbens
    (28, 60): (165, 42, 42),  # ventral diencephalon
    (30, 62): (160, 32, 240),  # vessel
    (31, 63): (0, 200, 200),  # choroid plexus
}
_MIDDLE: Final = {
    14: (204, 182, 142),  # third ventricle
    15: (42, 204, 164),  # fourth ventricle
    16: (119, 159, 176),  # brain stem
    24: (60, 60, 60),  # CSF
    72: (120, 190, 150),  # fifth ventricle
    77: (200, 70, 255),  # white matter hypointensities
    85: (234, 169, 30),  # optic chiasm
    251: (0, 0, 64),  # corpus callosum, posterior
    252: (0, 0, 112),
    253: (0, 0, 160),
    254: (0, 0, 208),
    255: (0, 0, 255),  # corpus callosum, anterior
}
_COLOURS: Final[Mapping[int, tuple[int, int, int]]] = {
    **{number: colour for pair, colour in _BOTH.items() for number in pair},
    **_MIDDLE,
}


def brain_pictures(subject: Path, *, width_px: int = 960, media: str = "image/webp") -> dict[str, Picture]:
    """Draw the brain of a subject folder, in three planes through its brain, left on the left.

    Returns:
        ``surfaces``: its T1 with the outlines of white and pial surface, where one of them is there; ``segmentation``:
        the T1 with the colours of aseg, or those alone; ``brain``: the T1 alone when it is all there is. Empty when
        there is no volume.

    Raises:
        DataError: A file is damaged; the message names it.
    """
    base = next((p for name in _VOLUMES if (p := subject / "mri" / f"{name}.mgz").is_file()), None)
    labels = next((p for name in _LABELS if (p := subject / "mri" / f"{name}.mgz").is_file()), None)
    if base is None and labels is None:
        return {}
    volume, grid = _upright(base) if base is not None else (None, None)
    segments, label_grid = _upright(labels) if labels is not None else (None, None)
    grid = grid or label_grid
    assert grid is not None  # noqa: S101  # one of them is there
    if volume is not None and segments is not None and volume.shape != segments.shape:
        segments = None
    shades = _shades(volume) if volume is not None else None
    sheet = _Sheet(grid, _box(shades, grid) if segments is None else _box(segments != 0, grid), width_px)
    found: dict[str, Image.Image] = {}
    meshes = _surfaces(subject, grid)
    if meshes:
        found["surfaces"] = sheet.draw(shades, None, meshes)
    if segments is not None:
        found["segmentation"] = sheet.draw(shades, segments, [])
    if not found:
        found["brain"] = sheet.draw(shades, None, [])
    return {name: encode(image, media) for name, image in found.items()}


def _shades(volume: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Grey that leaves white matter, to which FreeSurfer gives the value 110, some room to white."""
    low, high = window_of(volume)
    return grey(volume, (low, low + 1.2 * (high - low)))


def _upright(path: Path) -> tuple[NDArray[np.generic], Grid]:
    try:
        with open_frames(path) as frames:
            return frames.grid.orientation.upright(frames.frame(0)), frames.grid
    except DataError as error:
        raise DataError(f"{path.name}: {error}") from error


def _surfaces(subject: Path, grid: Grid) -> list[tuple[Surface, tuple[int, int, int]]]:
    found = []
    for kind, colour in OUTLINES.items():
        for side in ("lh", "rh"):
            names = [f"{side}.{kind}", f"{side}.{kind}.T1"]
            path = next((p for name in names if (p := subject / "surf" / name).is_file()), None)
            if path is not None:
                found.append((read_surface(path).on(grid), colour))
    return found


def _box(filled: NDArray[np.uint8] | NDArray[np.bool_] | None, grid: Grid) -> list[tuple[int, int]]:
    """First and last voxel of what is bright (or labelled) along R, A and S, with a margin."""
    assert filled is not None  # noqa: S101  # one of the volumes is there
    bright = filled if filled.dtype == np.bool_ else filled > _DARK
    box = []
    for axis, stored in enumerate(grid.orientation.axes):
        places = np.flatnonzero(bright.any(axis=tuple(other for other in range(3) if other != axis)))
        margin = round(_MARGIN_MM / grid.steps_mm[stored])
        if not places.size:
            places = np.array([0, filled.shape[axis] - 1])
        box.append((max(0, int(places[0]) - margin), min(filled.shape[axis], int(places[-1]) + 1 + margin)))
    return box


class _Sheet:
    """Three planes of one size and scale, drawn as often as there are layers to show."""

    def __init__(self, grid: Grid, box: Sequence[tuple[int, int]], width_px: int) -> None:
        self._box = box
        self._steps = [grid.steps_mm[axis] for axis in grid.orientation.axes]
        self._known = grid.orientation.known
        size = [(last - first) * step for (first, last), step in zip(box, self._steps, strict=True)]
        self._scale = (width_px - 2 * GAP_PX) / (size[1] + size[0] + size[0])
        self._width = width_px
        self._height = round(max(size[2], size[1]) * self._scale)
        (r0, r1), (a0, a1), (s0, s1) = box
        # Beside the midline, where a sagittal plane cuts cortex; the other two through the middle of the brain.
        self._places = (r0 + round((r1 - r0) * 0.36), (a0 + a1) // 2, s0 + round((s1 - s0) * 0.55))

    def draw(
        self,
        shades: NDArray[np.uint8] | None,
        segments: NDArray[np.generic] | None,
        meshes: Sequence[tuple[Surface, tuple[int, int, int]]],
    ) -> Image.Image:
        sheet = Image.new("RGB", (self._width, self._height), 0)
        left = 0
        for axis, place in enumerate(self._places):
            across, up = (other for other in range(3) if other != axis)
            width, height = (self._length(other) for other in (across, up))
            plane = Image.fromarray(self._colours(shades, segments, axis, place)).resize((width, height), 3)
            for mesh, colour in meshes:
                self._outline(plane, mesh.cut(axis, place), (across, up), colour)
            at = (left, (self._height - height) // 2)
            sheet.paste(plane, at)
            if self._known:
                write_sides(sheet, ("P", "A") if axis == 0 else ("L", "R"), (left, left + width), self._height // 2, 18)
            left += width + GAP_PX
        return sheet

    def _length(self, axis: int) -> int:
        first, last = self._box[axis]
        return max(1, round((last - first) * self._steps[axis] * self._scale))

    def _colours(
        self, shades: NDArray[np.uint8] | None, segments: NDArray[np.generic] | None, axis: int, place: int
    ) -> NDArray[np.uint8]:
        window = tuple(place if other == axis else slice(*self._box[other]) for other in range(3))
        if shades is None:
            assert segments is not None  # noqa: S101  # one of them is there
            return _turned(_lookup(segments[window]))
        picture = np.repeat(shades[window][..., None], 3, axis=2)
        if segments is not None:
            colours = _lookup(segments[window])
            painted = colours.any(axis=2, keepdims=True)
            mixed = picture * (1 - _OPACITY) + colours * _OPACITY
            picture = np.where(painted, mixed, picture).round().astype(np.uint8)
        return _turned(picture)

    def _outline(
        self, plane: Image.Image, cut: NDArray[np.float32], axes: tuple[int, int], colour: tuple[int, int, int]
    ) -> None:
        draw = ImageDraw.Draw(plane)
        across, up = axes
        # The middle of a voxel has a whole number; a picture's edge lies half a voxel before it.
        x = (cut[..., 0] - self._box[across][0] + 0.5) * self._steps[across] * self._scale
        y = plane.height - (cut[..., 1] - self._box[up][0] + 0.5) * self._steps[up] * self._scale
        for (x0, x1), (y0, y1) in zip(x.tolist(), y.tolist(), strict=True):
            draw.line((x0, y0, x1, y1), fill=colour, width=2)


def _turned(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(np.swapaxes(picture, 0, 1)[::-1])


def _lookup(labels: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Colours of label numbers; of cortical parcels (1000 and more) the colour of their hemisphere's cortex."""
    numbers = np.asarray(labels).astype(np.int64)
    numbers = np.where(
        (numbers >= 1000) & (numbers < 2000), 3, np.where((numbers >= 2000) & (numbers < 3000), 42, numbers)
    )
    table = np.zeros((256, 3), np.uint8)
    for number, colour in _COLOURS.items():
        table[number] = colour
    colours: NDArray[np.uint8] = table[np.where((numbers < 0) | (numbers > 255), 0, numbers)]
    return colours
