"""NIfTI headers, and the XNAT scan fields that follow from them.

Layouts: nifti1.h and nifti2.h of the NIfTI data format working group. Header bytes are read directly, without loading
an imaging library: a check of ten thousand files reads ten thousand headers.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from xnatferry.sources.limits import is_possible

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Bits per voxel by datatype code.
BITS: Final[Mapping[int, int]] = {
    1: 1, 2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64,
    1536: 128, 1792: 128, 2048: 256, 2304: 32,
}  # fmt: skip

_FIRST_VOXEL: Final[Mapping[int, int]] = {1: 352, 2: 544}
_TO_MM: Final[Mapping[int, float]] = {1: 1000.0, 2: 1.0, 3: 0.001}
_TO_MS: Final[Mapping[int, float]] = {8: 1000.0, 16: 1.0, 24: 0.001}
_NOT_TIME: Final = frozenset({32, 40, 48})  # Hz, ppm, rad/s: the fourth axis is something else
_CIFTI_INTENTS: Final = range(3000, 3100)
#: How much the square of a quaternion may exceed 1 by rounding: three times the precision of a float, as nibabel.
_ROUNDING: Final = 3 * 2.0**-23
#: Shape under which FreeSurfer stores the 163842 values of an ico7 surface.
_ICO7: Final = (27307, 1, 6)

#: Offset and struct format of fields, for NIfTI-1 and NIfTI-2.
_FIELDS: Final[Mapping[int, Mapping[str, tuple[int, str]]]] = {
    1: {
        "dim_info": (39, "B"), "dim": (40, "8h"), "intent_code": (68, "h"), "datatype": (70, "h"),
        "pixdim": (76, "8f"), "vox_offset": (108, "f"), "xyzt_units": (123, "B"), "qform_code": (252, "h"),
        "sform_code": (254, "h"), "quatern": (256, "3f"), "srow": (280, "12f"), "scl": (112, "2f"), "glmin": (144, "i"),
    },
    2: {
        "dim_info": (524, "B"), "dim": (16, "8q"), "intent_code": (504, "i"), "datatype": (12, "h"),
        "pixdim": (104, "8d"), "vox_offset": (168, "q"), "xyzt_units": (500, "i"), "qform_code": (344, "i"),
        "sform_code": (348, "i"), "quatern": (352, "3d"), "srow": (400, "12d"), "scl": (176, "2d"),
    },
}  # fmt: skip
SIZES: Final = {1: 348, 2: 540}
#: Offset and length of the free texts.
TEXT_FIELDS: Final[Mapping[int, Mapping[str, tuple[int, int]]]] = {
    1: {
        "descrip": (148, 80),
        "aux_file": (228, 24),
        "intent_name": (328, 16),
        "data_type": (4, 10),
        "db_name": (14, 18),
    },
    2: {"descrip": (240, 80), "aux_file": (320, 24), "intent_name": (508, 16)},
}


class HeaderError(ValueError):
    """An invalid header; the text says why."""


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """What a NIfTI header says.

    Attributes:
        version: 1 or 2.
        shape: Length of each used axis.
        pixdim: Spacing of each used axis, in the units of *spatial_unit* and *time_unit*.
        datatype: NIfTI datatype code.
        voxel_bits: Bits of one voxel.
        vox_offset: Where voxels begin, as the header says.
        spatial_unit: Code: 0 unknown, 1 m, 2 mm, 3 micrometre.
        time_unit: Code: 0 unknown, 8 s, 16 ms, 24 microsecond; 32, 40 and 48 are no times.
        columns: Columns of the affine, one for each voxel axis, each (right, anterior, superior): of the sform when it
            is set, else of the qform without scale; None without either.
        qform_is_rotation: Whether the quaternion of the qform is one.
        texts: Non-empty text fields, also the bytes after the first zero byte.
        byte_order: ``<`` or ``>``, of header and voxels.
        scaling: Slope and intercept that make values of stored numbers; (1, 0) where the header sets none.
        leftovers: Names of text fields with bytes after the first zero byte, which programs ignore.
    """

    version: int
    shape: tuple[int, ...]
    pixdim: tuple[float, ...]
    datatype: int
    voxel_bits: int
    vox_offset: int
    spatial_unit: int
    time_unit: int
    intent_code: int
    qform_code: int
    sform_code: int
    slice_axis: int
    columns: tuple[tuple[float, float, float], ...] | None
    qform_is_rotation: bool
    texts: Mapping[str, str]
    byte_order: str
    scaling: tuple[float, float]
    leftovers: frozenset[str]

    @property
    def data_offset(self) -> int:
        """Where voxels begin in a single file: never within the header, whatever ``vox_offset`` says."""
        return max(self.vox_offset, _FIRST_VOXEL[self.version])

    @property
    def voxel_bytes(self) -> int:
        """Bytes that all voxels take."""
        return -(-math.prod(self.shape) * self.voxel_bits // 8)

    @property
    def frames(self) -> int:
        """Length of the fourth axis; 1 where there is none."""
        return self.shape[3] if len(self.shape) > 3 else 1

    @property
    def is_cifti(self) -> bool:
        """Whether axes are CIFTI's, which have no geometry."""
        return self.intent_code in _CIFTI_INTENTS

    @property
    def voxel_size_mm(self) -> tuple[float, ...]:
        """Spacing of the first three axes in mm; an unknown unit is taken as mm.

        Where sform and pixdim differ by more than 1 %, the sform's, which is what programs draw by.
        """
        scale = _TO_MM.get(self.spatial_unit, 1.0)
        steps = self.sform_steps if self.scales_differ else self.pixdim[:3]
        return tuple(abs(step) * scale for step in steps)

    @property
    def sform_steps(self) -> tuple[float, ...]:
        """Spacing of the first three axes by the sform, in the header's unit; empty without one."""
        if self.sform_code <= 0 or self.columns is None:
            return ()
        return tuple(math.hypot(*column) for column in self.columns)

    @property
    def scales_differ(self) -> bool:
        """Whether a usable sform and pixdim give voxel sizes more than 1 % apart."""
        steps = self.sform_steps[: len(self.pixdim)]
        if not steps or not all(math.isfinite(step) and step > 0 for step in steps):
            return False
        return any(abs(step - abs(size)) > 0.01 * step for step, size in zip(steps, self.pixdim, strict=False))

    @property
    def repetition_time_ms(self) -> float | None:
        """Spacing of the fourth axis in ms, or None where that is no time, or none that can be meant.

        An unknown unit is read as seconds below 100, else as ms; 1 without a unit is what libraries write that know of
        no time. More than 100 s between volumes is a wrong unit.
        """
        if self.frames < 2 or self.time_unit in _NOT_TIME:
            return None
        step = abs(self.pixdim[3])
        scale = _TO_MS.get(self.time_unit)
        if not math.isfinite(step) or (scale is None and step == 1):
            return None
        step_ms = step * (scale if scale is not None else 1000.0 if step < 100 else 1.0)
        return step_ms if is_possible("RepetitionTime", step_ms / 1000) else None

    @property
    def orientation(self) -> str | None:
        """``Tra``, ``Sag`` or ``Cor``, by the direction in which slices follow one another; None without a frame."""
        if self.columns is None or not all(map(math.isfinite, self.columns[self.slice_axis])):
            return None
        column = self.columns[self.slice_axis]
        if not any(column):
            return None
        return ("Sag", "Cor", "Tra")[max(range(3), key=lambda axis: abs(column[axis]))]

    def attributes(self) -> dict[str, str]:
        """Fields of ``xnat:mrScanData`` by path: voxel size in mm, matrix, slices, frames, TR in ms, orientation.

        Schema ``xnat.xsd``: ``fov`` and ``matrix`` are integers, ``tr`` is in ms.
        """
        if self.is_cifti:
            return {}
        attributes: dict[str, str] = {}
        size_mm = self.voxel_size_mm
        if len(size_mm) == 3 and all(is_possible("VoxelSize", step) for step in size_mm):
            for axis, step in zip("xyz", size_mm, strict=True):
                attributes[f"parameters/voxelRes/{axis}"] = number(step)
            attributes["parameters/voxelRes/units"] = "mm"
            for axis, length, step in zip("xy", self.shape, size_mm, strict=False):
                attributes[f"parameters/fov/{axis}"] = str(round(length * step))
        for axis, length in zip("xy", self.shape, strict=False):
            attributes[f"parameters/matrix/{axis}"] = str(length)
        if len(self.shape) > 2:
            attributes["parameters/partitions"] = str(self.shape[2])
        if self.frames > 1:
            attributes["frames"] = str(self.frames)
        if (repetition_ms := self.repetition_time_ms) is not None:
            attributes["parameters/tr"] = number(repetition_ms)
        if self.orientation is not None:
            attributes["parameters/orientation"] = self.orientation
        return attributes


