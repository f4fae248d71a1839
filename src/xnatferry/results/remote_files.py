"""Lists all files of a server at and below an address, with few requests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xnatferry.errors import NotFoundError, VerifyError
from xnatferry.planning.plan import Refusal
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xnatferry.client.remote import Remote
    from xnatferry.xnat.records import Attributes, RemoteFile


@dataclass(frozen=True, slots=True)
class FileAt:
    """One file of a server: its address by labels, and its row of the listing."""

    address: Address
    file: RemoteFile


@dataclass(frozen=True, slots=True)
class FilesBelow:
    """All files at and below an address.

    Attributes:
        files: Sorted by address.
        unplaced: Files without an address, such as those of reconstructions; they are reported.
    """

    files: Sequence[FileAt] = ()
    unplaced: tuple[Refusal, ...] = ()


def list_files_below(remote: Remote, address: Address, *, workers: int = 8) -> FilesBelow:
    """All files at and below *address*, sorted by address.

    One request for the project and each subject, two for each session.

    Args:
        remote: The server.
        address: A project, subject, session, scan, assessor, resource or file.
        workers: How many objects are read at the same time.

    Raises:
        NotFoundError: *address* does not exist.
    """
    if not remote.project_exists(address.project):
        raise NotFoundError(
            f"{address.project}: project not found on {remote.connection.url}, or not visible for this account"
        )
    if address.level in {Level.PROJECT, Level.SUBJECT}:
        above, sessions = sessions_below(remote, address)
        parts = list(thread_map(lambda one: _below(remote, one), (*above, *sessions), workers=workers))
    else:
        _check_session(remote, address)
        parts = [_below(remote, address) if address.level is Level.SESSION else FilesBelow(_part(remote, address))]
    found = (file for part in parts for file in part.files)
    return FilesBelow(
        sorted(found, key=lambda one: one.address), tuple(refusal for part in parts for refusal in part.unplaced)
    )


def sessions_below(remote: Remote, address: Address) -> tuple[list[Address], list[Address]]:
    """The projects and subjects at and below a project or subject, and their sessions, shared ones too.

    Raises:
        NotFoundError: The subject does not exist.
    """
    project = address.project
    listed = remote.read_project(project, details=())
    subjects, below = listed.subject_labels, listed.sessions_of(address.subject)
    if address.subject is not None:
        if address.subject not in subjects and not below:
            raise NotFoundError(f"{address}: subject not found on {remote.connection.url}")
        subjects &= {address.subject}
    above = [Address(project)] if address.subject is None else []
    above += [Address(project, subject) for subject in sorted(subjects)]
    return above, sorted(Address(project, row["subject_label"], row["label"]) for row in below)


def _check_session(remote: Remote, address: Address) -> None:
    """Check the subject of a session, as servers find a session by its label under any subject."""
    if address.session is None:
        if address.subject is not None:
            sessions_below(remote, Address(address.project, address.subject))
        return
    listed = remote.read_project(address.project, details=())
    rows = [row for row in listed.sessions if row["label"] == address.session]
    if not any(row["subject_label"] == address.subject for row in rows):
        session = Address(address.project, address.subject, address.session)
        other = f"; {address.session} belongs to subject {rows[0]['subject_label']}" if rows else ""
        raise NotFoundError(f"{session}: session not found on {remote.connection.url}{other}")


def own_files(remote: Remote, container: Address) -> list[FileAt]:
    """The files of an object's own resources."""
    return [_held(container, file) for file in remote.list_files(container)]


def _below(remote: Remote, address: Address) -> FilesBelow:
    """The files of a project or subject itself, or all of a session."""
    return FilesBelow(own_files(remote, address)) if address.session is None else session_files(remote, address)


def session_files(remote: Remote, session: Address, attributes: Attributes | None = None) -> FilesBelow:
    """All files of a session, of its scans and of its assessors.

    The document of the session defines its scans and assessors. If the listing of all files has no file of them, their
    own listings are read.

    Args:
        remote: The server.
        session: The session.
        attributes: Its attributes, if known.

    Raises:
        NotFoundError: It does not exist.
    """
    attributes = attributes or remote.attributes(session)
    if attributes is None:
        raise NotFoundError(f"{session}: session not found on {remote.connection.url}")
    rows = remote.list_session_files(session)
    if attributes.scans and not any(row.scan for row in rows):
        rows += remote.list_files(session, all_scans=True)
    labels = {found.id: label for label, found in attributes.assessors.items()}
    files: list[FileAt] = []
    unplaced: list[Refusal] = []
    for row in rows:
        owner = session.child(Level.SCAN, row.scan)
        owner = owner if row.assessor is None else owner.child(Level.ASSESSOR, labels.get(row.assessor, row.assessor))
        if why := _unplaced(row, attributes):
            unplaced.append(Refusal(f"{session}: {row.name}", (why,), Path(row.uri), session, VerifyError.exit_code))
        else:
            files.append(_held(owner, row))
    listed = {row.assessor for row in rows}
    for number, label in labels.items():
        if not listed & {number, label}:
            files += own_files(remote, session.child(Level.ASSESSOR, label))
    return FilesBelow(files, tuple(unplaced))


def _unplaced(row: RemoteFile, attributes: Attributes) -> str:
    """Why a file of a session has no address; "" if it has one."""
    if row.reconstruction is not None:
        return f"belongs to reconstruction {row.reconstruction}, which is not supported"
    if row.assessor is not None and row.assessor not in {one.id for one in attributes.assessors.values()}:
        return f"belongs to {row.assessor}, which is not an assessor of the session"
    if "/resources/" not in row.uri:
        return f"is listed without a resource ({row.uri})"
    return ""


def _part(remote: Remote, address: Address) -> list[FileAt]:
    """The files of one scan, assessor or resource, or one file."""
    if address.level in {Level.SCAN, Level.ASSESSOR}:
        if remote.item(address) is None:
            raise NotFoundError(f"{address}: {address.level} not found on {remote.connection.url}")
        return own_files(remote, address)
    resource = address.child(Level.FILE, None)
    files = [_held(resource.container, file) for file in remote.list_files(resource)]
    if address.file is not None:
        files = [held for held in files if held.file.name == address.file]
    if not files and (address.file is not None or not remote.exists(resource)):
        raise NotFoundError(f"{address}: {address.level} not found on {remote.connection.url}")
    return files


def _held(container: Address, file: RemoteFile) -> FileAt:
    return FileAt(container.child(Level.RESOURCE, file.resource or "unnamed").child(Level.FILE, file.name), file)
