"""The manifest of BIDS files: where in XNAT each file of a dataset is, so that the tree can be brought back.

Every project, subject and session that holds files of a dataset has the resource ``BIDS_MANIFEST`` with one file,
``manifest.json``, about its own resources and those of its scans. It says nothing of scan IDs: a file is found by the
resource and the name, which are unique within a session. The same dataset gives the same bytes, so a second push
changes nothing.

A dataset that is one pipeline's results (``DatasetType`` derivative) has a manifest of its own beside it, named after
its resource: ``FMRIPREP.json``. Where a project holds several datasets, that one comes back below
``derivatives/fmriprep``.

{"bids_manifest": 1, "files": [
{"path": "sub-01/anat/sub-01_T1w.nii.gz", "size": 351, "md5": "...", "level": "scan", "resource": "NIFTI", "name": ...},
...
], "written": [{"level": "session", "resource": "BIDS", "name": "dataset_description.json"}]}
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "MANIFEST_NAME",
    "MANIFEST_RESOURCE",
    "BidsFile",
    "ManifestError",
    "manifest_name",
    "nested_in",
    "read_manifest",
    "write_manifest",
]

MANIFEST_RESOURCE: Final = "BIDS_MANIFEST"
MANIFEST_NAME: Final = "manifest.json"
_VERSION: Final = 1
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
    """

    path: str
    size_bytes: int
    digest: str
    level: str
    resource: str
    name: str


def manifest_name(pipeline: str | None) -> str:
    """The manifest's name, of a whole dataset or of one pipeline's results."""
    return f"{pipeline}.json" if pipeline else MANIFEST_NAME


def nested_in(name: str) -> str:
    """The folder in which the dataset of the manifest *name* stands beside others."""
    return "" if name == MANIFEST_NAME else f"derivatives/{name.removesuffix('.json').lower()}/"


def write_manifest(files: Iterable[BidsFile]) -> bytes:
    """The manifest of *files*, one line each."""
    files = sorted(files)
    kept = [_line({"path": f.path, "size": f.size_bytes, "md5": f.digest, **_place(f)}) for f in files if f.path]
    written = [_line(_place(f)) for f in files if not f.path]
    body = ",\n".join(kept)
    more = ",\n".join(written)
    return f'{{"{_MARK}": {_VERSION}, "files": [\n{body}\n], "written": [\n{more}\n]}}\n'.encode(
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
        files = [_file(one, str(one["path"]), int(one["size"]), str(one["md5"])) for one in found["files"]]
        files += [_file(one, "", 0, "") for one in found["written"]]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ManifestError(f"it is no BIDS manifest ({type(error).__name__}: {error})") from error
    if version != _VERSION:
        raise ManifestError(f"it is of version {version}, this xnatferry reads version {_VERSION}")
    return files


def _file(one: dict[str, Any], path: str, size_bytes: int, digest: str) -> BidsFile:
    return BidsFile(path, size_bytes, digest, str(one["level"]), str(one["resource"]), str(one["name"]))


def _place(file: BidsFile) -> dict[str, str]:
    return {"level": file.level, "resource": file.resource, "name": file.name}


def _line(members: dict[str, Any]) -> str:
    return json.dumps(members, ensure_ascii=True)
