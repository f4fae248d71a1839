"""Levels of XNAT's object tree, and addresses by label.

    project ── resources
      └─ subject ── resources
           └─ session ── resources
                ├─ scan ── resources
                └─ assessor ── resources

XNAT's REST word for a session (and for every other subject assessor) is *experiment*; it appears only in paths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from sys import intern
from typing import Final
from urllib.parse import quote

from xnatferry.errors import UsageError
from xnatferry.xnat.labels import is_encoded, is_plain_name


class Level(StrEnum):
    """A level of XNAT's tree, from the outside in."""

    PROJECT = "project"
    SUBJECT = "subject"
    SESSION = "session"
    SCAN = "scan"
    ASSESSOR = "assessor"
    RESOURCE = "resource"
    FILE = "file"


@dataclass(frozen=True, slots=True)
class Address:
    """The address of an object or file on a server, by labels.

    >>> str(Address.parse("BRAIN/sub01/sub01_MR1/scans/1/resources/NIFTI/files/t1.nii.gz"))
    'BRAIN/sub01/sub01_MR1/scans/1/resources/NIFTI/files/t1.nii.gz'

    Attributes:
        project: Project ID.
        subject: Subject label.
        session: Session label.
        scan: Scan ID within the session.
        assessor: Image assessor label.
        resource: Resource label, at the deepest level given.
        file: Path of a file within the resource, with ``/``.
    """

    project: str
    subject: str | None = None
    session: str | None = None
    scan: str | None = None
    assessor: str | None = None
    resource: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        """Refuse addresses with a hole in them."""
        if (
            (self.session and not self.subject)
            or ((self.scan or self.assessor) and not self.session)
            or (self.scan and self.assessor)
            or (self.file and not self.resource)
        ):
            raise ValueError(f"incomplete address: {self!r}")

    def __lt__(self, other: Address) -> bool:
        """Order by labels, a container before what it holds."""
        return self._parts() < other._parts()

    def _parts(self) -> tuple[str, ...]:
        return tuple(getattr(self, level.value) or "" for level in Level)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``PROJECT[/SUBJECT[/SESSION[/scans/ID | /assessors/LABEL]]][/resources/LABEL[/files/PATH]]``.

        Subject and session may be marked as in XNAT's REST paths: ``P/subjects/S/experiments/E``. A subject or session
        whose label is a word of addresses, such as ``resources``, must be marked.

        Raises:
            UsageError: The text is no address.
        """
        # Thousands of addresses share their labels: one copy of each is kept.
        parts = [intern(part) for part in text.strip("/").split("/")]
        found: dict[str, str] = {"project": parts.pop(0)}
        levels = _LEVELS if parts[:1] == ["subjects"] and len(parts) > 1 else _BARE_LEVELS
        for word, level, below in levels:
            if below.issubset(found) and (parts[:1] == [word] if word else parts and parts[0] not in _WORDS):
                del parts[: bool(word)]
                found[level] = parts.pop(0) if parts else ""
                if level == "file":
                    found[level] = intern("/".join([found[level], *parts]))
                    parts = []
        if parts or not all(found.values()) or {"scan", "assessor"} <= set(found):
            raise UsageError(
                f"{text!r}: not an address; write PROJECT[/SUBJECT[/SESSION[/scans/ID]]][/resources/LABEL[/files/PATH]]"
            )
        return cls(**found)

    @property
    def level(self) -> Level:
        """The deepest level that is named."""
        for level in reversed(Level):
            if getattr(self, level.value) is not None:
                return level
        return Level.PROJECT

    @property
    def parent(self) -> Address | None:
        """The address one level up; None for a project."""
        return None if self.level is Level.PROJECT else self.child(self.level, None)

    def child(self, level: Level, label: str | None) -> Address:
        """The address of *label* at *level* below this one; None takes that level away."""
        return replace(self, **{level.value: label})  # type: ignore[arg-type]  # project is never None here

    def ancestors(self) -> list[Address]:
        """All addresses above this one, the project first."""
        found: list[Address] = []
        above = self.parent
        while above is not None:
            found.append(above)
            above = above.parent
        return found[::-1]

    def holds(self, other: Address) -> bool:
        """Whether *other* is below this address."""
        if self.resource is not None:
            return self.file is None and other.file is not None and replace(other, file=None) == self
        pairs = (
            (self.project, other.project),
            (self.subject, other.subject),
            (self.session, other.session),
            (self.scan, other.scan),
            (self.assessor, other.assessor),
        )
        return self != other and all(own is None or own == of_other for own, of_other in pairs)

    @property
    def container(self) -> Address:
        """The address without resource and file: what the resource belongs to."""
        return replace(self, resource=None, file=None)

    @property
    def path(self) -> str:
        """The REST path, percent-encoded: ``/data/projects/P/subjects/S/experiments/E/...``."""
        pieces = ["/data/projects", quote(self.project, safe="")]
        for word, label in (
            ("subjects", self.subject),
            ("experiments", self.session),
            ("scans", self.scan),
            ("assessors", self.assessor),
            ("resources", self.resource),
        ):
            if label is not None:
                pieces += [word, quote(label, safe="")]
        if self.file is not None:
            pieces += ["files", quote_name(self.file)]
        return "/".join(pieces)

    def __str__(self) -> str:
        marked = self.subject in _WORDS or self.session in _WORDS
        pieces = [self.project]
        for word, level, _ in _LEVELS if marked else _BARE_LEVELS:
            label = getattr(self, level)
            if label is not None:
                pieces += [word, label] if word else [label]
        return "/".join(pieces)


_BELOW_SESSION: Final = (
    ("scans", "scan", frozenset({"session"})),
    ("assessors", "assessor", frozenset({"session"})),
    ("resources", "resource", frozenset[str]()),
    ("files", "file", frozenset({"resource"})),
)
#: Word before a label in the text of an address, the label's level, and what must come before it.
_LEVELS: Final = (
    ("subjects", "subject", frozenset[str]()),
    ("experiments", "session", frozenset({"subject"})),
    *_BELOW_SESSION,
)
_BARE_LEVELS: Final = (("", "subject", frozenset[str]()), ("", "session", frozenset({"subject"})), *_BELOW_SESSION)
_WORDS: Final = frozenset(word for word, _, _ in _LEVELS)


def quote_name(name: str) -> str:
    """The path of a file in a resource as a part of a URL.

    Names without escapes, and names that a server lists percent-encoded, are not changed, so that XNAT stores and finds
    them. In other names ``+`` becomes ``%2B``: XNAT 1.8 form-decodes names that contain ``%20`` or ``%2B``.
    """
    return name if is_plain_name(name) or is_encoded(name) else quote(name, safe="/-._~")
