"""FreeSurfer's binary files: headers, and the file size that follows from them.

Layouts: FreeSurfer's ``mri.c`` (MGH volumes), ``mrisurf`` (triangle surfaces, new curvature files) and
``MRISreadAnnotation``. All numbers are big-endian.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final

from xnatferry.wording import counted

_MGH: Final = struct.Struct(">7ih15f")
#: Where the voxels of an MGH volume begin.
MGH_HEADER_BYTES: Final = 284
#: Bytes per voxel by MGH type: uchar, int, float, short, ushort.
_MGH_BYTES: Final = {0: 1, 1: 4, 3: 4, 4: 2, 10: 2}
_TRIANGLES: Final = b"\xff\xff\xfe"
_NEW_CURVATURE: Final = b"\xff\xff\xff"


class FormatError(ValueError):
    """A file whose content does not match its name; the text says why."""


@dataclass(frozen=True, slots=True)
class MghHeader:
    """Grid of an MGH volume.

    Attributes:
        shape: Voxels along each of three axes.
        frames: Volumes.
        voxel_size_mm: Spacing of the three axes.
        kind: MGH type of a voxel: 0 uchar, 1 int, 3 float, 4 short, 10 ushort.
        grid: Voxel size, direction cosines and centre, 15 numbers; two volumes with the same grid and shape lie on top
            of each other.
    """

    shape: tuple[int, int, int]
    frames: int
    kind: int
    voxel_size_mm: tuple[float, float, float]
    grid: tuple[float, ...]

    def __str__(self) -> str:
        """Shape, voxel size and centre, for messages."""
        shape, steps, centre = self.shape, self.voxel_size_mm, self.grid[12:15]
        parts = (" x ".join(f"{number:g}" for number in numbers) for numbers in (shape, steps))
        return " of ".join(parts) + " mm around " + ", ".join(f"{number:g}" for number in centre)

    @property
    def voxel_bytes(self) -> int:
        """Bytes of one voxel."""
        return _MGH_BYTES[self.kind]


def mgh_bytes(head: bytes) -> int:
    """How many bytes the header and voxels of an MGH volume take; tags may follow.

    Raises:
        FormatError: It is none.
    """
    if len(head) < _MGH.size:
        raise FormatError(f"only {counted(len(head), 'byte')}, less than a header")
    version, *dims, kind, _dof, _good_ras = _MGH.unpack_from(head)[:8]
    if version != 1 or kind not in _MGH_BYTES or min(dims) < 1:
        raise FormatError("not an MGH volume")
    return MGH_HEADER_BYTES + int(math.prod(dims)) * _MGH_BYTES[kind]


def read_mgh(head: bytes, unpacked_bytes: int) -> MghHeader:
    """Read the header of an MGH volume and compare it with the number of unpacked bytes.

    Raises:
        FormatError: It is none, or bytes are missing.
    """
    stated = mgh_bytes(head)
    _version, *dims, kind, _dof, good_ras = _MGH.unpack_from(head)[:8]
    floats = _MGH.unpack_from(head)[8:]
    if unpacked_bytes < stated:
        raise FormatError(f"the header states {stated} bytes, the file has {unpacked_bytes}")
    grid = floats if good_ras else (1.0, 1.0, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)
    return MghHeader((dims[0], dims[1], dims[2]), dims[3], kind, (grid[0], grid[1], grid[2]), grid)


def surface_counts(head: bytes, size_bytes: int) -> tuple[int, int]:
    """The numbers of vertices and faces of a triangle surface.

    Raises:
        FormatError: It is none, or bytes are missing.
    """
    if not head.startswith(_TRIANGLES):
        raise FormatError("not a triangle surface")
    end = head.find(b"\n\n")  # the comment "created by ... on ..." and an empty line
    if end < 0 or len(head) < end + 10:
        raise FormatError("the comment is not terminated")
    vertices, faces = struct.unpack_from(">2i", head, end + 2)
    if vertices < 1 or faces < 1 or size_bytes < end + 10 + 12 * (vertices + faces):
        raise FormatError(f"the header states {vertices} vertices and {faces} faces, too many for {size_bytes} bytes")
    return int(vertices), int(faces)


def curvature_vertices(head: bytes, size_bytes: int) -> int:
    """The number of values of a curvature file (thickness, area, sulc ...).

    Raises:
        FormatError: It is none, or bytes are missing.
    """
    if not head.startswith(_NEW_CURVATURE) or len(head) < 15:
        raise FormatError("not a curvature file")
    vertices, _faces, values = struct.unpack_from(">3i", head, 3)
    if vertices < 1 or values < 1 or size_bytes < 15 + 4 * vertices * values:
        raise FormatError(f"the header states {vertices} values, too many for {size_bytes} bytes")
    return int(vertices)


def annotation_vertices(head: bytes, size_bytes: int) -> int:
    """The number of vertices of an annotation.

    Raises:
        FormatError: It is none, or bytes are missing.
    """
    if len(head) < 4:
        raise FormatError("too short for an annotation")
    vertices = struct.unpack_from(">i", head)[0]
    if vertices < 1 or size_bytes < 4 + 8 * vertices:
        raise FormatError(f"the header states {vertices} vertices, too many for {size_bytes} bytes")
    return int(vertices)


def label_vertices(head: bytes, size_bytes: int) -> int:
    """The number of vertices of an ASCII label: a comment, the count, then one line for each vertex.

    Raises:
        FormatError: It is none, or lines are missing.
    """
    lines = head[:512].split(b"\n")
    try:
        vertices = int(lines[1])
    except (IndexError, ValueError):
        raise FormatError("the second line is not a number of vertices") from None
    # The shortest line is "0 0 0 0 0" and its end.
    if not lines[0].startswith(b"#") or vertices < 0 or size_bytes < 10 * vertices:
        raise FormatError(f"the header states {vertices} vertices, too many for {size_bytes} bytes")
    return vertices
