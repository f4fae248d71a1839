"""Checks of one NIfTI image: file type, completeness, plausibility of the header."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.checks.file_type import HEAD_BYTES, Content, Stream, read_stream, sniff
from xnatferry.checks.finding_catalog import found
from xnatferry.sources.limits import is_possible
from xnatferry.sources.nifti_header import HeaderError, NiftiHeader, read_header
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xnatferry.sources.model import Finding

_WRONG_CONTENT: Final[Mapping[Content, tuple[str, str]]] = {
    Content.WEB_PAGE: ("NII05", "the file is a web page (a failed download?); download the image again"),
    Content.ANNEX: (
        "NII04",
        "the file is a git-annex pointer, its content is not here; run `datalad get` or `git annex get`",
    ),
    Content.LFS: ("NII04", "the file is a Git LFS pointer, its content is not here; run `git lfs pull`"),
    Content.DICOM: ("NII06", "the file is DICOM, not NIfTI; send it to XNAT as DICOM, or convert it with dcm2niix"),
    Content.ANALYZE: (
        "NII15",
        (
            "the file is Analyze 7.5, which does not record left and right; verify the orientation, then"
            " convert it to NIfTI"
        ),
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
    """Check one ``.nii`` or ``.nii.gz``: a gzip stream is read to its end, of other files only the header."""
    try:
        stream = _read(path)
    except OSError as error:
        return ImageReport((_unreadable(path, error),))
    findings = _wrong_content(path, stream)
    if findings:
        return ImageReport(tuple(findings))
    content = sniff(stream.head)
    if content in {Content.NIFTI1_HEADER, Content.NIFTI2_HEADER}:
        why = (
            "the header is that of a .hdr/.img pair, not of a single file; convert the image, or name"
            " both files .hdr and .img"
        )
        return ImageReport((found("NII11", why, path),))
    digests = {path: stream.digest} if stream.packed else {}
    header, findings = _header(path, stream, content)
    if header is not None:
        findings += _length(path, stream.unpacked_bytes, header.data_offset, header)
    if stream.trailing_bytes:
        why = f"{counted(stream.trailing_bytes, 'byte')} after the end of the gzip stream; most programs ignore them"
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
    findings += _wrong_content(header_path, header_stream)
    findings += _wrong_content(voxels_path, voxels, image=False)
    if findings:
        return ImageReport(tuple(findings))
    content = sniff(header_stream.head)
    if content in {Content.NIFTI1, Content.NIFTI2}:
        why = (
            "the header is that of a single file, not of a .hdr/.img pair; rename it to .nii if it contains the voxels"
        )
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
    return found("NII03", f"the file cannot be read ({why}); check its permissions and the disk", path)


def _wrong_content(path: Path, stream: Stream, *, image: bool = True) -> list[Finding]:
    """Findings on content that does not match the name; *image* is False for an ``.img``, which has no header."""
    named_packed = path.name.lower().endswith(".gz")
    if stream.size_bytes == 0:
        return [found("NII01", "the file is empty (0 bytes); copy it again from its source", path)]
    content = sniff(stream.head)
    if stream.packed and not named_packed:
        why = f"the file is gzip, but its name does not end in .gz; rename it to {path.name}.gz"
        return [found("NII08", why, path)]
    if named_packed and not stream.packed:
        if content.is_nifti:
            why = f"the file is not compressed, but its name ends in .gz; rename it to {path.name[:-3]}, or compress it"
            return [found("NII07", why, path)]
        if content not in _WRONG_CONTENT:
            return [found("NII10", f"the file is {_shown(content)}, not gzip; create or download it again", path)]
    if stream.damage is not None:
        why = f"{stream.damage.value}; copy the file again from its source"
        return [found("NII09", why, path)]
    if content in _WRONG_CONTENT:
        finding_id, why = _WRONG_CONTENT[content]
        return [found(finding_id, why, path)]
    if image and not content.is_nifti:
        return [found("NII10", f"the file is {_shown(content)}, not NIfTI; create or download it again", path)]
    return []


def _shown(content: Content) -> str:
    return "of an unknown format" if content is Content.UNKNOWN else content.value


def _header(path: Path, stream: Stream, content: Content) -> tuple[NiftiHeader | None, list[Finding]]:
    version = 1 if content in {Content.NIFTI1, Content.NIFTI1_HEADER} else 2
    try:
        header = read_header(stream.head, version=version)
    except HeaderError as error:
        return None, [found("NII11", f"invalid header: {error}; create the image again", path)]
    return header, _geometry(path, header)


def _length(path: Path, actual: int, offset: int, header: NiftiHeader) -> list[Finding]:
    stated = offset + header.voxel_bytes
    shape = " x ".join(map(str, header.shape))
    if actual < stated:
        why = f"the header states {stated} bytes ({shape} voxels), the file has {actual}; copy it again from its source"
        return [found("NII12", why, path)]
    if actual > stated:
        return [found("NII13", f"the header states {stated} bytes ({shape} voxels), the file has {actual}", path)]
    return []


def _geometry(path: Path, header: NiftiHeader) -> list[Finding]:
    if header.is_cifti:
        return []
    problems: list[str] = []
    steps = header.voxel_size_mm
    if not all(is_possible("VoxelSize", step) for step in steps) or any(step < 0 for step in header.pixdim[:3]):
        problems.append(f"the voxel size is {_sizes(header.pixdim[:3])}")
    elif header.scales_differ:
        problems.append(
            f"the voxel size is {_sizes(header.pixdim[:3])} in pixdim, {_sizes(header.sform_steps)} in sform"
        )
    if header.spatial_unit == 0:
        problems.append("no unit of length is set, mm is assumed")
    if header.frames > 1 and header.repetition_time_ms is None and header.pixdim[3] not in {0, 1}:
        problems.append(f"the repetition time ({header.pixdim[3]:g}, unit code {header.time_unit}) is not used")
    findings = [found("NII16", "; ".join(problems), path)] if problems else []
    if header.qform_code <= 0 and header.sform_code <= 0:
        why = "neither qform nor sform is set, so left and right are unknown"
        findings.append(found("NII17", why, path))
    elif header.qform_code > 0 and not header.qform_is_rotation:
        if header.sform_code > 0:
            why = "the quaternion of the qform is not a rotation; only programs that read the sform can open the image"
        else:
            why = "the quaternion of the qform is not a rotation, so left and right are unknown"
        findings.append(found("NII17", why, path))
    elif header.orientation is None:
        findings.append(found("NII17", "the affine is not a valid matrix, so left and right are unknown", path))
    return findings


def _sizes(steps: Sequence[float]) -> str:
    return " x ".join(f"{step:g}" for step in steps)
