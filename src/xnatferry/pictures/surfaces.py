"""FreeSurfer surfaces, and where planes of a volume cut them.

Vertices are in the surface's own space (tkregister RAS), which depends on the volume's matrix and voxel size alone and
not on how it lies in the scanner: ``mri_info --vox2ras-tkr``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xnatferry.checks.surfaces import FormatError, surface_counts
from xnatferry.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from xnatferry.pictures.grid import Grid


@dataclass(frozen=True, slots=True)
class Surface:
    """A triangle mesh.

    Attributes:
        vertices: Positions, (number, 3); in mm as read, in voxels after `on`.
        faces: Three vertex numbers each.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int32]

    def on(self, grid: Grid) -> Surface:
        """The surface in voxels of *grid*, whose axes run to right, anterior and superior (`Orientation.upright`)."""
        (columns, rows, slices), (dc, dr, ds) = grid.shape, grid.steps_mm
        x, y, z = self.vertices.T
        stored = (columns / 2 - x / dc, rows / 2 - z / dr, slices / 2 + y / ds)
        turned = []
        for axis, flip in zip(grid.orientation.axes, grid.orientation.flips, strict=True):
            turned.append(grid.shape[axis] - 1 - stored[axis] if flip else stored[axis])
        return Surface(np.stack(turned, axis=1).astype(np.float32), self.faces)

    def cut(self, axis: int, place: float) -> NDArray[np.float32]:
        """Where the plane at *place* along *axis* meets the mesh: segments, (number, 2 ends, 2 other axes)."""
        height = self.vertices[:, axis] - np.float32(place)
        above = height > 0
        corners = above[self.faces]
        crossed = self.faces[corners.any(axis=1) & ~corners.all(axis=1)]
        ends = []
        for first, second in ((0, 1), (1, 2), (2, 0)):
            a, b = crossed[:, first], crossed[:, second]
            share = height[a] / np.where(height[a] == height[b], 1, height[a] - height[b])
            point = self.vertices[a] + share[:, None] * (self.vertices[b] - self.vertices[a])
            point[above[a] == above[b]] = np.nan
            ends.append(np.delete(point, axis, axis=1))
        found = np.stack(ends, axis=1)
        cut: NDArray[np.float32] = found[~np.isnan(found[..., 0])].reshape(-1, 2, 2)
        return cut


def read_surface(path: Path) -> Surface:
    """Read a triangle surface (``lh.white``, ``rh.pial`` ...).

    Raises:
        DataError: It cannot be read or is none.
    """
    try:
        data = path.read_bytes()
        surface_counts(data, len(data))
    except (OSError, FormatError) as error:
        raise DataError(f"{path.name}: {error}") from error
    at = data.index(b"\n\n") + 2
    vertices, faces = struct.unpack_from(">2i", data, at)
    positions = np.frombuffer(data, ">f4", 3 * vertices, at + 8).reshape(-1, 3)
    corners = np.frombuffer(data, ">i4", 3 * faces, at + 8 + 12 * vertices).reshape(-1, 3)
    if corners.size and (corners.min() < 0 or corners.max() >= vertices):
        raise DataError(f"{path.name}: faces refer to missing vertices")
    return Surface(positions.astype(np.float32), corners.astype(np.int32))
