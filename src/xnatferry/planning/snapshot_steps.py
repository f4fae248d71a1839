"""Plans the snapshots of a scan, without making them.

XNAT shows a scan by the files of its resource ``SNAPSHOTS`` whose catalog entries have the content ``ORIGINAL`` and
``THUMBNAIL``. The plan is made before the snapshots, as drawing hundreds of images takes too long. So a third file,
``snapshots.json``, records the MD5 of the image and the version of the recipe. It is sent last. If the server has it
and both snapshots, nothing is sent; if it differs, all three are replaced. The verdict of such files says that it is
based on this record.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from xnatferry.planning.plan import Decision, Payload, Step
from xnatferry.sources.model import LocalFile, Made
from xnatferry.xnat.digest import digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xnatferry.planning.remote_state import Fingerprint, HeldFile
    from xnatferry.sources.model import Source
    from xnatferry.xnat.model import Address

#: Label of the resource, and content of its catalog (``SnapshotResourceService`` of XNAT 1.8; BBRC's HasThumbnails).
SNAPSHOTS: Final = "SNAPSHOTS"
#: Increased when the same image gives another snapshot: the next push then replaces all snapshots.
RECIPE: Final = 1
RECORD_NAME: Final = "snapshots.json"
_PICTURES: Final = {"ORIGINAL": "scan_qc.gif", "THUMBNAIL": "scan_qc_t.gif"}  # endings of XNAT's own names
_IMAGES: Final = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".img", ".img.gz")
BY_RECORD: Final = f"{RECORD_NAME} on the server names this image as its source"


def image_of(source: Source) -> tuple[LocalFile, ...]:
    """The files of the first image of *source*: one, or two of a pair; none if it has no image on this disk."""
    images = [f for f in source.files if f.name.lower().endswith(_IMAGES) and f.member is None and f.opener is None]
    if not images:
        return ()
    stem = _stem(images[0].name)
    return tuple(sorted((file for file in images if _stem(file.name) == stem), key=lambda file: file.name))


def source_digest(files: Sequence[LocalFile], fingerprint: Callable[[LocalFile], Fingerprint]) -> str:
    """The MD5 of an image, or of the MD5s of a pair."""
    digests = [fingerprint(file).digest for file in files]
    return digests[0] if len(digests) == 1 else digest_of([digest.encode() for digest in digests])


def snapshot_steps(scan: Address, image: Sequence[LocalFile], digest: str, held: Mapping[str, HeldFile]) -> list[Step]:
    """The resource, its two snapshots and their record; none if the resource has snapshots of others.

    Args:
        scan: The scan.
        image: The files of the image.
        digest: Its `source_digest`.
        held: Files of the resource on the server, by name.
    """
    if set(held) - {*_PICTURES.values(), RECORD_NAME}:
        return []
    first = image[0]
    about = {"snapshots": 1, "recipe": RECIPE, "image": first.name, "image_md5": digest, "by": "xnatferry"}
    record = LocalFile.written(first.path, RECORD_NAME, json.dumps(about, indent=1).encode() + b"\n")
    there = held.get(RECORD_NAME)
    current = there is not None and (there.size_bytes, there.digest or record.digest) == (
        record.size_bytes,
        record.digest,
    )
    resource = replace(scan, resource=SNAPSHOTS)
    fields = {"format": "GIF", "content": SNAPSHOTS}
    steps = [Step(resource, Decision.SAME if held else Decision.CREATE, fields=fields)]
    for content, name in _PICTURES.items():
        made = LocalFile(first.path, name, 0, first.mtime_ns, made=Made(content, digest))
        decision, reason = Decision.CREATE, "created during the push"
        if name in held:
            decision = Decision.SAME if current else Decision.UPDATE
            reason = BY_RECORD if current else "created again: the existing one is of another or unknown image"
            made = replace(made, size_bytes=held[name].size_bytes if current else 0)
        entry = {"format": "GIF", "content": content}
        steps.append(Step(replace(resource, file=name), decision, reason, fields=entry, payload=Payload(made)))
    decision = Decision.CREATE if there is None else Decision.SAME if current else Decision.UPDATE
    payload = Payload(record, held_digest=there.digest if there is not None else None)
    # Without a format, as the last file sets the format of the resource (``CatalogUtils.configureResource``).
    return [*steps, Step(replace(resource, file=RECORD_NAME), decision, fields={"content": SNAPSHOTS}, payload=payload)]


def _stem(name: str) -> str:
    lower = name.lower().removesuffix(".gz")
    return name[: lower.rindex(".")]
