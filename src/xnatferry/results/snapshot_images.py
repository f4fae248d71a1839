"""Selects the images of a push that can be drawn, with the MD5 of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xnatferry.checks.finding_catalog import found
from xnatferry.errors import DataError, FileChangedError
from xnatferry.planning.snapshot_steps import image_of, source_digest
from xnatferry.transfer.payload import fingerprint
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from xnatferry.planning.placement import Placement
    from xnatferry.sources.model import Finding, LocalFile


def images_for_snapshots(
    wanted: Iterable[Placement], *, workers: int = 8
) -> tuple[dict[Path, str], tuple[Finding, ...]]:
    """Read the headers of all images of scans.

    Returns:
        MD5 of the images that can be drawn, by path; and a finding for each of the others.
    """
    images = [image for item in wanted if item.on_scan and (image := image_of(item.source))]
    looked = list(thread_map(_look, images, workers=workers))
    digests = {image[0].path: one for image, one in zip(images, looked, strict=True) if isinstance(one, str)}
    return digests, tuple(one for one in looked if not isinstance(one, str))


def _look(image: Sequence[LocalFile]) -> str | Finding:
    from xnatferry.pictures.voxels import open_frames  # noqa: PLC0415  # loads numpy

    path = image[0].path
    try:
        with open_frames(path):
            return source_digest(image, fingerprint)
    except (DataError, FileChangedError) as error:
        return found("PIC01", str(error), path)
