"""Files that look like data and are not uploaded, by kind: what they are, and what to do with them."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from xnatferry.checks.file_type import Content, sniff
from xnatferry.checks.finding_catalog import found
from xnatferry.wording import one_or_many

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from xnatferry.sources.folder_walk import Entry
    from xnatferry.sources.model import Finding

_DICOM: Final = "DICOM file"
_SUBJECT: Final = "FreeSurfer subject"
_IMAGE: Final = r"nii|nii\.gz|hdr|img|mgz|mgh|nrrd|dcm"
#: One of each kind, by the name of a file.
_KINDS: Final = {
    "cloud placeholder": r"\..+\.icloud|.+\.cloudf?",
    "unfinished download": rf".+\.(part|partial|filepart|crdownload|download)|\..+\.({_IMAGE})\.\w{{6}}",
    _DICOM: r".+\.(dcm|ima|dicom)(\.gz)?",
    "image in another packing": r".+\.(nii|img|hdr)(\.gz)?\.(gz|zst|bz2|xz|lz4|lzma|zip|7z|z)",
    "image of another format": r".+\.(mgz|mgh|nrrd|nhdr|mnc|mif(\.gz)?|mih|mha|mhd|brik(\.gz)?|head|rec|par)",
    "recording": r".+\.(edf|bdf|vhdr|fif|set|snirf|cnt|mff|nwb|acq)",
    "archive": r".+\.(zip|tar|tgz|tar\.\w+|7z|rar)",
}
_PATTERNS: Final = {kind: re.compile(pattern, re.IGNORECASE) for kind, pattern in _KINDS.items()}
_WHERE: Final = {
    "cloud placeholder": "let the cloud program download it",
    "unfinished download": "finish the download",
    _DICOM: "send it to XNAT as DICOM, or convert it with dcm2niix",
    "image in another packing": "unpack it, or pack it with gzip",
    "image of another format": "convert it to NIfTI, or push its folder with --as files",
    "recording": "push it as a BIDS dataset or with a table",
    "archive": "extract it, or push it alone",
    _SUBJECT: "push its folder with --as freesurfer",
}
_MARKERS: Final = frozenset({"mri", "surf", "stats", "label", "scripts"})
_NAMED: Final = 3


def is_unread_data(name: str) -> bool:
    """Whether a file of this name would be data, were it of a known format or complete."""
    return any(pattern.fullmatch(name) for pattern in _PATTERNS.values())


def unread_data(others: Sequence[Entry], root: Path) -> tuple[list[Finding], list[Entry]]:
    """One finding that counts the data among *others* by kind, and the rest of them."""
    by_kind: dict[str, list[str]] = defaultdict(list)
    subjects = _subjects_among(others)
    by_kind[_SUBJECT] = list(subjects)
    rest: list[Entry] = []
    for entry in others:
        if any(entry.relative.startswith(f"{subject}/") for subject in subjects):
            continue
        kind = next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(entry.name)), None)
        if kind is None and "." not in entry.name and _is_dicom(entry):
            kind = _DICOM
        if kind is None:
            rest.append(entry)
        else:
            by_kind[kind].append(entry.relative)
    parts = [_described(kind, names) for kind, names in by_kind.items() if names]
    return ([found("NII28", f"not uploaded: {'; '.join(parts)}", root)] if parts else []), rest


def _described(kind: str, names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
    first, _, rest = kind.partition(" ")
    plural = f"{first}s {rest}" if rest.startswith(("in ", "of ")) else f"{kind}s"
    return f"{len(names):,} {one_or_many(len(names), kind, plural)} ({shown}): {_WHERE[kind]}"


def _subjects_among(entries: Iterable[Entry]) -> list[str]:
    """Folders that hold two of a FreeSurfer subject's folders, as in the tree of the Human Connectome Project."""
    inside: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        parts = entry.relative.split("/")
        for at, part in enumerate(parts[1:-1], start=1):
            if part in _MARKERS:
                inside["/".join(parts[:at])].add(part)
                break
    return sorted(folder for folder, markers in inside.items() if len(markers) > 1)


def _is_dicom(entry: Entry) -> bool:
    if entry.problem is not None:
        return False
    try:
        with entry.path.open("rb") as stream:
            return sniff(stream.read(1024)) is Content.DICOM
    except OSError:
        return False
