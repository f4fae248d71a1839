"""Lists all files of a server at and below an address, with few requests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.errors import NotFoundError
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable

    from xnatferry.client.remote import Remote
    from xnatferry.xnat.records import RemoteFile

__all__ = ["FileAt", "list_files_below", "own_files", "sessions_below"]


@dataclass(frozen=True, slots=True)
class FileAt:
    """One file of a server: its address by labels, and its row of the listing."""

    address: Address
    file: RemoteFile


def list_files_below(remote: Remote, address: Address, *, workers: int = 8) -> list[FileAt]:
    """All files at and below *address*, sorted by address.

    One request for the project and each subject, two for each session and one more for each assessor.

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
        read = thread_map(lambda one: _below(remote, one), (*above, *sessions), workers=workers)
        found = [file for files in read for file in files]
    else:
        _check_session(remote, address)
        found = list(_session(remote, address) if address.level is Level.SESSION else _part(remote, address))
    return sorted(found, key=lambda one: one.address)


def sessions_below(remote: Remote, address: Address) -> tuple[list[Address], list[Address]]:
    """The projects and subjects at and below a project or subject, and their sessions.

    Raises:
        NotFoundError: The subject does not exist.
    """
    project = address.project
    subjects = {row["label"] for row in remote.list_subjects(project)}
    if address.subject is not None:
        if address.subject not in subjects:
            raise NotFoundError(f"{address}: subject not found on {remote.connection.url}")
        subjects = {address.subject}
    above = [Address(project)] if address.subject is None else []
    above += [Address(project, subject) for subject in sorted(subjects)]
    sessions = [
        Address(project, row["subject_label"], row["label"])
        for row in remote.list_sessions(project)
        if row["subject_label"] in subjects
    ]
    return above, sorted(sessions)


def _check_session(remote: Remote, address: Address) -> None:
    """Check the subject of a session, as servers find a session by its label under any subject."""
    if address.session is None:
        if address.subject is not None:
            sessions_below(remote, Address(address.project, address.subject))
        return
    rows = [row for row in remote.list_sessions(address.project) if row["label"] == address.session]
    if not any(row["subject_label"] == address.subject for row in rows):
        session = Address(address.project, address.subject, address.session)
        other = f"; {address.session} belongs to subject {rows[0]['subject_label']}" if rows else ""
        raise NotFoundError(f"{session}: session not found on {remote.connection.url}{other}")


def own_files(remote: Remote, container: Address) -> list[FileAt]:
    """The files of an object's own resources."""
    return [_held(container, file) for file in remote.list_files(container)]


def _below(remote: Remote, address: Address) -> list[FileAt]:
    """The files of a project or subject itself, or all of a session."""
    return own_files(remote, address) if address.session is None else _session(remote, address)


def _session(remote: Remote, session: Address) -> list[FileAt]:
    # A list, not a generator, so that the sessions are read in parallel.
    found = own_files(remote, session)
    for file in remote.list_files(session, all_scans=True):
        if file.scan is not None:
            found.append(_held(session.child(Level.SCAN, file.scan), file))
    for row in remote.list_assessors(session):
        found += own_files(remote, session.child(Level.ASSESSOR, row["label"]))
    return found


def _part(remote: Remote, address: Address) -> Iterable[FileAt]:
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
