"""XNAT step by step for Python users: a method for each act; every write returns what the server holds afterwards.

    with xnatferry.connect(server="https://xnat.example.org", user="me", password=secret) as xnat:
        xnat.ensure_session("BRAIN/sub01/sub01_MR1")
        xnat.ensure_scan("BRAIN/sub01/sub01_MR1/scans/1", fields={"type": "T1w", "quality": "usable"})
        xnat.put_file("t1.nii.gz", "BRAIN/sub01/sub01_MR1/scans/1/resources/NIFTI", format="NIFTI")

Addresses are `Address` objects or text. To move many files, make a plan (`xnatferry.api`): that knows before it sends.
"""

from __future__ import annotations

import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Self

from xnatferry.client.local_content import Content, archive_of, content_of
from xnatferry.client.remote import Remote
from xnatferry.client.settings import resolve_connection
from xnatferry.client.upload_confirmation import UploadConfirmer
from xnatferry.errors import FileChangedError, UsageError
from xnatferry.xnat.digest import PIECE_BYTES, Hasher
from xnatferry.xnat.labels import label_problem, remote_name_problem, resource_label_problem, scan_id_problem
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from xnatferry.xnat.records import Ensured, RemoteFile
    from xnatferry.xnat.result_set import Row

__all__ = ["Client", "connect"]

_NOTHING: Mapping[str, str] = {}


def connect(
    server: str | None = None,
    user: str | None = None,
    password: str | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    verify_tls: bool | str | None = None,
) -> Client:
    """Log in to a site. The environment is not read: what is given here counts, then what *config* holds.

    Args:
        server: Address of the site.
        user: Login name, or the alias of a token.
        password: Password, or the secret of a token.
        config: JSON file of pyxnat or bxl with ``server``, ``user`` and ``password``.
        verify_tls: Whether to check the certificate, or the file with its certificate authority.

    Raises:
        UsageError: No server is named, or the address or file cannot be used.
        AuthenticationError: The account or password is missing or wrong.
        NotXnatError: Something else answers at this address.
        NotFoundError: There is no such host.
        UnavailableError: The site cannot be reached now.
    """
    connection = resolve_connection(
        server=server,
        user=user,
        password=password,
        config=None if config is None else Path(config),
        verify_tls=verify_tls,
    )
    if connection is None:
        raise UsageError(
            "no server is named; write connect(server=..., user=..., password=...) or connect(config=FILE)"
        )
    for warning in connection.warnings:
        warnings.warn(warning, stacklevel=2)
    client = Client(Remote(connection))
    try:
        client.remote.check()
    except BaseException:
        client.close()
        raise
    return client


