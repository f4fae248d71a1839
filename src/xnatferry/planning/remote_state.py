"""`RemoteState`: the objects and files of a project on a server, as far as a plan needs them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xnatferry.xnat.interning import no_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xnatferry.xnat.gzip_stream import Content
    from xnatferry.xnat.model import Address

#: The first kind of evidence of `xnatferry.transfer.digest_ladder`.
LISTED = "digest in the listing"


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that the server lists.

    Attributes:
        digest: MD5 of its bytes; None where that is not known.
        evidence: How the digest was found, or why there is none; see `xnatferry.transfer.digest_ladder`.
    """

    size_bytes: int
    digest: str | None = None
    evidence: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class RemoteSession:
    """A session that exists.

    Attributes:
        subject: Label of its subject.
        scans: Fields of each scan by scan ID.
        fields: Its own fields, if requested.
        files: By (scan ID or None, resource label, name in the resource).
        assessors: Files of each image assessor, by its label, then by (resource label, name).
    """

    subject: str
    xsi_type: str
    scans: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    files: Mapping[tuple[str | None, str, str], HeldFile] = field(default_factory=dict)
    fields: Mapping[str, str] = field(default_factory=no_fields)
    assessors: Mapping[str, Mapping[tuple[str, str], HeldFile]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteState:
    """The objects and files of a project on a server, as far as a plan needs them.

    Attributes:
        own_files: Files of the project and of subjects themselves, by (subject label or None, resource), then by name.
        subject_fields: Fields of subjects by label, if requested.
        all_fields: Whether all fields of subjects, sessions and scans were requested, or only those in listings of
            scans.
    """

    server: str
    project_exists: bool
    subjects: frozenset[str] = frozenset()
    sessions: Mapping[str, RemoteSession] = field(default_factory=dict)
    own_files: Mapping[tuple[str | None, str], Mapping[str, HeldFile]] = field(default_factory=dict)
    subject_fields: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    all_fields: bool = False

    def without(self, files: Iterable[Address]) -> RemoteState:
        """The same state with some files left out."""
        gone = set(files)
        if not gone:
            return self
        sessions = dict(self.sessions)
        own = dict(self.own_files)
        for address in gone:
            label, name = address.resource or "", address.file or ""
            if address.session is None:
                place = (address.subject, label)
                own[place] = {key: file for key, file in own[place].items() if key != name}
                continue
            session = sessions[address.session]
            if address.assessor is None:
                kept = {key: file for key, file in session.files.items() if key != (address.scan, label, name)}
                sessions[address.session] = replace(session, files=kept)
            else:
                of_it = session.assessors[address.assessor]
                left = {key: file for key, file in of_it.items() if key != (label, name)}
                sessions[address.session] = replace(session, assessors={**session.assessors, address.assessor: left})
        return replace(self, sessions=sessions, own_files=own)

    def fields_of(self, address: Address) -> Mapping[str, str]:
        """The fields of a subject, session or scan by path, as far as they were requested."""
        if address.session is None:
            return self.subject_fields.get(address.subject or "", {})
        session = self.sessions.get(address.session)
        if session is None:
            return {}
        return session.fields if address.scan is None else session.scans.get(address.scan, {})

    def held_in(self, resource: Address) -> Mapping[str, HeldFile] | None:
        """The files of a resource by name; None when it is not known to exist."""
        found: Mapping[str, HeldFile]
        if resource.session is None:
            found = self.own_files.get((resource.subject, resource.resource or ""), {})
        elif resource.assessor is not None:
            there = self.sessions.get(resource.session)
            of_it = there.assessors.get(resource.assessor, {}) if there is not None else {}
            found = {name: file for (label, name), file in of_it.items() if label == resource.resource}
        else:
            there = self.sessions.get(resource.session)
            held = there.files.items() if there is not None else ()
            place = (resource.scan, resource.resource)
            found = {name: file for (scan, label, name), file in held if (scan, label) == place}
        return found or None

    def held_file(self, address: Address) -> HeldFile | None:
        """The file at *address*; None when it does not exist."""
        session = self.sessions.get(address.session or "")
        label, name = address.resource or "", address.file or ""
        if address.session is None:
            return self.own_files.get((address.subject, label), {}).get(name)
        if session is None:
            return None
        if address.assessor is not None:
            return session.assessors.get(address.assessor, {}).get((label, name))
        return session.files.get((address.scan, label, name))


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Size and MD5 of a file as it would arrive.

    Attributes:
        content: What it unpacks to, of a file that is compressed on the way.
    """

    size_bytes: int
    digest: str
    content: Content | None = field(default=None, compare=False)
