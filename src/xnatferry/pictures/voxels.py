"""Voxels of image files, read no further than needed and in bounded memory.

A plain file is read where a volume stands; a gzip stream is unpacked up to it. Of volumes with more than `LARGEST_AXIS`
voxels along an axis only every second, third ... voxel is kept, which is more than a picture has pixels.
"""

from __future__ import annotations

import gzip
import zlib
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, cast

import numpy as np

from xnatferry.errors import DataError
from xnatferry.pictures.grid import HEAD_BYTES, Grid, read_grid

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

try:
    from isal import igzip, isal_zlib
except ImportError:  # no wheel for this processor
    igzip, isal_zlib = None, None  # type: ignore[assignment]

#: Voxels along one axis of a volume in memory.
LARGEST_AXIS: Final = 400
#: Bytes of one plane that is still read: 16,000 x 16,000 floats.
_LARGEST_SLICE: Final = 1 << 30
_PIECE: Final = 1 << 20
_BROKEN: Final = (EOFError, OSError, zlib.error, *((isal_zlib.error,) if isal_zlib else ()))


class Frames:
    """The volumes of one image, to be read in rising order.

    Args:
        grid: How they are stored.
        stream: Unpacked bytes, at their beginning.
        seeks: Whether *stream* can jump.
    """

    def __init__(self, grid: Grid, stream: IO[bytes], *, seeks: bool) -> None:
        self.grid = grid
        self.thinning = tuple(-(-length // LARGEST_AXIS) for length in grid.shape)
        self._stream = stream
        self._position = 0
        self._seeks = seeks

    @property
    def steps_mm(self) -> tuple[float, float, float]:
        """Distance of voxels of what `frame` gives, along the stored axes."""
        a, b, c = (step * thin for step, thin in zip(self.grid.steps_mm, self.thinning, strict=True))
        return (a, b, c)

    def frame(self, index: int) -> NDArray[np.generic]:
        """Values of one volume: three stored axes, and colours when there are several.

        Raises:
            DataError: Bytes are missing or damaged.
        """
        grid = self.grid
        if max(self.thinning) == 1:
            flat = np.frombuffer(self._bytes(grid.offset + index * grid.frame_bytes, grid.frame_bytes), grid.dtype)
            return _values(_shaped(flat, grid, grid.shape), grid)
        planes = [self.plane(index, at)[:: self.thinning[0], :: self.thinning[1]].copy() for at in self._kept_planes()]
        return _values(np.stack(planes, axis=2), grid)

    def plane(self, index: int, at: int) -> NDArray[np.generic]:
        """Stored numbers of one plane of the first two axes, not scaled.

        Raises:
            DataError: Bytes are missing or damaged.
        """
        grid = self.grid
        start = grid.offset + index * grid.frame_bytes + at * grid.slice_bytes
        flat = np.frombuffer(self._bytes(start, grid.slice_bytes), grid.dtype)
        return _shaped(flat, grid, (*grid.shape[:2], 1))[:, :, 0]

    def _kept_planes(self) -> range:
        return range(0, self.grid.shape[2], self.thinning[2])

    def _bytes(self, start: int, length: int) -> bytearray:
        try:
            self._go_to(start)
            found = bytearray(length)
            view, at = memoryview(found), 0
            while at < length:
                piece = self._stream.read(min(_PIECE, length - at))
                if not piece:
                    raise DataError(f"no picture: voxels end at byte {self._position}, the header states more")
                view[at : at + len(piece)] = piece
                at += len(piece)
                self._position += len(piece)
        except _BROKEN as error:
            raise DataError(f"no picture: the voxels cannot be read ({error})") from error
        return found

    def _go_to(self, start: int) -> None:
        if self._seeks:
            self._stream.seek(start)
            self._position = start
        while self._position < start:
            piece = self._stream.read(min(_PIECE, start - self._position))
            if not piece:
                raise DataError(f"no picture: voxels end at byte {self._position}, the header states more")
            self._position += len(piece)


@contextmanager
def open_frames(image: Path | bytes) -> Iterator[Frames]:
    """Open an image: a path (or either file of a ``.hdr``/``.img`` pair), or the bytes of a single file.

    Raises:
        DataError: It cannot be read, or is no image that can be shown.
    """
    if isinstance(image, Path) and (other := _header_beside(image)) is not None:
        image = other
    with _opened(image) as (stream, seeks):
        try:
            head = stream.read(HEAD_BYTES)
            stream.seek(0)
        except _BROKEN as error:
            raise DataError(f"no picture: the file cannot be read ({error})") from error
        grid = read_grid(head)
        _check_size(grid)
        if not grid.detached:
            yield Frames(grid, stream, seeks=seeks)
            return
    if not isinstance(image, Path):
        raise DataError("no picture: the header belongs to a pair; the voxels are in another file")
    with _opened(_voxels_beside(image)) as (stream, seeks):
        yield Frames(grid, stream, seeks=seeks)


@contextmanager
def _opened(image: Path | bytes) -> Iterator[tuple[IO[bytes], bool]]:
    """Unpacked bytes of *image*, and whether they can be reached by a jump."""
    try:
        raw: IO[bytes] = BytesIO(image) if isinstance(image, bytes) else image.open("rb")
    except OSError as error:
        raise DataError(f"no picture: the file cannot be read ({error.strerror})") from error
    with raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if not packed:
            yield raw, True
            return
        with (igzip.IGzipFile if igzip else gzip.GzipFile)(fileobj=raw, mode="rb") as stream:
            yield cast("IO[bytes]", stream), False


def _header_beside(path: Path) -> Path | None:
    name = path.name.lower()
    if not name.endswith((".img", ".img.gz")):
        return None
    stem = path.name[: name.rindex(".img")]
    return next((found for end in (".hdr", ".hdr.gz") if (found := path.with_name(stem + end)).is_file()), None)


def _voxels_beside(path: Path) -> Path:
    stem = path.name.removesuffix(".gz").removesuffix(".hdr")
    for end in (".img", ".img.gz"):
        if (found := path.with_name(stem + end)).is_file():
            return found
    raise DataError(f"no picture: {stem}.img with the voxels is missing beside {path.name}")


def _check_size(grid: Grid) -> None:
    if grid.slice_bytes > _LARGEST_SLICE or min(grid.shape) < 1 or grid.frames < 1:
        raise DataError(f"no picture: an image of {' x '.join(map(str, grid.shape))} voxels is not plausible")


def _shaped(flat: NDArray[np.generic], grid: Grid, shape: tuple[int, ...]) -> NDArray[np.generic]:
    if grid.colours == 1:
        return flat.reshape(shape, order="F")
    return np.moveaxis(flat.reshape((grid.colours, *shape), order="F"), 0, -1)


def _values(stored: NDArray[np.generic], grid: Grid) -> NDArray[np.generic]:
    """Values by slope and intercept; of complex numbers the magnitude."""
    if np.iscomplexobj(stored):
        stored = np.abs(stored)
    slope, intercept = grid.scaling
    if (slope, intercept) == (1.0, 0.0):
        return stored
    scaled: NDArray[np.generic] = stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return scaled