class Client:
    """A site one is logged in to. Use it as a context manager, or call `close`.

    Attributes:
        remote: The same site with one method per REST act, for what is not here.
    """

    def __init__(self, remote: Remote, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.remote = remote
        self._prover = UploadConfirmer(remote, pause)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.remote.connection.user} at {self.remote.connection.url})"

    def close(self) -> None:
        """Log out."""
        self.remote.close()

    # What is there

    def list_projects(self) -> list[Row]:
        """Projects this account can see, one mapping each."""
        return self.remote.list_projects()

    def list_subjects(self, project: str) -> list[Row]:
        """Subjects of a project: ``ID``, ``label`` and more."""
        return self.remote.list_subjects(project)

    def list_sessions(self, project: str) -> list[Row]:
        """Sessions of a project: ``ID``, ``label``, ``subject_label``, ``xsiType``, ``date`` and more."""
        return self.remote.list_sessions(project)

    def list_scans(self, session: Address | str) -> list[Row]:
        """Scans of a session: ``ID``, ``type``, ``quality``, ``series_description`` and more."""
        return self.remote.list_scans(_address(session, Level.SESSION))

    def list_assessors(self, session: Address | str) -> list[Row]:
        """Image assessors of a session."""
        return self.remote.list_assessors(_address(session, Level.SESSION))

    def list_resources(self, address: Address | str) -> list[Row]:
        """Resources of a project, subject, session, scan or assessor."""
        return self.remote.list_resources(_address(address))

    def list_files(self, address: Address | str) -> list[RemoteFile]:
        """Files of a resource, or of all resources of an object."""
        return self.remote.list_files(_address(address))

    # Objects

    def ensure_project(self, project: str, *, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create a project unless it is there; *fields* such as ``name`` and ``description`` are for a new one."""
        _clean(label_problem(project), "project", project)
        return self.remote.ensure_project(project, fields=fields)

    def ensure_subject(self, subject: Address | str, *, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create a subject unless it is there; *fields* such as ``gender`` and ``yob`` are for a new one.

        Returns:
            Its accession ID, its label, and whether this call made it.
        """
        return self.remote.ensure_subject(_address(subject, Level.SUBJECT), fields=fields)

    def ensure_session(
        self, session: Address | str, *, xsi_type: str = "xnat:mrSessionData", fields: Mapping[str, str] = _NOTHING
    ) -> Ensured:
        """Create a session, with its subject, unless it is there; *fields* such as ``date`` are for a new one.

        Raises:
            ConflictError: The label belongs to a session of another subject or type.
        """
        return self.remote.ensure_session(_address(session, Level.SESSION), xsi_type=xsi_type, fields=fields)

    def ensure_scan(
        self, scan: Address | str, *, xsi_type: str = "xnat:mrScanData", fields: Mapping[str, str] = _NOTHING
    ) -> Ensured:
        """Create a scan of an existing session unless it is there.

        Args:
            scan: Where, e.g. ``BRAIN/sub01/sub01_MR1/scans/1``.
            xsi_type: XNAT data type.
            fields: Of a new one, by path: ``type``, ``series_description``, ``quality``, ``parameters/tr``.
        """
        return self.remote.ensure_scan(_address(scan, Level.SCAN), xsi_type=xsi_type, fields=fields)

    def ensure_resource(
        self,
        resource: Address | str,
        *,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
        tags: str = "",
    ) -> Ensured:
        """Create a resource unless it is there. A label XNAT would drop without saying so is refused here."""
        address = _address(resource, Level.RESOURCE)
        return self.remote.ensure_resource(address, format=format, content=content, tags=tags)

    # Files

    def put_file(
        self,
        path: str | os.PathLike[str],
        address: Address | str,
        *,
        overwrite: bool = False,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
    ) -> RemoteFile:
        """Store one file and read back what the server holds.

        Args:
            path: The local file.
            address: A resource, which is made where missing and gets the file under its own name; or a file in one.
            overwrite: Whether a different file of this name is replaced.
            format: Format of the file in the resource's catalog, e.g. ``NIFTI``.
            content: Its content, e.g. ``NIFTI_RAW``.

        Raises:
            ConflictError: The server holds another file of this name and *overwrite* is false.
            VerifyError: The server does not hold what was sent.
            DataError: The local file cannot be read.
        """
        local = Path(path)
        place = _address(address)
        if place.level is Level.RESOURCE:
            place = place.child(Level.FILE, local.name)
        resource = _container(place, Level.FILE)
        _clean(remote_name_problem(place.file or ""), "file name", place.file or "")
        sent = content_of(local)
        self.remote.ensure_resource(resource, format=format, content=content)

        def send(replace: bool) -> list[str]:  # noqa: FBT001  # one caller
            return self.remote.send_file(
                place,
                lambda: _unchanged(local, sent),
                sent.size_bytes,
                overwrite=replace,
                format=format,
                content=content,
            )

        contents = {place.file or "": sent}
        kept = self._prover.persist(resource, frozenset(contents), contents, send, overwrite=overwrite)
        return self._prover.confirmed(resource, contents, kept)[0]

    def put_archive(
        self,
        path: str | os.PathLike[str],
        resource: Address | str,
        *,
        overwrite: bool = False,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
        tags: str = "",
    ) -> list[RemoteFile]:
        """Store every file of a zip, a tar or a folder, in one request, and read back what the server holds.

        A folder becomes a zip while it is sent, and stays the one top folder of the resource: ``sub01/`` arrives as
        ``sub01/mri/...``, which is what readers of FreeSurfer results expect.

        Args:
            path: A zip, tar, tar.gz or folder.
            resource: Where its files go; made where missing.
            overwrite: Whether different files of the same names are replaced.
            format: Format of the files in the resource's catalog.
            content: Their content.
            tags: Tags of the resource, comma separated.

        Returns:
            The stored files, in the order of their names.

        Raises:
            ConflictError: The server holds other files of the same names and *overwrite* is false.
            VerifyError: The server does not hold what was sent.
            DataError: The archive or folder cannot be read.
        """
        address = _address(resource, Level.RESOURCE)
        archive = archive_of(Path(path))
        self.remote.ensure_resource(address, format=format, content=content, tags=tags)

        def send(replace: bool) -> list[str]:  # noqa: FBT001  # one caller
            return self.remote.send_archive(
                address,
                archive.body,
                archive.size_bytes,
                name=archive.name,
                overwrite=replace,
                format=format,
                content=content,
                tags=tags,
            )

        kept = self._prover.persist(address, archive.names, archive.members, send, overwrite=overwrite)
        return self._prover.confirmed(address, archive.members, kept)

    def get_file(self, address: Address | str, target: str | os.PathLike[str]) -> Path:
        """Fetch one file, compared with the listed size and digest; returns where it is.

        Args:
            address: The file.
            target: Path to write, or a folder that gets it under its own name.

        Raises:
            NotFoundError: There is no such file.
            VerifyError: What came is not what is listed; *target* is as before.
        """
        place = _address(address, Level.FILE)
        path = Path(target)
        if path.is_dir():
            path /= (place.file or "").rsplit("/", 1)[-1]
        self.remote.get_file(place, path)
        return path

    def download_zip(self, address: Address | str, target: str | os.PathLike[str]) -> Path:
        """Fetch all files of a resource or object as one zip, tested before it gets its name; returns where it is."""
        path = Path(target)
        self.remote.download_zip(_address(address), path)
        return path

    def remove(self, address: Address | str, *, remove_files: bool) -> None:
        """Remove an object, a resource or a file, and look whether it is gone.

        Args:
            address: What to remove, with all it holds.
            remove_files: Whether the bytes go as well; of a resource they always do.

        Raises:
            NotFoundError: It is not there.
            RefusedError: It is still there afterwards.
        """
        self.remote.remove(_address(address), remove_files=remove_files)


def _unchanged(path: Path, content: Content) -> Iterator[bytes]:
    """The bytes of *path*, which must be those that were hashed."""
    hasher = Hasher()
    try:
        with path.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                hasher.update(piece)
                yield piece
    except OSError as error:
        raise FileChangedError(f"{path}: cannot be read any more ({error.strerror})") from None
    if hasher.digest != content.digest:
        raise FileChangedError(f"{path}: changed while it was sent; send it again")


def _address(given: Address | str, level: Level | None = None) -> Address:
    address = Address.parse(given) if isinstance(given, str) else given
    if level is not None and address.level is not level:
        raise UsageError(f"{address} is a {address.level}; this wants a {level}")
    for name, label in (("project", address.project), ("subject", address.subject), ("session", address.session)):
        if label is not None:
            _clean(label_problem(label), name, label)
    if address.scan is not None:
        _clean(scan_id_problem(address.scan), "scan", address.scan)
    if address.resource is not None:
        _clean(resource_label_problem(address.resource), "resource", address.resource)
    return address


def _container(address: Address, level: Level) -> Address:
    if address.level is not level or address.parent is None:
        raise UsageError(f"{address} is a {address.level}; name a resource, or a file in one")
    return address.parent


def _clean(problem: str | None, kind: str, label: str) -> None:
    if problem is not None:
        raise UsageError(f"{label!r} is no {kind} that XNAT takes: {problem}")
