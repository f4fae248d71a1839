"""The interface of a server that the engine uses; `xnatferry.client.remote.Remote` implements it."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from xnatferry.xnat.gzip_stream import Content
    from xnatferry.xnat.model import Address
    from xnatferry.xnat.records import Attributes, Ensured, FieldChange, ProjectListing, RemoteFile, ScanDocument
    from xnatferry.xnat.result_set import Row

#: Gives the bytes of a request anew for every attempt.
Body = Callable[[], Iterable[bytes]]


class Destination(Protocol):
    """A server that holds projects, subjects, sessions, scans, resources and files."""

    def last_file_names_resource(self) -> bool:
        """Whether a resource gets the format and content of the file stored last, not of the first one."""

    def project_exists(self, project: str) -> bool:
        """Whether this account can see the project."""

    def read_project(self, project: str, *, details: Container[str] | None = None) -> ProjectListing:
        """All subjects and sessions of a project; *details*: labels of sessions whose type and date are needed."""

    def list_scans(self, address: Address) -> list[Row]:
        """Scans of a session: ``ID``, ``type``, ``quality``, ``note``, ``series_description``, ``xsiType``."""

    def list_files(self, address: Address, *, all_scans: bool = False) -> list[RemoteFile]:
        """Files of a resource, or of all scans of a session. Empty when there is none."""

    def ensure_project(self, project: str, *, fields: Mapping[str, str] = ...) -> Ensured:
        """Create a project unless it exists."""

    def ensure_subject(self, address: Address, *, fields: Mapping[str, str] = ...) -> Ensured:
        """Create a subject unless it exists."""

    def ensure_assessor(self, address: Address, *, xsi_type: str, fields: Mapping[str, str] = ...) -> Ensured:
        """Create an image assessor unless it exists."""

    def ensure_scan(self, address: Address, *, xsi_type: str = ..., fields: Mapping[str, str] = ...) -> Ensured:
        """Create a scan unless it exists."""

    def create_session_document(
        self, address: Address, *, xsi_type: str, fields: Mapping[str, str], scans: Sequence[ScanDocument]
    ) -> Ensured:
        """Create a session with its scans, and its subject if it does not exist, in one request."""

    def ensure_resource(
        self,
        address: Address,
        *,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
        tags: str = "",
    ) -> Ensured:
        """Create a resource unless it exists."""

    def set_fields(self, address: Address, fields: Mapping[str, str]) -> tuple[FieldChange, ...]:
        """Change fields of an existing object; returns the fields that the server stored differently."""

    def send_file(
        self,
        address: Address,
        body: Body,
        size_bytes: int,
        *,
        overwrite: bool = False,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
    ) -> list[str]:
        """Send one file; returns the names of files that the server did not replace."""

    def send_archive(
        self,
        address: Address,
        body: Body,
        size_bytes: int,
        *,
        name: str = ...,
        overwrite: bool = False,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
        tags: str = "",
    ) -> list[str]:
        """Send an archive that the server extracts; returns the names of files that it did not replace."""

    def list_assessors(self, address: Address) -> list[Row]:
        """Assessors of a session: at least ``label``."""

    def list_resources(self, address: Address, *, all_scans: bool = False) -> list[Row]:
        """Resources of one object: at least ``label``; with *all_scans* also those of scans, by ``cat_id``."""

    def attributes(self, address: Address) -> Attributes | None:
        """All attributes of an object, None when it does not exist."""

    def item(self, address: Address) -> Mapping[str, str] | None:
        """Fields of an object, None when it does not exist."""

    def remove(
        self, address: Address, *, remove_files: bool, check: Callable[[Sequence[RemoteFile]], None] | None = ...
    ) -> None:
        """Remove an object, a resource or a file, and check that it is removed.

        *check* gets the listing of the resource right before a file is removed; if it raises, the file is kept.
        """

    def get_file(self, address: Address, target: Path, *, digest: str | None = ...) -> RemoteFile:
        """Fetch one file to *target*, which appears only when it is complete and verified."""

    def read_digest(self, address: Address) -> str:
        """MD5 of a file's bytes, fetched and not kept."""

    def read_content(self, address: Address, size_bytes: int, deep: bool) -> Content | None:  # noqa: FBT001
        """What a gzip file of this listed size unpacks to: by its header, where it is ours, else (and *deep*) fetched.

        None where it is no whole gzip stream.
        """

    def list_digests(self, address: Address) -> Mapping[str, str | None]:
        """MD5s in the catalog document of a resource, by name in it; None where they are of replaced bytes."""

    def refresh_catalog(self, address: Address, options: Sequence[str]) -> None:
        """Let the server compare a resource's catalog with its disk."""
