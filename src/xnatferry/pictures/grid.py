"""Storage and orientation of voxels: one description for NIfTI and MGH."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Final

import numpy as np

from xnatferry.checks.surfaces import MGH_HEADER_BYTES, FormatError, read_mgh
from xnatferry.errors import DataError
from xnatferry.sources.nifti_header import HeaderError, NiftiHeader, read_header

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

#: Enough for every header.
HEAD_BYTES: Final = 544

#: numpy's name and the number of colours by NIfTI datatype code. Single bits (1) and 128-bit floats (1536, 2048), whose
#: bytes differ from machine to machine, have none.
_NIFTI: Final[Mapping[int, tuple[str, int]]] = {
    2: ("u1", 1), 4: ("i2", 1), 8: ("i4", 1), 16: ("f4", 1), 32: ("c8", 1), 64: ("f8", 1), 128: ("u1", 3),
    256: ("i1", 1), 512: ("u2", 1), 768: ("u4", 1), 1024: ("i8", 1), 1280: ("u8", 1), 1792: ("c16", 1), 2304: ("u1", 4),
}  # fmt: skip
_MGH: Final[Mapping[int, str]] = {0: "u1", 1: "i4", 3: "f4", 4: "i2", 10: "u2"}
_MAGIC: Final[Mapping[bytes, tuple[int, int, bool]]] = {
    b"n+1\0": (344, 1, True), b"ni1\0": (344, 1, False), b"n+2\0": (4, 2, True), b"ni2\0": (4, 2, False),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Orientation:
    """How stored axes become right, anterior, superior.

    Attributes:
        axes: For R, A and S in turn, the stored axis that follows it most closely.
        flips: For R, A and S in turn, whether that axis runs the other way.
        known: Whether the file says so; otherwise axes are shown as they are stored and no side is marked.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)
    known: bool = False

    def upright(self, volume: NDArray[np.generic]) -> NDArray[np.generic]:
        """A view of *volume* (three axes, then perhaps colours) whose axes run to right, anterior and superior."""
        turned = np.moveaxis(volume, self.axes, (0, 1, 2))
        return turned[tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)]


@dataclass(frozen=True, slots=True)
class Grid:
    """How one volume after the other is stored.

    Attributes:
        shape: Voxels along the three stored axes, the first running fastest.
        frames: Volumes; all further axes together.
        dtype: Type of a stored number.
        colours: Numbers per voxel: 1, or 3 and 4 for RGB and RGBA.
        offset: Where voxels begin, in bytes.
        scaling: Slope and intercept.
        steps_mm: Voxel size along the stored axes.
        orientation: How stored axes become right, anterior, superior.
        detached: Whether the voxels are in another file (``.img``).
        timed: Whether the fourth axis may be time.
    """

    shape: tuple[int, int, int]
    frames: int
    dtype: np.dtype[np.generic]
    colours: int
    offset: int
    scaling: tuple[float, float]
    steps_mm: tuple[float, float, float]
    orientation: Orientation
    detached: bool = False
    timed: bool = False

    @property
    def slice_bytes(self) -> int:
        """Bytes of one plane of the first two axes."""
        return self.shape[0] * self.shape[1] * self.colours * self.dtype.itemsize

    @property
    def frame_bytes(self) -> int:
        """Bytes of one volume."""
        return self.slice_bytes * self.shape[2]


def read_grid(head: bytes) -> Grid:
    """Read the first `HEAD_BYTES` bytes of an unpacked image.

    Raises:
        DataError: It is neither NIfTI nor MGH, or is invalid, or of a kind that cannot be drawn.
    """
    for magic, (at, version, single) in _MAGIC.items():
        if head[at : at + 4] == magic:
            try:
                return _nifti_grid(read_header(head, version=version), single=single)
            except HeaderError as error:
                raise DataError(f"no picture: {error}") from error
    return _mgh_grid(head)


def _nifti_grid(header: NiftiHeader, *, single: bool) -> Grid:
    if header.is_cifti:
        raise DataError("no picture: CIFTI contains vertices and grayordinates, not a volume")
    if header.datatype not in _NIFTI:
        raise DataError(f"no picture: voxels of datatype code {header.datatype} cannot be drawn")
    kind, colours = _NIFTI[header.datatype]
    shape = (*header.shape, 1, 1)[:3]
    steps = (*header.voxel_size_mm, 1.0, 1.0)[:3]
    return Grid(
        shape=(shape[0], shape[1], shape[2]),
        frames=math.prod(header.shape[3:]),
        dtype=np.dtype(header.byte_order + kind),
        colours=colours,
        offset=header.data_offset if single else header.vox_offset,
        scaling=header.scaling if colours == 1 else (1.0, 0.0),
        steps_mm=_usable(steps[0], steps[1], steps[2]),
        orientation=_orientation(header.columns),
        detached=not single,
        timed=len(header.shape) == 4,
    )


def _mgh_grid(head: bytes) -> Grid:
    try:
        header = read_mgh(head, 1 << 62)  # whether all voxels are there shows when they are read
    except FormatError as error:
        raise DataError(f"no picture: the file is neither NIfTI nor MGH ({error})") from error
    cosines = header.grid[3:12]
    columns = tuple((cosines[at], cosines[at + 1], cosines[at + 2]) for at in (0, 3, 6))
    return Grid(
        shape=header.shape,
        frames=header.frames,
        dtype=np.dtype(">" + _MGH[header.kind]),
        colours=1,
        offset=MGH_HEADER_BYTES,
        scaling=(1.0, 0.0),
        steps_mm=_usable(*header.voxel_size_mm),
        orientation=_orientation(columns),
        timed=header.frames > 1,
    )


def _usable(*steps: float) -> tuple[float, float, float]:
    """Voxel sizes that can be drawn by: of a header that gives none, cubes."""
    good = all(math.isfinite(step) and step > 0 for step in steps) and max(steps) < 1000 * min(steps)
    return (steps[0], steps[1], steps[2]) if good else (1.0, 1.0, 1.0)


def _orientation(columns: tuple[tuple[float, float, float], ...] | None) -> Orientation:
    """The permutation and flips nearest to the affine.

    As in nifti1_io.c (``nifti_mat44_to_orientation``): of the six ways to name the axes, the one in which they follow
    R, A and S best, after the columns were made orthogonal (polar decomposition), so that shear favours no axis.
    """
    if columns is None:
        return Orientation()
    matrix = np.array(columns, dtype=np.float64).T
    lengths = np.linalg.norm(matrix, axis=0)
    if not np.isfinite(matrix).all() or not (lengths > 0).all():
        return Orientation()
    left, strengths, right = np.linalg.svd(matrix / lengths)
    if strengths[-1] < 1e-6:
        return Orientation()
    turn = left @ right
    best = max(permutations(range(3)), key=lambda axes: round(sum(abs(turn[row, axes[row]]) for row in range(3)), 9))
    flips = tuple(bool(turn[row, best[row]] < 0) for row in range(3))
    return Orientation((best[0], best[1], best[2]), (flips[0], flips[1], flips[2]), known=True)
