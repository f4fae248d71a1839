"""Public drawing functions: three planes with marked sides, the carpet of a series, a thumbnail, a montage."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from xnatferry.errors import UsageError
from xnatferry.pictures.carpet import Carpet, read_series
from xnatferry.pictures.drawing import Panel, draw_sheet
from xnatferry.pictures.intensity import box_of, centre_of, grey, window_of
from xnatferry.pictures.picture import Picture, encode
from xnatferry.pictures.voxels import open_frames

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL.Image import Image

Plane = Literal["sagittal", "coronal", "axial"]
View = Literal["middle", "mean"]

_PLANES: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
#: Volumes from which on a fourth axis is worth a carpet.
_CARPET_FROM = 10


class Convention(StrEnum):
    """On which side of coronal and axial planes the patient's left is."""

    NEUROLOGICAL = "neurological"
    """Left is left."""
    RADIOLOGICAL = "radiological"
    """Left is right, as seen from the patient's feet; sagittal planes face left."""


@dataclass(frozen=True, slots=True)
class Upright:
    """One volume whose axes run to right, anterior and superior.

    Attributes:
        values: Three axes, then perhaps colours.
        steps_mm: Distance of voxels.
        known: Whether the file says where right, anterior and superior are.
        carpet: Of a time series.
        window: Values that become black and white.
    """

    values: NDArray[np.generic]
    steps_mm: tuple[float, float, float]
    known: bool
    carpet: Carpet | None
    window: tuple[float, float]


def mosaic(
    image: Path | str | bytes,
    *,
    media: str = "image/png",
    width_px: int = 768,
    planes: Sequence[Plane] = _PLANES,
    convention: Convention = Convention.NEUROLOGICAL,
    view: View = "middle",
    carpet: bool = True,
) -> Picture:
    """Draw mid planes side by side, and below them the carpet of a time series.

    Args:
        image: A NIfTI or MGH file, packed or not; a path, or the bytes of a single file.
        media: ``image/png``, ``image/jpeg``, ``image/webp`` or ``image/gif``.
        width_px: Width of the picture.
        planes: Which planes, from left to right.
        convention: Where the patient's left is; the picture says which it is.
        view: Of several volumes the middle one, or the mean of all, which reads the file to its end.
        carpet: Whether series of 10 volumes and more get a carpet (voxels over time), which reads the file to its end.

    Raises:
        DataError: It is no image that can be shown; the message says why.
        UsageError: *media* or *planes* are unknown.
    """
    upright = _read(image, view=view, carpet=carpet)
    return encode(_sheet(upright, _panels(upright, planes, convention), convention, width_px), media)


def thumbnail(
    image: Path | str | bytes,
    *,
    media: str = "image/webp",
    width_px: int = 256,
    planes: Sequence[Plane] = _PLANES,
    convention: Convention = Convention.NEUROLOGICAL,
) -> Picture:
    """Draw a small picture of the same planes, without words and without carpet; sides stay marked.

    Raises:
        DataError: It is no image that can be shown; the message says why.
        UsageError: *media* or *planes* are unknown.
    """
    upright = _read(image, view="middle", carpet=False)
    return encode(draw_sheet(_panels(upright, planes, convention), width_px=width_px), media)


def montage(
    image: Path | str | bytes,
    *,
    columns: int = 3,
    rows: int = 3,
    media: str = "image/png",
    width_px: int = 768,
    plane: Plane = "axial",
    convention: Convention = Convention.NEUROLOGICAL,
) -> Picture:
    """Draw evenly spaced planes of one kind in a grid, the lowest (leftmost, hindmost) first.

    Raises:
        DataError: It is no image that can be shown; the message says why.
        UsageError: *media* or *plane* is unknown, or the grid is empty.
    """
    if columns < 1 or rows < 1:
        raise UsageError(f"a montage of {columns} x {rows} planes cannot be drawn; use 1 or more columns and rows")
    upright = _read(image, view="middle", carpet=False)
    axis = _axis_of(plane)
    length = upright.values.shape[axis]
    count = columns * rows
    places = [min(length - 1, int(length * (0.06 + 0.88 * (n + 0.5) / count))) for n in range(count)]
    panels = [_panel(upright, plane, place, convention) for place in places]
    return encode(_sheet(upright, panels, convention, width_px, columns), media)


def snapshots(image: Path | str | bytes, *, planes: Sequence[Plane] = _PLANES) -> tuple[Picture, Picture]:
    """The two pictures that XNAT shows for a scan, read in one go: at most 512 pixels wide, and half as wide.

    GIF, because XNAT answers with that type whatever the file holds.

    Raises:
        DataError: It is no image that can be shown; the message says why.
    """
    upright = _read(image, view="middle", carpet=True)
    panels = _panels(upright, planes, Convention.NEUROLOGICAL)
    large = _sheet(upright, panels, Convention.NEUROLOGICAL, 512)
    return encode(large, "image/gif"), encode(draw_sheet(panels, width_px=256), "image/gif")


def _read(image: Path | str | bytes, *, view: View, carpet: bool) -> Upright:
    with open_frames(Path(image) if isinstance(image, str) else image) as frames:
        grid = frames.grid
        wants_carpet = carpet and grid.timed and grid.colours == 1 and grid.frames >= _CARPET_FROM
        if wants_carpet or (view == "mean" and grid.frames > 1):
            volume, rows = read_series(frames, mean=view == "mean", carpet=wants_carpet)
        else:
            volume, rows = frames.frame(grid.frames // 2), None
        values = grid.orientation.upright(volume)
        r, a, s = (frames.steps_mm[axis] for axis in grid.orientation.axes)
        window = window_of(values) if grid.colours == 1 else (0.0, 255.0)
        values = values[box_of(values, window)]
        return Upright(values, (r, a, s), grid.orientation.known, rows, window)


def _sheet(
    upright: Upright, panels: Sequence[Panel], convention: Convention, width_px: int, columns: int | None = None
) -> Image:
    caption = convention.value if upright.known else "sides unknown"
    return draw_sheet(panels, width_px=width_px, columns=columns, caption=caption, carpet=upright.carpet)


def _panels(upright: Upright, planes: Sequence[Plane], convention: Convention) -> list[Panel]:
    if not planes:
        raise UsageError("no planes given; name at least one")
    centre = centre_of(upright.values, upright.window)
    return [_panel(upright, plane, centre[_axis_of(plane)], convention) for plane in planes]


def _axis_of(plane: str) -> int:
    if plane not in _PLANES:
        raise UsageError(f"unknown plane {plane!r}; use {', '.join(_PLANES)}")
    return _PLANES.index(plane)


def _panel(upright: Upright, plane: Plane, place: int, convention: Convention) -> Panel:
    """One plane as seen: superior (or anterior) up, sides by *convention*."""
    axis = _axis_of(plane)
    across, up = (other for other in range(3) if other != axis)
    shades = grey(upright.values[(slice(None),) * axis + (place,)], upright.window)
    picture = np.swapaxes(shades, 0, 1)[::-1]
    sides = ("P", "A") if plane == "sagittal" else ("L", "R")
    if convention is Convention.RADIOLOGICAL:
        picture, sides = picture[:, ::-1], sides[::-1]
    steps = upright.steps_mm
    return Panel(np.ascontiguousarray(picture), (steps[across], steps[up]), sides if upright.known else None)
