"""Adds reports about results to a push: resource ``VALIDATION`` of the session, as BBRC's validator does.

The reports are made before the plan, and equal data gives equal bytes, so a second push sends nothing.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from xnatferry.sources.model import Kind, LocalFile, Source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xnatferry.planning.placement import MappedSources, Placement

VALIDATION: Final = "VALIDATION"


def with_attached(mapped: MappedSources, reports: Mapping[Path, Sequence[LocalFile]]) -> MappedSources:
    """Add to each source that has a report, by its path, the resource that holds it.

    A file is named after its resource (``FREESURFER7.html``): a session may hold several.
    """
    more = [_beside(item, reports[item.source.path]) for item in mapped.placements if item.source.path in reports]
    return replace(mapped, placements=(*mapped.placements, *more))


def _beside(item: Placement, files: Sequence[LocalFile]) -> Placement:
    named = tuple(replace(file, name=f"{item.resource}{PurePosixPath(file.name).suffix}") for file in files)
    source = Source(Kind.FILES, item.source.path, f"report of {item.source.relative}", named)
    fields = {"content": VALIDATION}
    return replace(item, source=source, resource=VALIDATION, resource_fields=fields, scan=None, on_scan=False, group="")
