"""Thumbnails for a report: which images of an import are shown, drawn in processes of their own."""

from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.errors import XnatferryError
from xnatferry.planning.snapshot_steps import SNAPSHOTS
from xnatferry.reports.import_statistics import name_of
from xnatferry.transfer.snapshot_pool import SnapshotPool

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from xnatferry.planning.plan import Plan, Step
    from xnatferry.sources.model import LocalFile

_IMAGES: Final = (".nii", ".nii.gz", ".hdr", ".hdr.gz", ".mgz", ".mgh")
#: The volumes of a FreeSurfer subject that show its brain, the best first.
_BRAINS: Final = ("mri/brain.mgz", "mri/brainmask.mgz", "mri/T1.mgz", "mri/orig.mgz")
#: Pictures on one page, and their bytes together before they are written as text, which adds a third.
_MOST: Final = 400
_MOST_BYTES: Final = 12_000_000


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """One image of the import.

    Attributes:
        name: Session and scan.
        kind: Scan type or label of the resource.
        file: Its name in the resource.
        data_uri: The picture; empty when there is none.
        note: Why there is none.
    """

    name: str
    kind: str
    file: str
    data_uri: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """The pictures of a report.

    Attributes:
        thumbnails: Those that could be drawn.
        missing: Those that could not, with why.
        omitted: Number of images beyond the size limit.
    """

    thumbnails: tuple[Thumbnail, ...] = ()
    missing: tuple[Thumbnail, ...] = ()
    omitted: int = 0


def draw_gallery(plan: Plan, first: Collection[str] = ()) -> Gallery:
    """Draw one image of each scan and each other resource, where it still is what the plan says.

    Args:
        plan: What is imported.
        first: Names (`name_of`) of what is shown before the limit of a page cuts the others off.
    """
    chosen = _chosen(plan)
    shown = sorted(chosen, key=lambda step: name_of(step.address) not in first)[:_MOST]
    order = {step.address: place for place, step in enumerate(chosen)}
    drawn = _drawn(sorted(shown, key=lambda step: order[step.address]), plan)
    good = tuple(thumbnail for thumbnail in drawn if thumbnail.data_uri)
    missing = tuple(thumbnail for thumbnail in drawn if not thumbnail.data_uri)
    return Gallery(good, missing, len(chosen) - len(drawn))


def _chosen(plan: Plan) -> list[Step]:
    """The first image of each scan, and the best one of each resource outside scans."""
    best: dict[object, tuple[int, Step]] = {}
    for step in plan.files:
        name, local = (step.address.file or "").lower(), _local(step)
        if not name.endswith(_IMAGES) or step.address.resource == SNAPSHOTS or local.made is not None:
            continue
        place = step.address.container if step.address.scan else step.address.parent
        inside = "/".join(name.split("/")[-2:])
        rank = _BRAINS.index(inside.replace("t1.", "T1.")) if inside.replace("t1.", "T1.") in _BRAINS else len(_BRAINS)
        if place not in best or rank < best[place][0]:
            best[place] = (rank, step)
    return [step for _, step in best.values()]


def _drawn(steps: Sequence[Step], plan: Plan) -> list[Thumbnail]:
    types = {step.address: step.fields["type"] for step in plan.steps if step.fields.get("type")}
    reasons = [_problem_of(_local(step)) for step in steps]
    found: list[Thumbnail] = []
    total = 0
    with SnapshotPool((), small=True) as snapshot_pool, ThreadPoolExecutor(8) as pool:
        pictures = [
            None if why else pool.submit(snapshot_pool.thumbnail, _local(step).path)
            for step, why in zip(steps, reasons, strict=True)
        ]
        for step, why, future in zip(steps, reasons, pictures, strict=True):
            kind = types.get(step.address.container) or step.address.resource or ""
            name, file, data = name_of(step.address), step.address.file or "", b""
            if future is not None:
                try:
                    data = future.result()
                except XnatferryError as error:
                    why = str(error)  # noqa: PLW2901  # another reason for the same image
            total += len(data)
            if total > _MOST_BYTES:
                break
            uri = f"data:image/webp;base64,{base64.b64encode(data).decode('ascii')}" if data else ""
            found.append(Thumbnail(name, kind, file, uri, why))
        for future in pictures:
            if future is not None:
                future.cancel()
    return found


def _local(step: Step) -> LocalFile:
    assert step.payload is not None  # noqa: S101  # asked for file steps only
    return step.payload.local


def _problem_of(local: LocalFile) -> str:
    """Why no thumbnail can be drawn of a file; empty if it can."""
    if local.member is not None:
        return f"the file is inside the archive {local.path.name}"
    if local.data is not None or local.opener is not None:
        return "the file is not on this computer"
    try:
        now = local.path.stat()
    except OSError:
        return f"{local.path} is no longer there"
    if (now.st_size, now.st_mtime_ns) != (local.disk_bytes, local.mtime_ns):
        return f"{local.path} has changed since"
    return ""
