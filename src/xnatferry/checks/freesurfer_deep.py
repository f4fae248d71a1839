"""Checks of a FreeSurfer subject that read all voxels and vertices; in pieces, without an array library.

Voxels are big-endian. A volume is turned into a mask, one byte a voxel, by `bytes.translate`; two masks are compared as
whole numbers, whose bits are counted.
"""

from __future__ import annotations

import sys
from array import array
from itertools import zip_longest
from math import isfinite
from typing import TYPE_CHECKING, Final

from xnatferry.checks.file_type import GZIP_WINDOW, UNPACK_ERROR, decompressobj
from xnatferry.checks.finding_catalog import found
from xnatferry.checks.surfaces import MGH_HEADER_BYTES, FormatError, MghHeader, read_mgh, surface_counts
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xnatferry.checks.freesurfer import Run
    from xnatferry.sources.model import Finding

_PIECE_VOXELS: Final = 1 << 20
_PACKED_BYTES: Final = 1 << 20
_ONES: Final = bytes([0] + [1] * 255)
_TYPECODES: Final = {0: "B", 1: "i", 3: "f", 4: "h", 10: "H"}
#: Highest number in FreeSurfer's lookup table (FreeSurferColorLUT.txt) that aseg and its relatives use.
_HIGHEST_LABEL: Final = 15_000
_FEWEST_LABELS: Final = 35
_SEGMENTED_SHARE: Final = 0.99
_ZERO_SHARE: Final = 0.05


def check_deep(run: Run) -> list[Finding]:
    """Checks FS06 of the voxels, FS04 of vertices and values, FS10 of the thickness.

    A subject in an archive has no `Run.opener`; its volumes have been unpacked to their end, which is all that is done.
    """
    if run.opener is None:
        return []
    findings = _segmentation(run)
    for side in ("lh", "rh"):
        for name in (f"surf/{side}.white", f"surf/{side}.pial"):
            findings += _surface(run, name)
        findings += _thickness(run, side)
    return findings


def _voxels(run: Run, name: str) -> Iterator[bytes]:
    """The voxels of a volume in pieces of 2^20, the last one shorter."""
    header = _header(run, name)
    if header is None or run.opener is None:
        return
    size = _PIECE_VOXELS * header.voxel_bytes
    left = header.voxel_bytes * header.frames * header.shape[0] * header.shape[1] * header.shape[2]
    held = bytearray()
    skip = MGH_HEADER_BYTES
    unpacker = decompressobj(GZIP_WINDOW)
    with run.opener(name) as stream:
        while left and (packed := stream.read(_PACKED_BYTES)):
            held += unpacker.decompress(packed)
            if skip:
                skip, cut = max(0, skip - len(held)), min(skip, len(held))
                del held[:cut]
            while len(held) >= min(size, left) > 0:
                piece = bytes(held[: min(size, left)])
                del held[: len(piece)]
                left -= len(piece)
                yield piece


def _header(run: Run, name: str) -> MghHeader | None:
    file = run.files.get(name)
    if file is None or file.damage is not None:
        return None
    try:
        return read_mgh(file.head, file.unpacked_bytes)
    except FormatError:
        return None  # reported as FS04


def _mask(piece: bytes, voxel_bytes: int) -> int:
    """One byte a voxel, 1 where the voxel is not zero, as one number."""
    mask = 0
    for place in range(voxel_bytes):
        mask |= int.from_bytes(piece[place::voxel_bytes].translate(_ONES), "little")
    return mask


def _segmentation(run: Run) -> list[Finding]:
    """Labels of aseg, and whether the brain mask covers them."""
    aseg, mask = _header(run, "mri/aseg.mgz"), _header(run, "mri/brainmask.mgz")
    if aseg is None:
        return []
    both = mask is not None and mask.shape == aseg.shape
    labels: set[int] = set()
    segmented = covered = 0
    try:
        for piece, other in zip_longest(
            _voxels(run, "mri/aseg.mgz"), _voxels(run, "mri/brainmask.mgz") if both else (), fillvalue=b""
        ):
            labels |= _values(piece, aseg.kind)
            inside = _mask(piece, aseg.voxel_bytes)
            segmented += inside.bit_count()
            if mask is not None and both:
                covered += (inside & _mask(other, mask.voxel_bytes)).bit_count()
    except (OSError, UNPACK_ERROR):
        return []  # reported as FS04: every volume was decompressed before
    findings = _labels(run, labels - {0})
    if both and segmented and covered / segmented < _SEGMENTED_SHARE:
        share = f"{100 * covered / segmented:.1f} %"
        why = (
            f"brainmask covers {share} of the aseg labels, 99 % or more is usual; check the skull strip"
            " for missing brain"
        )
        findings.append(found("FS06", why, run.where, file="mri/brainmask.mgz", seen=share, expected="99 % or more"))
    return findings


