"""Data model of discovery: sources, their files, their labels, and findings."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from xnatferry.xnat.digest import digest_of
from xnatferry.xnat.interning import no_fields

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from xnatferry.xnat.model import Level


class Kind(StrEnum):
    """What a source is; also the values of ``--as``."""

    NIFTI = "nifti"
    BIDS = "bids"
    FREESURFER = "freesurfer"
    TABLE = "table"
    FILES = "files"


class Severity(StrEnum):
    """Severity of a finding: an error refuses its source, a warning and an info do not."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a check of local data.

    Attributes:
        id: Stable id such as ``NII03``; documented in docs/findings.md.
        severity: Whether it stops the push.
        message: What was found, what was expected, what to do.
        path: The file or folder it is about.
        line: Line of a table, counted from 1 with the header as line 1.
        file: The file of a subject that it is about, by its path below *path*; empty when it is about all of it.
        found: What was found there, in a few words.
        expected: What should have been found.
    """

    id: str
    severity: Severity
    message: str
    path: Path | None = None
    line: int | None = None
    file: str = ""
    found: str = ""
    expected: str = ""

    @property
    def where(self) -> str:
        """The path, with the line when there is one."""
        place = "" if self.path is None else str(self.path)
        return f"{place}, line {self.line}" if self.line is not None else place

    def __str__(self) -> str:
        return f"{self.severity} {self.id}: {self.where}: {self.message}"

    def to_dict(self) -> dict[str, str | int | None]:
        """The finding as JSON members; file, found and expected only where they are known."""
        detail = {"file": self.file, "found": self.found, "expected": self.expected}
        return {
            "id": self.id,
            "severity": self.severity.value,
            "message": self.message,
            "path": None if self.path is None else str(self.path),
            "line": self.line,
            **{name: text for name, text in detail.items() if text},
        }


class ScrubKind(StrEnum):
    """Kind of a file that is scrubbed."""

    NIFTI = "nifti"
    SIDECAR = "sidecar"
    TABLE = "table"
    GZIP = "gzip"
    FREESURFER = "freesurfer"


@dataclass(frozen=True, slots=True)
class Scrub:
    """What is removed from a file while it is read (``--scrub``); the file on disk is not changed.

    Attributes:
        kind: How the file is read.
        removed: What is removed, never its value: header fields (``descrip``), ``extension 4`` or a key in one
            (``extension 44 PatientName``); keys of a sidecar; columns of a table; ``gzip name``, ``gzip comment``;
            ``user``, ``host`` in a log of FreeSurfer.
        disk_bytes: Size of the file as it is.
        shorter_bytes: By how much the extensions of an image shrink.
        packed: Whether the file is gzip: it is unpacked to be read, and compressed anew while it is sent.
        words: Of FreeSurfer, each word that goes and what stands in its place. They are needed to send the file another
            day, so they are kept where its path is kept: in plans on this computer, and never shown or sent.
    """

    kind: ScrubKind
    removed: tuple[str, ...]
    disk_bytes: int
    shorter_bytes: int = 0
    packed: bool = False
    words: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"scrubbed: {', '.join(self.removed)}"


@dataclass(frozen=True, slots=True)
class Made:
    """How a generated file is made while it is sent; its size and MD5 are known only then.

    Attributes:
        content: What it shows: ``ORIGINAL`` or ``THUMBNAIL``, XNAT's words for the pictures of a scan.
        source_digest: What identifies the bytes of the image that it is made from.
    """

    content: str
    source_digest: str


@dataclass(frozen=True, slots=True)
class LocalFile:
    """One file of a resource.

    Attributes:
        path: Where its bytes are: a file, or the archive that holds it.
        name: Its path inside the resource, with ``/``.
        size_bytes: Size of the bytes that will be stored, before any compression on the way.
        mtime_ns: Modification time of *path*, to notice a change between plan and transfer.
        digest: MD5 of these bytes when reading them was needed anyway, else None.
        member: Name inside the archive *path* when the file is a member of one, else None.
        opener: Gives the bytes anew at each call when they are not on this disk but on another server; *path* then only
            says which file it is.
        data: The bytes of a file that we write ourselves and that is on no disk; *path* then says what it is about.
        stands_for: MD5 of a file that we wrote under its name while it was not there, else None.
        made: How it is made of *path* while it is sent; its size is 0 then.
        tree_path: Its path in the dataset whose tree is brought back identical (BIDS), with ``/``; else empty.
        scrub: What is taken out of it on the way; size and digest are those of what is left.
    """

    path: Path
    name: str
    size_bytes: int
    mtime_ns: int
    digest: str | None = None
    member: str | None = None
    opener: Callable[[], Iterator[bytes]] | None = field(default=None, compare=False, repr=False)
    data: bytes | None = None
    stands_for: str | None = None
    made: Made | None = None
    tree_path: str = ""
    scrub: Scrub | None = None

    @property
    def disk_bytes(self) -> int:
        """Size of the file as it is on disk."""
        return self.size_bytes if self.scrub is None else self.scrub.disk_bytes

    @classmethod
    def written(cls, about: Path, name: str, data: bytes) -> LocalFile:
        """A generated file with *data* as its bytes; *about* is the file that it describes."""
        return cls(about, name, len(data), 0, digest_of([data]), opener=lambda: iter((data,)), data=data)


@dataclass(frozen=True, slots=True)
class Claims:
    """Where a source belongs, according to a path, a template or a table row; None where that is unknown.

    Labels are as found, not yet checked against XNAT's rules.

    Attributes:
        scan_type: XNAT data type of the scan; the one that goes with the session's type when None.
        group: Sources of one session with the same group share one scan.
        pipeline: Label of the pipeline whose results are a BIDS dataset of their own, pushed as such.
    """

    subject: str | None = None
    session: str | None = None
    scan: str | None = None
    type: str | None = None
    series_description: str | None = None
    quality: str | None = None
    note: str | None = None
    date: str | None = None
    session_type: str | None = None
    resource: str | None = None
    format: str | None = None
    content: str | None = None
    tags: str | None = None
    scan_type: str | None = None
    group: str | None = None
    pipeline: str | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """The content of one resource: an image with its companions, or one folder of results.

    Attributes:
        kind: What it is.
        path: The image, folder or archive it was found as.
        relative: *path* relative to the root of discovery, with ``/``; used in messages.
        files: Every file that will be stored, the image first.
        claims: Its destination, according to its path or table row.
        attributes: XNAT scan fields read from the data, by path below the scan (``parameters/voxelRes/x``: ``1.0``).
        version: Version of the software that made it (``7.4.1``), when known.
        archived: True when *path* is an archive that is sent unchanged and extracted by the server.
        findings: Findings about it.
        line: Its line of the table, if any.
        session_facts: Fields of its session, by path below the session (``age``: ``34.7``).
        subject_facts: Fields of its subject, by full path (``xnat:subjectData/group``: ``patient``).
        level: Level of its resource: project, subject, session or scan; decided by the kind when None.
    """

    kind: Kind
    path: Path
    relative: str
    files: tuple[LocalFile, ...]
    claims: Claims = field(default_factory=Claims)
    attributes: Mapping[str, str] = field(default_factory=no_fields)
    version: str | None = None
    archived: bool = False
    findings: tuple[Finding, ...] = ()
    line: int | None = None
    session_facts: Mapping[str, str] = field(default_factory=no_fields)
    subject_facts: Mapping[str, str] = field(default_factory=no_fields)
    level: Level | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of all its files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def refused(self) -> bool:
        """Whether a check found an error in it."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)


@dataclass(frozen=True, slots=True)
class Discovery:
    """All that was found below one root.

    Attributes:
        root: The path that the user gave.
        kind: How it was read.
        sources: In a stable order.
        findings: About the root or about files that belong to no source.
        reading: Where else labels were read, in a few words for people (``series from 12 sidecars``).
    """

    root: Path
    kind: Kind
    sources: tuple[Source, ...]
    findings: tuple[Finding, ...] = ()
    reading: str = ""

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """Findings of the root, then those of each source."""
        return self.findings + tuple(finding for source in self.sources for finding in source.findings)
