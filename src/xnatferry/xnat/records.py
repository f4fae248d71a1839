"""Values that operations on a server take and return."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.xnat.interning import no_fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from xnatferry.xnat.result_set import Row


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field that the server stored differently than it was sent.

    Attributes:
        part: The part of the object that it belongs to (``scan 1``); empty for the object itself.
        field: Its path, as it was sent.
        sent: The value that was sent.
        stored: The value that the server returns; None if it returns none.
    """

    part: str
    field: str
    sent: str
    stored: str | None

    def __str__(self) -> str:
        name = f"{self.part} {self.field}".strip()
        stored = "not stored by the server" if self.stored is None else f"stored as {self.stored!r}"
        return f"{name}: sent {self.sent!r}, {stored}"


@dataclass(frozen=True, slots=True)
class Ensured:
    """An object that exists.

    Attributes:
        id: The server's accession ID; the label if the level has none (projects, scans, resources).
        label: Its label.
        created: Whether this call created it.
        changes: Fields of a new object that the server stored differently than they were sent.
    """

    id: str
    label: str
    created: bool
    changes: tuple[FieldChange, ...] = ()


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
        assessor: ID of its assessor, if listed.
        reconstruction: ID of its reconstruction, if listed.
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
    assessor: str | None = None
    reconstruction: str | None = None


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
        id: Accession ID of the object.
    """

    xsi_type: str
    fields: Mapping[str, str] = field(default_factory=no_fields)
    unsettable: tuple[str, ...] = ()
    scans: Mapping[str, Attributes] = field(default_factory=dict)
    assessors: Mapping[str, Attributes] = field(default_factory=dict)
    subject_id: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ProjectListing:
    """The subjects and sessions of a project, with those shared into it, by their labels in the project.

    Attributes:
        subjects: ``ID label`` and the requested fields.
        sessions: Sessions and other subject assessors: ``ID label subject_ID subject_label xsiType date project`` and
            the requested fields; ``project`` is the owner. If ``subject_label`` is not in *subjects*, the session is
            shared without its subject.
    """

    subjects: tuple[Row, ...] = ()
    sessions: tuple[Row, ...] = ()

    @property
    def subject_labels(self) -> frozenset[str]:
        """Labels of the subjects."""
        return frozenset(row["label"] for row in self.subjects)

    def sessions_of(self, subject: str | None) -> list[Row]:
        """The sessions of one subject, by its label; of all when it is None."""
        return [row for row in self.sessions if subject in {None, row["subject_label"]}]
