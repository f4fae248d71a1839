"""The manifest of BIDS files: the address of each file of a dataset in XNAT, so that a pull restores its paths.

Every project, subject and session with files of a dataset has the resource ``BIDS_MANIFEST`` with one file,
``manifest.json``, about its own resources and those of its scans. It contains no scan IDs, which are not known
before the push: the path is the key. Two scans of a session may have files of one resource and name (``events.tsv``
in ``func`` and ``eeg``); MD5 and folder tell them apart. The same dataset gives the same bytes, so a second push
changes nothing.

A derivative dataset (``DatasetType`` derivative) has its own manifest, named after its resource: ``FMRIPREP.json``. If
a project has several datasets, it is restored below ``derivatives/fmriprep``.

{"bids_manifest": 1, "files": [
{"path": "sub-01/anat/sub-01_T1w.nii.gz", "size": 351, "md5": "...", "level": "scan", "resource": "NIFTI", "name": ...},
...
], "written": [{"level": "session", "resource": "BIDS", "name": "dataset_description.json"}]}

Of a file that was compressed on the way, ``content_size`` and ``content_md5`` say what it unpacks to: the bytes depend
on the computer that compressed it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

MANIFEST_RESOURCE: Final = "BIDS_MANIFEST"
MANIFEST_NAME: Final = "manifest.json"
_VERSION: Final = 1
#: Of manifests with files that were compressed on the way, whose size and MD5 are those of what they unpack to.
_CONTENT_VERSION: Final = 2
_MARK: Final = "bids_manifest"


class ManifestError(ValueError):
    """A manifest that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True, order=True)
class BidsFile:
    """One file of a dataset and its place.

    Attributes:
        path: Path in the dataset; empty for a file that was written for tools and is no part of it.
        size_bytes: Its size.
        digest: Its MD5.
        level: ``project``, ``subject``, ``session`` or ``scan``.
        resource: Label of its resource.
        name: Its path inside the resource.
        packed: Whether it was compressed on the way: size and MD5 are then of what it unpacks to, which is the same
            whoever compressed it.
    """

    path: str
    size_bytes: int
    digest: str
    level: str
    resource: str
    name: str
    packed: bool = False


def manifest_name(pipeline: str | None) -> str:
    """The manifest's name, of a whole dataset or of one pipeline's results."""
    return f"{pipeline}.json" if pipeline else MANIFEST_NAME


def nested_in(name: str) -> str:
    """The folder in which the dataset of the manifest *name* stands beside others."""
    return "" if name == MANIFEST_NAME else f"derivatives/{name.removesuffix('.json').lower()}/"


def write_manifest(files: Iterable[BidsFile]) -> bytes:
    """The manifest of *files*, one line each."""
    files = sorted(files)
    kept = [_line({"path": f.path, **_facts(f), **_place(f)}) for f in files if f.path]
    written = [_line(_place(f)) for f in files if not f.path]
    body = ",\n".join(kept)
    more = ",\n".join(written)
    version = _CONTENT_VERSION if any(file.packed for file in files) else _VERSION
    return f'{{"{_MARK}": {version}, "files": [\n{body}\n], "written": [\n{more}\n]}}\n'.encode(
        "utf-8", "surrogatepass"
    )


def read_manifest(content: bytes) -> list[BidsFile]:
    """The files of a manifest, those that were written for tools included.

    Raises:
        ManifestError: It is no manifest, or one of a later version.
    """
    try:
        found: Any = json.loads(content)
        version = found[_MARK]
        files = [_file(one, str(one["path"])) for one in found["files"]]
        files += [_file(one, "") for one in found["written"]]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ManifestError(f"it is no BIDS manifest ({type(error).__name__}: {error})") from error
    if version not in {_VERSION, _CONTENT_VERSION}:
        raise ManifestError(f"it is of version {version}, this xnatferry reads {_CONTENT_VERSION} at most")
    return files


def _file(one: dict[str, Any], path: str) -> BidsFile:
    place = (str(one["level"]), str(one["resource"]), str(one["name"]))
    if not path:
        return BidsFile(path, 0, "", *place)
    packed = "content_md5" in one
    before = "content_" if packed else ""
    return BidsFile(path, int(one[f"{before}size"]), str(one[f"{before}md5"]), *place, packed)


def _facts(file: BidsFile) -> dict[str, Any]:
    before = "content_" if file.packed else ""
    return {f"{before}size": file.size_bytes, f"{before}md5": file.digest}


def _place(file: BidsFile) -> dict[str, str]:
    return {"level": file.level, "resource": file.resource, "name": file.name}


def _line(members: dict[str, Any]) -> str:
    return json.dumps(members, ensure_ascii=True)
