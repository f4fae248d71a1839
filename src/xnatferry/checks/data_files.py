"""Whether a file of data is whole, as far as its format tells: recordings, surfaces, and images that are results.

Formats: EDF and BDF (edfplus.info/specs/edf.html: header, then records of a stated length), HDF5 (SNIRF, NWB; the
superblock states the end of the file), GIfTI (XML), gzip (RFC 1952). Of other recordings only emptiness is seen.
"""

from __future__ import annotations

from dataclasses import replace
from typing import IO, TYPE_CHECKING, Final

from xnatferry.checks.file_type import Content, read_stream, sniff
from xnatferry.checks.finding_catalog import found
from xnatferry.checks.images import inspect_image
from xnatferry.sources.model import Severity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from xnatferry.sources.model import Finding

#: Findings on incomplete data that ``--allow-incomplete`` accepts.
INCOMPLETE: Final = frozenset({"NII01", "NII07", "NII09", "NII10", "NII12", "FIL05"})
#: Errors of an image that is incomplete or not here; other formats of results are uploaded with a warning.
_DAMAGE: Final = frozenset({"NII01", "NII04", "NII05", "NII09", "NII12"})
_IMAGES: Final = (".nii", ".nii.gz")
_PACKED: Final = (".gz", ".mgz")
_OTHERS: Final = (
    *(".edf", ".bdf", ".vhdr", ".vmrk", ".eeg", ".set", ".fdt", ".fif", ".snirf", ".nwb", ".h5", ".hdf5", ".mgh"),
    *(".gii", ".trk", ".tck", ".tif", ".tiff", ".mefd", ".cnt", ".con", ".sqd"),
)
_NOT_HERE: Final = {
    Content.ANNEX: "the file is a git-annex pointer, its content is not here; run `datalad get` or `git annex get`",
    Content.LFS: "the file is a Git LFS pointer, its content is not here; run `git lfs pull`",
    Content.WEB_PAGE: "the file is a web page (a failed download?); download it again",
}
_AGAIN: Final = "copy it again from its source"


def is_data_name(name: str) -> bool:
    """Whether a file is data by its name, not text or settings."""
    return name.lower().endswith((*_IMAGES, *_PACKED, *_OTHERS))


def accepted(finding: Finding) -> Finding:
    """A finding on incomplete data that the user accepts with ``--allow-incomplete``; other findings unchanged."""
    if finding.id not in INCOMPLETE:
        return finding
    why = f"{finding.message.partition(';')[0]}; uploaded because of --allow-incomplete"
    return replace(finding, severity=Severity.WARNING, message=why)


def inspect_data(path: Path) -> tuple[list[Finding], str | None]:
    """What is wrong with one file of data, and its MD5 if it had to be read to the end.

    Raises:
        OSError: It cannot be read.
    """
    name = path.name.lower()
    if name.endswith(_IMAGES):
        report = inspect_image(path)
        errors = (finding for finding in report.findings if finding.severity is Severity.ERROR)
        findings = [one if one.id in _DAMAGE else replace(one, severity=Severity.WARNING) for one in errors]
        return findings, (report.digests or {}).get(path)
    with path.open("rb") as stream:
        head = stream.read(1024)
        if not head:
            return [found("FIL05", f"the file is empty (0 bytes); {_AGAIN}", path)], None
        if (why := _NOT_HERE.get(sniff(head))) is not None:
            return [found("FIL05", why, path)], None
        if name.endswith(_PACKED):
            stream.seek(0)
            packed = read_stream(stream)
            if not packed.packed:
                odd = found("FIL05", "the file is not gzip, as its name says; it is uploaded unchanged", path)
                return [replace(odd, severity=Severity.WARNING)], packed.digest
            why = packed.damage.value if packed.damage else ""
            return [found("FIL05", f"{why}; {_AGAIN}", path)] if why else [], packed.digest
        check = next((check for ending, check in _CHECKS.items() if name.endswith(ending)), None)
        why = check(stream, head, path.stat().st_size) if check is not None else ""
        return [found("FIL05", f"{why}; {_AGAIN}", path)] if why else [], None


def _recording(stream: IO[bytes], head: bytes, size: int) -> str:
    """EDF, EDF+ and BDF: every signal has its number of samples in each record."""
    width = {b"0       ": 2, b"\xffBIOSEMI": 3}.get(head[:8])
    if width is None:
        return ""
    try:
        header, records, signals = int(head[184:192]), int(head[236:244]), int(head[252:256])
        stream.seek(256 + 216 * signals)
        samples = [int(stream.read(8)) for _ in range(signals)]
    except ValueError:
        return "the header of the recording is incomplete"
    needed = header + max(records, 0) * sum(samples) * width  # -1 records: the recording was not closed
    return f"the header states {needed} bytes, the file has {size}" if size < needed else ""


def _hdf5(_: IO[bytes], head: bytes, size: int) -> str:
    """The end of the file as the superblock says it (HDF5 file format specification, II.A)."""
    if not head.startswith(b"\x89HDF\r\n\x1a\n"):
        return ""
    version = head[8] if len(head) > 8 else 0
    offsets = head[13] if version < 2 else head[9]
    at = {0: 24, 1: 28}.get(version, 12) + 2 * offsets
    needed = int.from_bytes(head[at : at + offsets], "little")
    return f"the file states {needed} bytes, it has {size}" if size < needed else ""


def _gifti(stream: IO[bytes], _: bytes, size: int) -> str:
    stream.seek(max(0, size - 4096))
    return "" if b"</GIFTI>" in stream.read() else "the file ends before </GIFTI>"


_CHECKS: Final[Mapping[str, Callable[[IO[bytes], bytes, int], str]]] = {
    ".edf": _recording,
    ".bdf": _recording,
    ".snirf": _hdf5,
    ".nwb": _hdf5,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".gii": _gifti,
}