def number(value: float) -> str:
    """A float as text without the noise of single precision: ``2.2``, ``1.0``."""
    return str(float(f"{value:.7g}"))


def read_header(head: bytes, *, version: int) -> NiftiHeader:
    """Read a NIfTI header.

    Args:
        head: The first bytes of the file (unpacked), best with the extensions.
        version: 1 or 2, as the magic bytes say.

    Raises:
        HeaderError: It is not a valid header.
    """
    if len(head) < SIZES[version]:
        raise HeaderError(f"it has {len(head)} bytes instead of {SIZES[version]}")
    order = byte_order(head, version)
    fields = _unpack(head, version, order)
    shape = _shape(fields)
    rank = len(shape)
    datatype = fields["datatype"][0]
    if datatype not in BITS:
        raise HeaderError(f"datatype code {datatype} is not defined")
    if not math.isfinite(fields["vox_offset"][0]) or fields["vox_offset"][0] < 0:
        raise HeaderError(f"vox_offset is {fields['vox_offset'][0]}")
    vox_offset = int(fields["vox_offset"][0])
    units = fields["xyzt_units"][0]
    return NiftiHeader(
        version=version,
        shape=shape,
        pixdim=tuple(fields["pixdim"][1 : rank + 1]),
        datatype=datatype,
        voxel_bits=BITS[datatype],
        vox_offset=vox_offset,
        spatial_unit=units & 0x07,
        time_unit=units & 0x38,
        intent_code=fields["intent_code"][0],
        qform_code=fields["qform_code"][0],
        sform_code=fields["sform_code"][0],
        slice_axis=((fields["dim_info"][0] >> 4) & 3 or 3) - 1,
        columns=_columns(fields),
        qform_is_rotation=all(map(math.isfinite, _rotation(fields["quatern"], fields["pixdim"][0])[0])),
        texts=_texts(head, version),
        leftovers=frozenset(
            name for name, raw in _raw_texts(head, version) if raw.partition(b"\x00")[2].strip(b"\x00 ")
        ),
        byte_order=order,
        scaling=_scaling(*fields["scl"]),
    )


