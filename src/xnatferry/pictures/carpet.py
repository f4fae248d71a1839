"""Carpet plots of time series: every row a voxel of the head, every column a volume.

After Power (2017), "A simple but useful way to assess fMRI scan qualities", NeuroImage 154: motion, drop-outs and drift
show as columns and ramps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from xnatferry.pictures.intensity import window_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xnatferry.pictures.voxels import Frames

_ROWS: Final = 240
_SLICES: Final = 12
_MOST_COLUMNS: Final = 2048
_SAMPLES_A_SLICE: Final = 400


@dataclass(frozen=True, slots=True)
class Carpet:
    """Deviations from each voxel's mean.

    Attributes:
        shades: Rows are voxels, from the first slice to the last; columns are volumes; grey is the mean.
        frames: Number of volumes of the series.
    """

    shades: NDArray[np.uint8]
    frames: int


def read_series(frames: Frames, *, mean: bool, carpet: bool) -> tuple[NDArray[np.generic], Carpet | None]:
    """Read a series once: its middle volume, or the mean of all, and its carpet.

    Without *mean* only a dozen slices of each volume are read where the file can be read by jumps.

    Raises:
        DataError: Bytes are missing or damaged.
    """
    grid = frames.grid
    every = -(-grid.frames // _MOST_COLUMNS)
    middle: NDArray[np.generic] | None = None
    total: NDArray[np.float64] | None = None
    columns: list[NDArray[np.float32]] = []
    for index in range(grid.frames):
        is_middle = index == grid.frames // 2
        if mean or is_middle:
            volume = frames.frame(index)
            middle = volume if is_middle else middle
            if mean:
                part = volume.astype(np.float64)
                total = part if total is None else total + part
        if carpet and index % every == 0:
            columns.append(_sampled(volume, frames) if mean or is_middle else _read_samples(frames, index))
    shown = middle if total is None else total / grid.frames
    assert shown is not None  # noqa: S101  # the middle is one of the volumes
    return shown, _carpet(np.stack(columns, axis=1), grid.frames) if carpet else None


def _places(frames: Frames) -> tuple[list[int], int]:
    """Which planes of a (thinned) volume are sampled, and every how many voxels in them."""
    a, b, c = (-(-length // thin) for length, thin in zip(frames.grid.shape, frames.thinning, strict=True))
    planes = sorted({int((n + 0.5) * c / _SLICES) for n in range(_SLICES)})
    return planes, max(1, int((a * b / _SAMPLES_A_SLICE) ** 0.5))


def _sampled(volume: NDArray[np.generic], frames: Frames) -> NDArray[np.float32]:
    planes, every = _places(frames)
    return np.concatenate([volume[::every, ::every, at].ravel().astype(np.float32) for at in planes])


def _read_samples(frames: Frames, index: int) -> NDArray[np.float32]:
    planes, every = _places(frames)
    slope, intercept = frames.grid.scaling
    found = []
    for at in planes:
        plane = frames.plane(index, at * frames.thinning[2])
        part = plane[:: every * frames.thinning[0], :: every * frames.thinning[1]]
        stored = np.abs(part) if np.iscomplexobj(part) else part
        found.append(stored.ravel().astype(np.float32) * np.float32(slope) + np.float32(intercept))
    return np.concatenate(found)


def _carpet(series: NDArray[np.float32], frames: int) -> Carpet | None:
    """Deviations of bright voxels, drawn from -3 to 3 standard deviations of each row; None where nothing is bright."""
    series = np.nan_to_num(series, nan=0.0, posinf=0.0, neginf=0.0)
    means = series.mean(axis=1)
    low, high = window_of(means.reshape(-1, 1, 1))
    rows = np.flatnonzero(means > low + 0.2 * (high - low))
    if rows.size == 0:
        return None
    rows = rows[np.linspace(0, rows.size - 1, min(_ROWS, rows.size)).round().astype(int)]
    kept = series[rows] - means[rows, None]
    spread = kept.std(axis=1, keepdims=True)
    spread[spread == 0] = 1.0
    shades = (127.5 + kept / spread * 42.5).clip(0, 255).round().astype(np.uint8)
    return Carpet(shades, frames)
