"""The read-only operations of `xnatferry.client.remote.Remote`."""

from __future__ import annotations

import re
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Self

from xnatferry.client.alias_tokens import invalidate_token, issue_token
from xnatferry.client.attributes import decode_attributes
from xnatferry.client.custom_fields import CustomFields
from xnatferry.client.downloads import Downloads, Seen, WantedFile
from xnatferry.client.http import Request
from xnatferry.client.listings import Item, decode_item, decode_listing, remote_file
from xnatferry.client.project_listing import read_project
from xnatferry.client.requester import Requester
from xnatferry.client.site import SiteFacts, read_set_up_types, read_site
from xnatferry.errors import NotFoundError, RefusedError, VerifyError
from xnatferry.xnat.catalog import CatalogError, decode_catalog
from xnatferry.xnat.digest import normal_digest
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Sequence
    from pathlib import Path

    from xnatferry.client.http import Timeouts
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.xnat.gzip_stream import Content
    from xnatferry.xnat.records import Attributes, ProjectListing, RemoteFile
    from xnatferry.xnat.result_set import Row

_SCAN_COLUMNS = ("ID", "type", "quality", "note", "series_description", "xsiType")


class RemoteReader:
    """A site and an account, for reading.

    Thread-safe. Use it as a context manager, or call `close` to log out.

    Args:
        connection: Site and account; no request is sent before the first operation.
        timeouts: Timeouts of requests.
        pause: Waits some seconds between two tries; tests replace it.
    """

    def __init__(
        self,
        connection: Connection,
        timeouts: Timeouts | None = None,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.connection = connection
        self._requester = Requester(connection, timeouts, pause=pause)
        self._downloads = Downloads(self._requester, self.url_path)
        #: IDs of sessions that are shared without their subject: their content has no path of labels.
        self._ids: dict[Address, str] = {}
        self._pause = pause
        self._version: str | None = None
        self._version_lock = threading.Lock()
        self.custom_fields = CustomFields(self._requester, self._known_version)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.connection.user} at {self.connection.url})"

    @property
    def requester(self) -> Requester:
        """Sends requests that have no method here."""
        return self._requester

    @property
    def requests(self) -> int:
        """Number of requests sent so far, including repeats."""
        return self._requester.requests

    def close(self) -> None:
        """Log out and close the connections."""
        self._requester.close()

    # The site

    def check(self) -> SiteFacts:
        """Log in and read address, version and account.

        Raises:
            AuthenticationError: The user name or password is wrong.
            NotXnatError: The address is not an XNAT.
            NotFoundError: The host does not exist.
            UnavailableError: The site cannot be reached now.
        """
        return read_site(self._requester, self.connection.url)

    def whoami(self) -> str:
        """The login name, as the server knows it."""
        return self.check().user

    def server_version(self) -> str:
        """Version of the server, such as ``1.8.11``; ``unknown`` if it does not tell."""
        return self.check().version

    def set_up_types(self) -> frozenset[str] | None:
        """Data types that the site has set up: sessions of other types are in no listing of their project.

        None if the server does not tell.
        """
        return read_set_up_types(self._requester)

    def last_file_names_resource(self) -> bool:
        """Whether a resource gets the format and content of the file stored last: 1.8 does this, 1.6.4 keeps the first.

        False for versions without a recording.
        """
        return re.match(r"1\.8\b", self._known_version()) is not None

    def issue_token(self) -> tuple[str, Secret] | None:
        """A new alias token of this account; None if the server issues none."""
        return issue_token(self._requester)

    def invalidate_token(self, alias: str) -> bool:
        """Invalidate an alias token of this account; returns whether it existed."""
        return invalidate_token(self._requester, alias)

    def url_path(self, address: Address) -> str:
        """The URL path for reading *address*: by ID in a session that is shared without its subject."""
        if address.session is None or not self._ids:
            return address.path
        session = Address(address.project, address.subject, address.session)
        number = self._ids.get(session)
        return address.path if number is None else f"/data/experiments/{number}{address.path[len(session.path) :]}"

    # Listings

    def project_exists(self, project: str) -> bool:
        """Whether this account can see the project."""
        return self.item(Address(project)) is not None

    def exists(self, address: Address) -> bool:
        """Whether *address* exists."""
        if address.resource is None:
            return self.item(address) is not None
        if address.file is not None:
            return any(file.name == address.file for file in self.list_files(resource_of(address)))
        if self.item(address.container) is None:
            return False
        return any(row["label"] == address.resource for row in self.list_resources(address.container))

    def item(self, address: Address) -> Item | None:
        """Fields of an object by path, with its data type under ``xsi:type``; None when it does not exist.

        1.6.4 and 1.8 find a session by its label anywhere in the project: ``subject_ID`` is its subject.
        """
        try:
            response = self._requester.ask(Request("GET", self.url_path(address.container), (("format", "json"),)))
        except NotFoundError as error:
            if error.status is None:  # no server answered at all
                raise
            return None
        return decode_item(response)

    def attributes(self, address: Address) -> Attributes | None:
        """All attributes of an object, with those of the scans and assessors of a session; None when it does not exist.

        1.6.4 and 1.8 find a session by its label anywhere in the project: `Attributes.subject_id` is its subject.
        """
        try:
            response = self._requester.ask(Request("GET", self.url_path(address.container), (("format", "json"),)))
            return decode_attributes(response, partial(self.custom_fields.places, address.project))
        except NotFoundError as error:
            if error.status is None:  # no server answered at all
                raise
            return None

    def list_projects(self) -> list[Row]:
        """Projects this account can see: at least ``ID`` and ``name``."""
        return self._list("/data/projects", ("ID", "name", "description"))

    def list_subjects(self, project: str, *, more: Sequence[str] = ()) -> list[Row]:
        """Subjects of a project: at least ``ID`` and ``label``, and the fields *more* (``gender``, ``dob``)."""
        columns = ("ID", "label", *more)
        return self._list(f"{Address(project).path}/subjects", columns, ask=columns if more else ())

    def read_project(
        self,
        project: str,
        *,
        subject_fields: Sequence[str] = (),
        session_fields: Sequence[str] = (),
        details: Container[str] | None = None,
    ) -> ProjectListing:
        """All subjects and sessions of a project; see `xnatferry.client.project_listing`."""
        found = read_project(
            self._requester, project, subject_fields=subject_fields, session_fields=session_fields, details=details
        )
        subjects = found.subject_labels
        for row in found.sessions:
            if row["subject_label"] not in subjects:
                self._ids[Address(project, row["subject_label"], row["label"])] = row["ID"]
        return found

    def list_sessions(self, project: str, *, more: Sequence[str] = ()) -> list[Row]:
        """Sessions and other subject assessors of a project; see `ProjectListing.sessions`.

        Args:
            project: Project ID.
            more: Paths of further fields (``xnat:subjectAssessorData/age``), which the rows have by these names.
        """
        return list(self.read_project(project, session_fields=more).sessions)

    def list_scans(self, address: Address) -> list[Row]:
        """Scans of a session: ``ID type quality note series_description xsiType``.

        Raises:
            NotFoundError: The session does not exist (1.6.4 answers 500).
        """
        try:
            return self._list(f"{self.url_path(address)}/scans", _SCAN_COLUMNS)
        except RefusedError as error:
            if error.status == 500 and self.item(address) is None:
                raise NotFoundError(f"{address}: session not found", status=404, url=error.url) from None
            raise

    def list_assessors(self, address: Address) -> list[Row]:
        """Image assessors of a session: ``ID label xsiType``.

        They are read from the document of the session: listings omit types that the site has not set up.

        Raises:
            NotFoundError: The session does not exist.
        """
        session = self.attributes(address)
        if session is None:
            raise NotFoundError(f"{address}: session not found", status=404, url=address.path)
        return [
            {"ID": found.id, "label": label, "xsiType": found.xsi_type} for label, found in session.assessors.items()
        ]

    def list_resources(self, address: Address, *, all_scans: bool = False) -> list[Row]:
        """Resources of one object: ``label format content file_count file_size category cat_id``.

        A resource without a label has its ID as label, which XNAT accepts in paths as well.

        Args:
            address: Project, subject, session, scan or assessor.
            all_scans: Of a session, those of its scans, assessors and reconstructions as well.
        """
        columns = ("label", "format", "content", "file_count", "file_size", "category", "cat_id")
        more = (("all", "true"),) if all_scans else ()
        rows = self._list(f"{self.url_path(address.container)}/resources", columns, more=more)
        return [{**row, "label": row["label"] or row.get("xnat_abstractresource_id", "")} for row in rows]

    def list_session_files(self, address: Address) -> list[RemoteFile]:
        """All files of a session: its own, and those of its scans, assessors and reconstructions."""
        return [remote_file(row) for row in self._list(f"{self.url_path(address)}/files", more=(("all", "true"),))]

    def list_files(self, address: Address, *, all_scans: bool = False) -> list[RemoteFile]:
        """Files of a resource, of all resources of an object, or of all scans of a session. Empty when there is none.

        Raises:
            NotFoundError: The object does not exist; but 1.6.4 lists nothing for a session that does not exist.
            VerifyError: A file of a scan is listed without its scan.
        """
        where = resource_of(address)
        path = f"{self.url_path(where)}/scans/ALL/files" if all_scans else f"{self.url_path(where)}/files"
        try:
            rows = self._list(path)
        except NotFoundError:
            if self.item(where) is None:
                raise
            return []
        except RefusedError as error:  # 1.8.11, by the ID of a session without scans
            if error.status != 500 or not all_scans or self.list_scans(where):
                raise
            return []
        files = [remote_file(row) for row in rows]
        if all_scans and (lost := next((file for file in files if file.scan is None), None)):
            raise VerifyError(f"{address}: file {lost.name}: its listed URI {lost.uri!r} contains no scan")
        # A label also finds resources of the scans of a session, and the ID of a scan finds other scans of this type.
        return [file for file in files if all_scans or file.scan in {None, where.scan}]

    def list_digests(self, address: Address) -> dict[str, str | None]:
        """MD5s in the catalog document of a resource, by name in the resource; None of bytes that were replaced.

        Listings of 1.6.4 have no digests, its catalogs do (``GET .../resources/LABEL`` answers the catalog itself). It
        keeps the digest of the bytes stored first, and marks the entry as modified (recorded). Empty if the resource
        does not exist, or the answer is not a catalog.
        """
        try:
            response = self._requester.ask(Request("GET", self.url_path(resource_of(address)), (("format", "xml"),)))
            catalog = decode_catalog(response.body)
        except (NotFoundError, CatalogError):
            return {}
        return {
            entry.name: None if entry.modified_by or entry.modified_at else digest
            for entry in catalog.entries
            if (digest := normal_digest(entry.digest)) is not None
        }

    # Downloads

    def get_file(self, address: Address, target: Path, *, digest: str | None = None) -> RemoteFile:
        """Fetch one file to *target*, which appears only when it is complete and verified; see `Downloads.file`."""
        return self._downloads.file(address, target, self.list_files(resource_of(address)), digest=digest)

    def fetch(
        self, address: Address, held: RemoteFile, target: Path, *, replace: bool = True, seen: Seen = lambda _: None
    ) -> str:
        """Download one file whose row of a listing is known; returns its MD5. See `Downloads.listed`."""
        return self._downloads.listed(address, target, held, replace=replace, seen=seen)

    def fetch_zip(
        self, path: str, choose: Callable[[str], WantedFile | None], done: Callable[[WantedFile, str], None]
    ) -> None:
        """Download many files in one request; see `Downloads.from_zip`."""
        self._downloads.from_zip(path, choose, done)

    def relay(self, address: Address, held: RemoteFile) -> Iterator[bytes]:
        """The bytes of one file as a stream; see `Downloads.relay_stream`."""
        return self._downloads.relay_stream(address, held)

    def read_digest(self, address: Address) -> str:
        """MD5 of a file, downloaded and not stored: for servers that list no MD5."""
        return self._downloads.digest(address)

    def read_content(self, address: Address, size_bytes: int, deep: bool = False) -> Content | None:  # noqa: FBT001, FBT002
        """What a gzip file of this listed size unpacks to, None where it is none; see `Downloads.content`."""
        return self._downloads.content(address, size_bytes, deep=deep)

    def download_zip(self, address: Address, target: Path) -> int:
        """Fetch all files of a resource, or of all resources of an object, as one zip; see `Downloads.archive`."""
        return self._downloads.archive(address, target)

    # Internal

    def _known_version(self) -> str:
        """The version of the server, read once."""
        with self._version_lock:
            if self._version is None:
                self._version = self.server_version()
            return self._version

    def _list(
        self,
        path: str,
        columns: Sequence[str] = (),
        *,
        ask: Sequence[str] = (),
        more: tuple[tuple[str, str], ...] = (),
    ) -> list[Row]:
        query: tuple[tuple[str, str], ...] = (("format", "json"), *more)
        if ask:
            query += (("columns", ",".join(ask)),)
        return decode_listing(self._requester.ask(Request("GET", path, query)), columns)


def resource_of(address: Address) -> Address:
    """The address without its file."""
    return address.child(Level.FILE, None)