def _shape(fields: Mapping[str, tuple[Any, ...]]) -> tuple[int, ...]:
    """Length of each used axis.

    FreeSurfer writes overlays of a surface as images of one row. A row longer than NIfTI-1 can say has ``dim[1]`` -1,
    and its length in ``glmin``.
    """
    rank = fields["dim"][0]
    if not 1 <= rank <= 7:
        raise HeaderError(f"dim[0] is {rank}, allowed are 1 to 7 axes")
    shape = tuple(fields["dim"][1 : rank + 1])
    if "glmin" in fields and shape[:3] == (-1, 1, 1) and fields["glmin"][0] > 0:
        shape = (fields["glmin"][0], *shape[1:])
    elif "glmin" in fields and shape[:3] == _ICO7:
        shape = (math.prod(_ICO7), 1, 1, *shape[3:])
    if min(shape) >= 1:
        return shape
    axis = next(axis for axis, length in enumerate(shape, start=1) if length < 1)
    shown = " x ".join(map(str, shape))
    if shape[axis - 1] < 0:
        raise HeaderError(f"axis {axis} of {rank} has the length {shape[axis - 1]} ({shown})")
    raise HeaderError(
        f"dim[0] states {rank} axes, but axis {axis} has the length 0 ({shown}): some programs read it as 1, others as"
        " an image without voxels"
    )


def _scaling(slope: float, intercept: float) -> tuple[float, float]:
    """Slope and intercept that can be used; a slope of 0 means that there are none (nifti1.h)."""
    if slope == 0 or not math.isfinite(slope) or not math.isfinite(intercept):
        return (1.0, 0.0)
    return (slope, intercept)


def byte_order(head: bytes, version: int) -> str:
    """``<`` or ``>``, by the header's own length.

    Raises:
        HeaderError: It gives another length.
    """
    for order in "<>":
        if struct.unpack_from(order + "i", head)[0] == SIZES[version]:
            return order
    raise HeaderError(f"sizeof_hdr is {struct.unpack_from('<i', head)[0]} instead of {SIZES[version]}")


def _unpack(head: bytes, version: int, order: str) -> dict[str, tuple[Any, ...]]:
    return {name: struct.unpack_from(order + kind, head, offset) for name, (offset, kind) in _FIELDS[version].items()}


def _columns(fields: dict[str, tuple[Any, ...]]) -> tuple[tuple[float, float, float], ...] | None:
    """Where voxel axes point, by sform when it is set, else by qform (nifti1.h, methods 3 and 2)."""
    if fields["sform_code"][0] > 0:
        rows = fields["srow"]
        return tuple((rows[axis], rows[axis + 4], rows[axis + 8]) for axis in range(3))
    if fields["qform_code"][0] > 0:
        return _rotation(fields["quatern"], fields["pixdim"][0])
    return None


def _rotation(quatern: tuple[float, ...], qfac: float) -> tuple[tuple[float, float, float], ...]:
    """Columns of the rotation matrix of a quaternion (nifti1.h, quatern_to_mat44)."""
    b, c, d = quatern
    rest = 1.0 - (b * b + c * c + d * d)
    if rest < -_ROUNDING:
        return ((math.nan,) * 3,) * 3  # no rotation
    a = math.sqrt(max(0.0, rest))
    sign = -1.0 if qfac < 0 else 1.0
    return (
        (a * a + b * b - c * c - d * d, 2 * (b * c + a * d), 2 * (b * d - a * c)),
        (2 * (b * c - a * d), a * a + c * c - b * b - d * d, 2 * (c * d + a * b)),
        (sign * 2 * (b * d + a * c), sign * 2 * (c * d - a * b), sign * (a * a + d * d - c * c - b * b)),
    )


def _raw_texts(head: bytes, version: int) -> list[tuple[str, bytes]]:
    return [(name, head[start : start + length]) for name, (start, length) in TEXT_FIELDS[version].items()]


def _texts(head: bytes, version: int) -> dict[str, str]:
    shown = {
        name: " ".join(part.decode("latin-1").strip() for part in raw.split(b"\x00") if part.strip())
        for name, raw in _raw_texts(head, version)
    }
    return {name: text for name, text in shown.items() if text}
