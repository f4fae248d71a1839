"""One method per operation of XNAT's REST API, the same for all server versions.

Versions differ in status codes, column names and spelling; this module hides the differences. Rules and their sources
are at the methods; "1.6.4" means recorded from a real server of that version, "1.8" means its source code.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from xnatferry.client.attributes import prefixed_fields
from xnatferry.client.http import Body, Request
from xnatferry.client.listings import Item, decoded_name
from xnatferry.client.remote_reader import RemoteReader, resource_of
from xnatferry.client.responses import ServerResponse, check_removable, kept_names, project_refused, removal_refused
from xnatferry.client.session_documents import has_document, session_document
from xnatferry.client.upload_requests import archive_request, file_request
from xnatferry.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    RemoteError,
    UnavailableError,
    UsageError,
)
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.records import Ensured, ScanDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xnatferry.client.http import Timeouts
    from xnatferry.client.settings import Connection
    from xnatferry.xnat.records import RemoteFile

__all__ = ["Remote"]

#: Seconds in which parts of the server may not know a new project yet (1.8: permission caches), and between two tries.
_SETTLING_S, _SETTLING_PAUSE_S = 6.0, 0.5
#: What 1.8 answers then: 403; "Submitted subject record must include the project attribute." (422); "Unable to identify
#: project" (404). A 404 or 422 in other words has another reason.
_UNKNOWN_PROJECT = re.compile(r"include the project attribute|identify project", re.IGNORECASE)
#: Tries of a request that competes with other clients, and seconds between two tries.
_RACE_TRIES = 4
_RACE_PAUSE_S = 0.5
_NOTHING: Mapping[str, str] = {}


class Remote(RemoteReader):
    """A site and an account, for reading and writing; see `RemoteReader`."""

    def __init__(
        self,
        connection: Connection,
        timeouts: Timeouts | None = None,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(connection, timeouts, pause=pause)
        self._new_projects: dict[str, float] = {}

    # Objects

    def ensure_project(self, project: str, *, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create a project unless it exists. An existing one is not changed: 1.6.4 would reset its name."""
        if self.project_exists(project):
            return Ensured(project, project, created=False)
        try:
            made = self._made(Address(project), Request("PUT", Address(project).path, tuple(fields.items())))
        except RemoteError as error:
            raise project_refused(project, error) from None
        if made.created:
            self._new_projects[project] = time.monotonic()
        return made

    def ensure_subject(self, address: Address, *, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create a subject unless it exists.

        Args:
            address: Its project and label.
            fields: XNAT's short names (``gender``, ``yob``) or full paths; of a new subject only.
        """
        return self._ensure_labelled(address, tuple(fields.items()))

    def ensure_session(
        self, address: Address, *, xsi_type: str = "xnat:mrSessionData", fields: Mapping[str, str] = _NOTHING
    ) -> Ensured:
        """Create a session, and its subject if it does not exist, unless it exists.

        Raises:
            ConflictError: The label belongs to a session of another subject or type. XNAT would move it.
        """
        query = (("xsiType", xsi_type), *prefixed_fields(xsi_type, fields))
        return self._ensured_session(address, xsi_type, Request("PUT", address.path, query))

    def create_session_document(
        self, address: Address, *, xsi_type: str, fields: Mapping[str, str], scans: Sequence[ScanDocument]
    ) -> Ensured:
        """Create a session with its scans, and its subject if it does not exist, in one request.

        An existing session gets the missing scans. Data types of plugins, which have no document, take one request for
        the session and one for each scan.

        Raises:
            ConflictError: The label belongs to a session of another subject or type.
        """
        if not has_document(xsi_type):
            made = self.ensure_session(address, xsi_type=xsi_type, fields=fields)
        else:
            document = session_document(
                address.project, address.session or "", xsi_type=xsi_type, fields=fields, scans=scans
            )
            request = Request(
                "PUT",
                address.path,
                headers=(("Content-Type", "text/xml"),),
                body=lambda: [document],
                size_bytes=len(document),
            )
            made = self._ensured_session(address, xsi_type, request)
            if made.created:
                return made
        for scan in scans:
            self.ensure_scan(address.child(Level.SCAN, scan.id), xsi_type=scan.xsi_type, fields=scan.fields)
        return made

    def ensure_scan(
        self, address: Address, *, xsi_type: str = "xnat:mrScanData", fields: Mapping[str, str] = _NOTHING
    ) -> Ensured:
        """Create a scan unless it exists."""
        label = address.scan or ""
        held = self.item(address)
        if held is not None:
            _same_type(address, held, xsi_type)
            return Ensured(label, label, created=False)
        return self._made(
            address, Request("PUT", address.path, (("xsiType", xsi_type), *prefixed_fields(xsi_type, fields)))
        )

    def ensure_assessor(self, address: Address, *, xsi_type: str, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create an image assessor unless it exists."""
        return self._ensure_labelled(address, (("xsiType", xsi_type), *prefixed_fields(xsi_type, fields)))

    def ensure_resource(
        self,
        address: Address,
        *,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
        tags: str = "",
    ) -> Ensured:
        """Create a resource unless it exists.

        It is searched first, which costs a request: an existing one gets 409 (1.6.4 and 1.8), and so does the repeat of
        a request whose reply was lost. Only the search shows who created the resource.
        """
        label = address.resource or ""
        if self._is_listed(address):
            return Ensured(label, label, created=False)
        query = tuple(
            (key, value) for key, value in (("format", format), ("content", content), ("tags", tags)) if value
        )
        return self._made(address, Request("PUT", address.path, query))

    def set_fields(self, address: Address, fields: Mapping[str, str]) -> None:
        """Change fields of a project, subject, session, scan or assessor; other fields are not changed.

        Raises:
            NotFoundError: It does not exist.
            UsageError: ``label`` is among the fields: XNAT would rename the object and drop the other changes.
        """
        if "label" in fields:
            raise UsageError(f"{address}: a label cannot be changed as a field")
        held = self.item(address)
        if held is None:
            raise NotFoundError(f"{address}: object not found", status=404, url=address.path)
        query: tuple[tuple[str, str], ...] = tuple(fields.items())
        if address.level is Level.PROJECT and "name" not in fields:
            query += (("name", held.get("name") or address.project),)  # 1.6.4 resets a name that is not sent
        elif address.level not in {Level.PROJECT, Level.SUBJECT}:
            xsi_type = held["xsi:type"]
            query = (("xsiType", xsi_type), *prefixed_fields(xsi_type, fields))  # 1.6.4 needs the type of every scan
        self._put(Request("PUT", address.path, query))

    # Files

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
        """Send one file; returns the names of files that the server did not replace.

        Only a new listing shows that it was stored: without edit permission, XNAT answers 200 and stores nothing. It is
        sent once; the caller may send it again after reading the listing.

        Args:
            address: The file.
            body: Returns its bytes, again at each call.
            size_bytes: Number of bytes.
            overwrite: Whether a file of this name is replaced.
            format: Format of its catalog entry and of the resource.
            content: Content of its catalog entry and of the resource.
        """
        response = self._requester.ask(
            file_request(address, body, size_bytes, overwrite=overwrite, format=format, content=content)
        )
        return _kept(response)

    def send_archive(
        self,
        address: Address,
        body: Body,
        size_bytes: int,
        *,
        name: str = "upload.zip",
        overwrite: bool = False,
        format: str = "",  # noqa: A002  # XNAT's word
        content: str = "",
        tags: str = "",
    ) -> list[str]:
        """Send an archive that the server extracts; returns the names of files that it did not replace.

        Raises:
            UsageError: XNAT does not extract archives with the ending of *name*; it extracts ``.zip``, ``.tar``,
                ``.tar.gz``, ``.tgz``.
        """
        response = self._requester.ask(
            archive_request(
                address, body, size_bytes, name=name, overwrite=overwrite, format=format, content=content, tags=tags
            )
        )
        return _kept(response)

    def refresh_catalog(self, address: Address, options: Sequence[str]) -> None:
        """Let the server compare the catalog of a resource with its disk.

        Args:
            address: A resource, or an object with all its resources.
            options: Of ``append``, ``delete``, ``checksum``, ``populateStats``.

        Raises:
            ForbiddenError: The account has no edit permission.
        """
        where = resource_of(address).path.removeprefix("/data")
        query = (("resource", f"/archive{where}"), ("options", ",".join(options)))
        self._requester.ask(Request("POST", "/data/services/refresh/catalog", query), repeat=True)

    # Removal

    def remove(
        self, address: Address, *, remove_files: bool, check: Callable[[Sequence[RemoteFile]], None] | None = None
    ) -> None:
        """Remove the object at *address*, and check that it is removed.

        Args:
            address: An object, a resource or a file.
            remove_files: Whether the files are deleted too. Files of a resource are always moved to the backup of the
                server.
            check: Called with the listing of the resource before a file is removed; if it raises, the file is kept.

        Raises:
            NotFoundError: It does not exist.
            ConflictError: Other file names begin with this name: XNAT 1.8 would remove those files too.
            RefusedError: The server confirmed the removal, but the object still exists.
        """
        if address.file is not None:
            listed = self.list_files(resource_of(address))
            check_removable(address, [file.name for file in listed])
            if check is not None:
                check(listed)
        elif not self.exists(address):
            raise NotFoundError(f"{address}: {address.level} not found", status=404, url=address.path)
        flag = "true" if remove_files else "false"
        request = Request("DELETE", address.path, (("removeFiles", flag),))
        try:
            self._requester.ask(request, repeat=True)
        except NotFoundError:  # a repeated request finds nothing; the check below decides
            pass
        except ForbiddenError as error:
            raise self._undeletable(address, error) from None
        if self.exists(address):
            raise RefusedError(
                f"{address}: not removed, although the server confirmed it; check the permissions of the account",
                method="DELETE",
                url=address.path,
            )

    def _undeletable(self, address: Address, error: ForbiddenError) -> ForbiddenError:
        """The error of a refused removal; names the session types if they are the cause."""
        if address.level not in {Level.SUBJECT, Level.SESSION} or (set_up := self.set_up_types()) is None:
            return error
        rows = self.read_project(address.project).sessions_of(address.subject)
        hidden = [row for row in rows if address.session in {None, row["label"]} and row["xsiType"] not in set_up]
        return removal_refused(str(address), hidden, error) if hidden else error

    # Internal

    def _put(self, request: Request) -> ServerResponse:
        """PUT an object, repeated after errors; also while parts of the server do not know a new project."""
        made = self._new_projects.get(request.path.split("/")[3])
        new = made is not None and time.monotonic() - made < _SETTLING_S
        for _ in range(round(_SETTLING_S / _SETTLING_PAUSE_S) if new else 0):
            try:
                return self._requester.ask(request, repeat=True)
            except (ForbiddenError, NotFoundError, RefusedError) as error:
                if error.status != 403 and not (error.status in {404, 422} and _UNKNOWN_PROJECT.search(str(error))):
                    raise
            self._pause(_SETTLING_PAUSE_S)
        return self._requester.ask(request, repeat=True)

    def _ensure_labelled(self, address: Address, query: tuple[tuple[str, str], ...]) -> Ensured:
        """Create an object with a label and an accession ID by a PUT without body, unless it exists."""
        label = getattr(address, address.level.value)
        held = self.item(address)
        if held is None:
            return self._made(address, Request("PUT", address.path, query))
        return Ensured(held.get("ID") or label, label, created=False)

    def _ensured_session(self, address: Address, xsi_type: str, request: Request) -> Ensured:
        held = self.item(address)
        if held is None:
            return self._made(address, request)
        _same_type(address, held, xsi_type)
        subject = self.item(Address(address.project, address.subject))
        if subject is None or held.get("subject_ID") not in {subject.get("ID"), address.subject, None, ""}:
            raise ConflictError(
                f"{address}: session {address.session} already belongs to another subject ({held.get('subject_ID')}); "
                "session labels are unique in a project, so use another label"
            )
        return Ensured(held.get("ID") or address.session or "", address.session or "", created=False)

    def _made(self, address: Address, request: Request) -> Ensured:
        """PUT an object that did not exist right before, and find out whether this request created it.

        Where XNAT answers 201 or 200, 201 means new. Of several parallel requests some get 409 or 500 although the
        object is created (1.6.4, 1.8.11), or 404: the object exists a moment later,
        or the next try creates it. A request that was sent again, or whose reply was lost, created the object.
        """
        label = getattr(address, address.level.value)
        for left in reversed(range(_RACE_TRIES)):
            try:
                response = self._put(request)
                break
            except RemoteError as error:
                looked = error.may_have_acted or error.status in {409, 500}
                accession = self._accession(address) if looked else None
                if accession is not None or (address.level is Level.RESOURCE and error.status == 409):
                    return Ensured(accession or label, label, created=error.retryable or error.attempts > 1)
                if error.status not in {404, 409, 500} or not left:
                    raise
            self._pause(_RACE_PAUSE_S)  # another client creates it, or its container, at this moment
        accession = response.text.strip().rpartition("/")[2] if address.level in _REPORT_NEW else ""
        new = response.status == 201 or address.level not in _REPORT_NEW
        return Ensured(accession or label, label, created=new or response.attempts > 1)

    def _accession(self, address: Address) -> str | None:
        """The accession ID of an object, "" if its level has none; None if it does not exist or cannot be read."""
        try:
            if address.resource is not None:
                return "" if self._is_listed(address) else None
            held = self.item(address)
        except UnavailableError:
            return None
        return None if held is None else held.get("ID", "") if address.level in _REPORT_NEW else ""

    def _is_listed(self, resource: Address) -> bool:
        """Whether a resource is listed; False also if its container does not exist."""
        try:
            rows = self.list_resources(resource.container)
        except (NotFoundError, RefusedError) as error:
            if error.status is None:  # the server itself is not found
                raise
            return False
        return any(row["label"] == resource.resource for row in rows)


#: Levels with an accession ID; XNAT answers 201 when such an object is new.
_REPORT_NEW = {Level.SUBJECT, Level.SESSION, Level.ASSESSOR}


def _same_type(address: Address, held: Item, xsi_type: str) -> None:
    there = held.get("xsi:type", "")
    if there and there != xsi_type:
        raise ConflictError(f"{address}: exists with data type {there}, not {xsi_type}; the type cannot be changed")


def _kept(response: ServerResponse) -> list[str]:
    return [decoded_name(name) for name in kept_names(response.text)]