def _values(piece: bytes, kind: int) -> set[int]:
    if kind == 0:
        return set(piece)
    numbers = array(_TYPECODES[kind], piece)
    if sys.byteorder == "little":
        numbers.byteswap()
    return {int(value) for value in set(numbers) if isfinite(value)}


def _labels(run: Run, labels: set[int]) -> list[Finding]:
    file = "mri/aseg.mgz"
    unknown = sorted(label for label in labels if not 0 < label <= _HIGHEST_LABEL)
    if unknown:
        seen = ", ".join(map(str, unknown[:5]))
        why = f"{file} has labels that are not in FreeSurfer's lookup table ({seen}); inspect the segmentation"
        return [found("FS06", why, run.where, file=file, seen=seen, expected=f"labels up to {_HIGHEST_LABEL}")]
    if len(labels) < _FEWEST_LABELS:
        why = (
            f"{file} has {counted(len(labels), 'label')}, {_FEWEST_LABELS} or more are usual; inspect the segmentation"
        )
        return [found("FS06", why, run.where, file=file, seen=str(len(labels)), expected=f"{_FEWEST_LABELS} or more")]
    return []


def _surface(run: Run, name: str) -> list[Finding]:
    """Whether every face names vertices that are there, and every vertex has a place."""
    file = run.files.get(name)
    if file is None or run.opener is None:
        return []
    try:
        vertices, faces = surface_counts(file.head, file.size_bytes)
        with run.opener(name) as stream:
            content = stream.read()
    except (FormatError, OSError):
        return []  # reported as FS04
    start = content.index(b"\n\n") + 10
    places = _numbers("f", content[start : start + 12 * vertices])
    corners = _numbers("i", content[start + 12 * vertices : start + 12 * (vertices + faces)])
    if all(map(isfinite, places)) and min(corners) >= 0 and max(corners) < vertices:
        return []
    why = f"{name}: invalid vertex or face numbers; copy it again from its source"
    return [
        found(
            "FS04",
            why,
            run.where,
            file=name,
            seen="invalid numbers",
            expected="finite coordinates and existing vertices",
        )
    ]


def _thickness(run: Run, side: str) -> list[Finding]:
    """The share of the cortex without thickness."""
    name, label = f"surf/{side}.thickness", f"label/{side}.cortex.label"
    if name not in run.files or label not in run.files or run.opener is None:
        return []
    try:
        with run.opener(name) as stream:
            values = _numbers("f", stream.read()[15:])
        with run.opener(label) as stream:
            lines = stream.read().split(b"\n")[2:]
        cortex = [int(line.split(maxsplit=1)[0]) for line in lines if line.strip()]
        zero = sum(values[vertex] == 0 for vertex in cortex)
    except (OSError, ValueError, IndexError):
        why = f"{name} and {label} do not match; copy both again from their source"
        return [found("FS04", why, run.where, file=label, seen="other vertices", expected="vertices of this surface")]
    if not cortex or zero / len(cortex) < _ZERO_SHARE:
        return []
    share = f"{100 * zero / len(cortex):.1f} %"
    why = f"{name} is 0 at {share} of the cortex, less than 5 % is usual; inspect the surfaces"
    return [found("FS10", why, run.where, file=name, seen=share, expected="less than 5 %")]


def _numbers(typecode: str, content: bytes) -> array[float]:
    """Four-byte numbers, big-endian, as `array` holds them; a whole number is a float to whom it matters."""
    numbers: array[float] = array(typecode, content[: len(content) // 4 * 4])
    if sys.byteorder == "little":
        numbers.byteswap()
    return numbers
