"""XNAT step by step for Python: one method per operation; every write returns the state on the server afterwards.

    with xnatferry.connect(server="https://xnat.example.org", user="me", password=secret) as xnat:
        xnat.ensure_session("BRAIN/sub01/sub01_MR1")
        xnat.ensure_scan("BRAIN/sub01/sub01_MR1/scans/1", fields={"type": "T1w", "quality": "usable"})
        xnat.put_file("t1.nii.gz", "BRAIN/sub01/sub01_MR1/scans/1/resources/NIFTI", format="NIFTI")

Addresses are `Address` objects or text. For many files, make a plan (`xnatferry.api`): it compares before it sends.
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
from xnatferry.xnat.digest import PIECE_BYTES, Hasher, held_back
from xnatferry.xnat.labels import label_problem, remote_name_problem, resource_label_problem, scan_id_problem
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping

    from xnatferry.xnat.records import Ensured, RemoteFile
    from xnatferry.xnat.result_set import Row

_NOTHING: Mapping[str, str] = {}


def connect(
    server: str | None = None,
    user: str | None = None,
    password: str | None = None,
    *,
    config: str | os.PathLike[str] | None = None,
    verify_tls: bool | str | None = None,
) -> Client:
    """Log in to a site. The arguments are used first, then the file *config*; the environment is not read.

    Args:
        server: Address of the site.
        user: Login name, or the alias of a token.
        password: Password, or the secret of a token.
        config: JSON file of pyxnat or bxl with ``server``, ``user`` and ``password``.
        verify_tls: Whether to check the certificate, or the file with its certificate authority.

    Raises:
        UsageError: No server is named, or the address or file cannot be used.
        AuthenticationError: The account or password is missing or wrong.
        NotXnatError: The address is not an XNAT.
        NotFoundError: The host does not exist.
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
        raise UsageError("no server is named; use connect(server=..., user=..., password=...) or connect(config=FILE)")
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
    """A site with a login. Use it as a context manager, or call `close`.

    Attributes:
        remote: The same site with one method per REST operation.
    """

    def __init__(self, remote: Remote, *, pause: Callable[[float], None] = time.sleep) -> None:
        self.remote = remote
        self._uploads = UploadConfirmer(remote, pause)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.remote.connection.user} at {self.remote.connection.url})"

    def close(self) -> None:
        """Log out."""
        self.remote.close()

    # Listings

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
        """Create a project unless it exists; *fields* such as ``name`` and ``description`` are for a new one."""
        _clean(label_problem(project), "project", project)
        return self.remote.ensure_project(project, fields=fields)

    def ensure_subject(self, subject: Address | str, *, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create a subject unless it exists; *fields* such as ``gender`` and ``yob`` are for a new one.

        Returns:
            Its accession ID, its label, and whether this call created it.
        """
        return self.remote.ensure_subject(_address(subject, Level.SUBJECT), fields=fields)

    def ensure_session(
        self, session: Address | str, *, xsi_type: str = "xnat:mrSessionData", fields: Mapping[str, str] = _NOTHING
    ) -> Ensured:
        """Create a session, with its subject, unless it exists; *fields* such as ``date`` are for a new one.

        Raises:
            ConflictError: The label belongs to a session of another subject or type.
        """
        return self.remote.ensure_session(_address(session, Level.SESSION), xsi_type=xsi_type, fields=fields)

    def ensure_scan(
        self, scan: Address | str, *, xsi_type: str = "xnat:mrScanData", fields: Mapping[str, str] = _NOTHING
    ) -> Ensured:
        """Create a scan of an existing session unless it exists.

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
        """Create a resource unless it exists. A label that XNAT would silently drop is refused."""
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
        """Upload one file, and verify it on the server.

        Args:
            path: The local file.
            address: A resource, which is created if it does not exist and gets the file under its own name; or a file
                in it.
            overwrite: Whether a different file of this name is replaced.
            format: Format of the file in the resource's catalog, e.g. ``NIFTI``.
            content: Its content, e.g. ``NIFTI_RAW``.

        Raises:
            ConflictError: The server has another file of this name and *overwrite* is false.
            VerifyError: The server does not have what was sent.
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
        kept = self._uploads.send(resource, frozenset(contents), contents, send, overwrite=overwrite)
        return self._uploads.confirmed(resource, contents, kept)[0]

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
        """Upload every file of a zip, a tar or a folder in one request, and verify the files on the server.

        A folder is sent as a zip, and stays the top folder in the resource: ``sub01/`` is stored as ``sub01/mri/...``,
        as readers of FreeSurfer results expect it.

        Args:
            path: A zip, tar, tar.gz or folder.
            resource: The resource; created if it does not exist.
            overwrite: Whether different files of the same names are replaced.
            format: Format of the files in the resource's catalog.
            content: Their content.
            tags: Tags of the resource, comma separated.

        Returns:
            The stored files, in the order of their names.

        Raises:
            ConflictError: The server has other files of the same names and *overwrite* is false.
            VerifyError: The server does not have what was sent.
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

        kept = self._uploads.send(address, archive.names, archive.members, send, overwrite=overwrite)
        return self._uploads.confirmed(address, archive.members, kept)

    def get_file(self, address: Address | str, target: str | os.PathLike[str]) -> Path:
        """Download one file, and verify it with the listed size and MD5; returns its path.

        Args:
            address: The file.
            target: Path of the new file, or an existing folder.

        Raises:
            NotFoundError: There is no such file.
            VerifyError: The download differs from the listing; *target* is unchanged.
        """
        place = _address(address, Level.FILE)
        path = Path(target)
        if path.is_dir():
            path /= (place.file or "").rsplit("/", 1)[-1]
        self.remote.get_file(place, path)
        return path

    def download_zip(self, address: Address | str, target: str | os.PathLike[str]) -> Path:
        """Download all files of a resource or object as one zip, and test it; returns its path."""
        path = Path(target)
        self.remote.download_zip(_address(address), path)
        return path

    def remove(self, address: Address | str, *, remove_files: bool) -> None:
        """Remove an object, a resource or a file, and check that it is removed.

        Args:
            address: What to remove, with its content.
            remove_files: Whether the files are deleted too; files of a resource always are.

        Raises:
            NotFoundError: It does not exist.
            RefusedError: It still exists afterwards.
        """
        self.remote.remove(_address(address), remove_files=remove_files)


def _unchanged(path: Path, content: Content) -> Iterator[bytes]:
    """The bytes of *path*, which must be those that were hashed."""
    hasher = Hasher()

    def pieces() -> Iterator[bytes]:
        try:
            with path.open("rb") as stream:
                while piece := stream.read(PIECE_BYTES):
                    hasher.update(piece)
                    yield piece
        except OSError as error:
            raise FileChangedError(f"{path}: can no longer be read ({error.strerror})") from None

    def check() -> None:
        if hasher.digest != content.digest:
            raise FileChangedError(f"{path}: changed while it was sent; send it again")

    return held_back(pieces(), check)


def _address(given: Address | str, level: Level | None = None) -> Address:
    address = Address.parse(given) if isinstance(given, str) else given
    if level is not None and address.level is not level:
        raise UsageError(f"{address} is a {address.level}; use the address of a {level}")
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
        raise UsageError(f"{address} is a {address.level}; use the address of a resource, or of a file in it")
    return address.parent


def _clean(problem: str | None, kind: str, label: str) -> None:
    if problem is not None:
        raise UsageError(f"{label!r}: XNAT does not accept this {kind}: {problem}")
