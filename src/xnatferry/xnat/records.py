"""Values that operations on a server take and return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.xnat.interning import no_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Attributes", "Ensured", "RemoteFile", "ScanDocument"]


@dataclass(frozen=True, slots=True)
class Ensured:
    """An object that exists.

    Attributes:
        id: The server's accession ID; the label if the level has none (projects, scans, resources).
        label: Its label.
        created: Whether this call created it.
    """

    id: str
    label: str
    created: bool


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One row of a file listing.

    Attributes:
        resource: Label of its resource.
        name: Path in the resource, decoded.
        size_bytes: Size as listed.
        digest: MD5, or None if the server lists none.
        uri: Address as the server spells it.
        scan: Scan ID, None for a resource of the session or above.
        format: Format of the catalog entry.
        content: Content of the catalog entry.
        tags: Tags of the catalog entry, comma separated.
        content_digest: MD5 of what a gzip file must unpack to, where a manifest says it and the listing has no digest.
    """

    resource: str
    name: str
    size_bytes: int
    digest: str | None
    uri: str
    scan: str | None = None
    format: str = ""
    content: str = ""
    tags: str = ""
    content_digest: str | None = None


@dataclass(frozen=True, slots=True)
class ScanDocument:
    """A scan as it stands in a session document.

    Attributes:
        id: Scan ID.
        xsi_type: XNAT data type, e.g. ``xnat:mrScanData``.
        fields: XNAT paths below the scan to values, e.g. ``parameters/voxelRes/x``.
    """

    id: str
    xsi_type: str
    fields: Mapping[str, str] = field(default_factory=no_fields)


@dataclass(frozen=True, slots=True)
class Attributes:
    """The attributes of an object, as a whole.

    Attributes:
        xsi_type: Data type.
        fields: Paths below the type to values, without what the server made itself.
        unsettable: Paths that no request can set: elements of lists that have no name.
        scans: Facts of the scans in it, by ID.
        assessors: Facts of the image assessors in it, by label.
        subject_id: Accession ID of the subject of a session.
    """

    xsi_type: str
    fields: Mapping[str, str] = field(default_factory=no_fields)
    unsettable: tuple[str, ...] = ()
    scans: Mapping[str, Attributes] = field(default_factory=dict)
    assessors: Mapping[str, Attributes] = field(default_factory=dict)
    subject_id: str = ""
