"""Checks of one NIfTI image: what its bytes are, whether all are there, whether its header makes sense."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.checks.file_type import HEAD_BYTES, Content, Stream, read_stream, sniff
from xnatferry.checks.finding_catalog import found
from xnatferry.sources.nifti_header import HeaderError, NiftiHeader, read_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xnatferry.sources.model import Finding

__all__ = ["ImageReport", "inspect_image", "inspect_pair"]

_NAMED_OTHERWISE: Final[Mapping[Content, tuple[str, str]]] = {
    Content.WEB_PAGE: ("NII05", "it is a web page, as a failed download leaves it; download the image again"),
    Content.ANNEX: ("NII04", "it is a git-annex pointer without the content; fetch it (datalad get, git annex get)"),
    Content.LFS: ("NII04", "it is a Git LFS pointer without the content; fetch it (git lfs pull)"),
    Content.DICOM: ("NII06", "it is DICOM under a NIfTI name; send it to XNAT as DICOM, or convert it (dcm2niix)"),
    Content.ANALYZE: (
        "NII15",
        "it is Analyze 7.5, which does not say where left is; convert it to NIfTI once you know that it is right",
    ),
}


@dataclass(frozen=True, slots=True)
class ImageReport:
    """What the check of an image found.

    Attributes:
        digests: MD5 of each of its files that had to be read to the end, by path.
        header: Its header, when there is a usable one.
    """

    findings: tuple[Finding, ...]
    header: NiftiHeader | None = None
    digests: Mapping[Path, str] | None = None


def inspect_image(path: Path) -> ImageReport:
    """Check one ``.nii`` or ``.nii.gz``. A gzip stream is read to its end, of others only header and size."""
    try:
        stream = _read(path)
    except OSError as error:
        return ImageReport((_unreadable(path, error),))
    findings = _named_otherwise(path, stream)
    if findings:
        return ImageReport(tuple(findings))
    content = sniff(stream.head)
    if content in {Content.NIFTI1_HEADER, Content.NIFTI2_HEADER}:
        why = "its header belongs to a .hdr/.img pair, not to a single file; convert it, or name both halves"
        return ImageReport((found("NII11", why, path),))
    digests = {path: stream.digest} if stream.packed else {}
    header, findings = _header(path, stream, content)
    if header is not None:
        findings += _length(path, stream.unpacked_bytes, header.data_offset, header)
    if stream.trailing_bytes:
        why = f"{stream.trailing_bytes} bytes follow the end of the gzip stream; most programs ignore them"
        findings.append(found("NII24", why, path))
    return ImageReport(tuple(findings), header, digests)


def inspect_pair(header_path: Path, voxels_path: Path) -> ImageReport:
    """Check a ``.hdr`` with its ``.img``, either or both gzipped."""
    findings: list[Finding] = []
    streams: list[Stream] = []
    for path in (header_path, voxels_path):
        try:
            streams.append(_read(path))
        except OSError as error:
            return ImageReport((_unreadable(path, error),))
    header_stream, voxels = streams
    findings += _named_otherwise(header_path, header_stream)
    findings += _named_otherwise(voxels_path, voxels, image=False)
    if findings:
        return ImageReport(tuple(findings))
    content = sniff(header_stream.head)
    if content in {Content.NIFTI1, Content.NIFTI2}:
        why = "its header belongs to a single file, not to a .hdr/.img pair; name it .nii if it holds the voxels"
        return ImageReport((found("NII11", why, header_path),))
    header, findings = _header(header_path, header_stream, content)
    if header is not None:
        findings += _length(voxels_path, voxels.unpacked_bytes, header.vox_offset, header)
    digests = {
        path: stream.digest for path, stream in zip((header_path, voxels_path), streams, strict=True) if stream.packed
    }
    return ImageReport(tuple(findings), header, digests)


def _read(path: Path) -> Stream:
    with path.open("rb") as stream:
        head = stream.read(HEAD_BYTES)
        stream.seek(0)
        if head.startswith(b"\x1f\x8b"):
            return read_stream(stream)
        size_bytes = path.stat().st_size
        return Stream(head, packed=False, size_bytes=size_bytes, unpacked_bytes=size_bytes, digest="")


def _unreadable(path: Path, error: OSError) -> Finding:
    why = error.strerror or str(error)
    return found("NII03", f"it cannot be read ({why}); check its permissions and its disk", path)


def _named_otherwise(path: Path, stream: Stream, *, image: bool = True) -> list[Finding]:
    """Bytes of one kind under the name of another; *image* is False for an ``.img``, which has no header of its own."""
    said_packed = path.name.lower().endswith(".gz")
    if stream.size_bytes == 0:
        return [found("NII01", "it is empty (0 bytes); copy it again from where it came", path)]
    content = sniff(stream.head)
    if stream.packed and not said_packed:
        why = f"it is gzip under a name without .gz; rename it to {path.name}.gz"
        return [found("NII08", why, path)]
    if said_packed and not stream.packed:
        if content.is_nifti:
            why = f"it is not compressed, but its name ends in .gz; rename it to {path.name[:-3]} or compress it"
            return [found("NII07", why, path)]
        if content not in _NAMED_OTHERWISE:
            return [found("NII10", f"it is {_shown(content)}, not gzip; make or fetch it again", path)]
    if stream.damage is not None:
        why = f"{stream.damage.value}; copy it again from where it came"
        return [found("NII09", why, path)]
    if content in _NAMED_OTHERWISE:
        finding_id, why = _NAMED_OTHERWISE[content]
        return [found(finding_id, why, path)]
    if image and not content.is_nifti:
        return [found("NII10", f"it is {_shown(content)}, not NIfTI; make or fetch it again", path)]
    return []


def _shown(content: Content) -> str:
    return "something else" if content is Content.UNKNOWN else content.value


def _header(path: Path, stream: Stream, content: Content) -> tuple[NiftiHeader | None, list[Finding]]:
    version = 1 if content in {Content.NIFTI1, Content.NIFTI1_HEADER} else 2
    try:
        header = read_header(stream.head, version=version)
    except HeaderError as error:
        return None, [found("NII11", f"its header cannot be right: {error}", path)]
    return header, _geometry(path, header)


def _length(path: Path, there: int, offset: int, header: NiftiHeader) -> list[Finding]:
    promised = offset + header.voxel_bytes
    shape = " x ".join(map(str, header.shape))
    if there < promised:
        why = f"its header promises {promised} bytes ({shape} voxels), it holds {there}; copy it again from its origin"
        return [found("NII12", why, path)]
    if there > promised:
        return [found("NII13", f"its header promises {promised} bytes ({shape} voxels), it holds {there}", path)]
    return []


def _geometry(path: Path, header: NiftiHeader) -> list[Finding]:
    if header.is_cifti:
        return []
    doubts: list[str] = []
    steps = header.voxel_size_mm
    if not all(math.isfinite(step) and step > 0 for step in steps) or any(step < 0 for step in header.pixdim[:3]):
        doubts.append(f"its voxel size is {_sizes(header.pixdim[:3])}")
    elif header.scales_differ:
        doubts.append(f"its voxel size is {_sizes(header.pixdim[:3])} by pixdim, {_sizes(header.sform_steps)} by sform")
    if header.spatial_unit == 0:
        doubts.append("no unit of length is given, millimetres are assumed")
    if header.frames > 1 and header.repetition_time_ms is None and header.pixdim[3] not in {0, 1}:
        doubts.append(f"its repetition time, {header.pixdim[3]:g} with unit code {header.time_unit}, is not used")
    findings = [found("NII16", "; ".join(doubts), path)] if doubts else []
    if header.qform_code <= 0 and header.sform_code <= 0:
        why = "neither qform nor sform is set, so nothing says where left and right are"
        findings.append(found("NII17", why, path))
    elif header.orientation is None:
        findings.append(found("NII17", "its orientation (affine) is no usable matrix", path))
    return findings


def _sizes(steps: Sequence[float]) -> str:
    return " x ".join(f"{step:g}" for step in steps)
