"""Maps values to grey: a window that does not depend on outliers and empty background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Percentiles that become black and white.
_WINDOW: Final = (2.0, 98.5)
#: Percentile of what is filled that becomes white where the background is one value.
_FILLED_WHITE: Final = 99.5
_SAMPLES: Final = 400_000


def window_of(volume: NDArray[np.generic]) -> tuple[float, float]:
    """Values that become black and white: percentiles of what is not background.

    Where one value fills a third of the volume (air that was set to zero, a mask), it is left out and black.
    """
    sample = _sample(volume)
    if sample.size == 0:
        return (0.0, 1.0)
    floor = float(sample.min())
    filled = sample[sample > floor]
    if filled.size == 0:
        return (floor, floor + 1.0)
    if filled.size < sample.size * 2 / 3:
        low, high = floor, float(np.percentile(filled, _FILLED_WHITE))
    else:
        low, high = (float(value) for value in np.percentile(sample, _WINDOW))
    if high <= low:
        low, high = floor, float(sample.max())
    return (low, high)


def _sample(volume: NDArray[np.generic]) -> NDArray[np.float64]:
    """Finite values of an evenly spread part of *volume*, at most about `_SAMPLES`."""
    thin = max(1, round((volume.size / _SAMPLES) ** (1 / 3)))
    part = np.asarray(volume[::thin, ::thin, ::thin], dtype=np.float64).ravel()
    return part[np.isfinite(part)]


def grey(values: NDArray[np.generic], window: tuple[float, float]) -> NDArray[np.uint8]:
    """Values as grey from 0 to 255; what is no number is black."""
    low, high = window
    scaled = (np.asarray(values, dtype=np.float64) - low) * (255.0 / (high - low))
    return np.nan_to_num(scaled, nan=0.0, posinf=255.0, neginf=0.0).clip(0.0, 255.0).round().astype(np.uint8)


def box_of(volume: NDArray[np.generic], window: tuple[float, float]) -> tuple[slice, slice, slice]:
    """The part of *volume* that holds something, with a margin: empty space around a head is not worth pixels.

    An axis of which less than 40 % would remain is not cropped: then brightness does not show a head.
    """
    thin = max(1, max(volume.shape[:3]) // 128)
    filled = grey(volume[::thin, ::thin, ::thin], window) > 40
    box = []
    for axis in range(3):
        length = volume.shape[axis]
        places = np.flatnonzero(filled.any(axis=tuple(other for other in range(filled.ndim) if other != axis)))
        margin = max(2, length // 24)
        first = max(0, int(places[0]) * thin - margin) if places.size else 0
        last = min(length, (int(places[-1]) + 1) * thin + margin) if places.size else length
        box.append(slice(first, last) if last - first >= 0.4 * length else slice(None))
    return (box[0], box[1], box[2])


def centre_of(volume: NDArray[np.generic], window: tuple[float, float]) -> tuple[int, int, int]:
    """The voxel in the middle of what is bright, so that planes cut the head where there is one.

    Along each axis the middle of where the brightness lies (10th to 90th percentile), which a long neck moves little.
    """
    thin = max(1, max(volume.shape[:3]) // 96)
    shades = grey(volume[::thin, ::thin, ::thin], window).astype(np.float64)
    shades[shades < 64.0] = 0.0
    found = []
    for axis in range(3):
        profile = shades.sum(axis=tuple(other for other in range(shades.ndim) if other != axis)).cumsum()
        if profile[-1] == 0.0:
            found.append(volume.shape[axis] // 2)
            continue
        first, last = np.searchsorted(profile / profile[-1], (0.1, 0.9))
        found.append(min(volume.shape[axis] - 1, int((first + last) * thin // 2)))
    return (found[0], found[1], found[2])
