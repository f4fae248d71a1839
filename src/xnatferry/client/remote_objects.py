"""Creates objects on a server and changes their fields; the base of `xnatferry.client.remote.Remote`."""

from __future__ import annotations

import logging
import re
import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.client.attributes import prefixed_fields
from xnatferry.client.field_changes import field_changes, with_fields_taken
from xnatferry.client.http import Request
from xnatferry.client.remote_reader import RemoteReader
from xnatferry.client.responses import ServerResponse, project_refused
from xnatferry.client.session_documents import document_request, fields_by_scan, has_document, scan_of
from xnatferry.errors import (
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    RemoteError,
    UnavailableError,
    UsageError,
)
from xnatferry.xnat.custom_fields import custom_name
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.records import Ensured, FieldChange, ScanDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from xnatferry.client.http import Timeouts
    from xnatferry.client.listings import Item
    from xnatferry.client.settings import Connection

log = logging.getLogger(__name__)

#: Seconds in which parts of the server may not know a new project yet (1.8: permission caches), and between two tries.
_SETTLING_S, _SETTLING_PAUSE_S = 6.0, 0.5
#: What 1.8 answers then: 403; "Submitted subject record must include the project attribute." (422); "Unable to identify
#: project", "The following item(s) don't exist" (404). A 404 or 422 in other words has another reason.
_UNKNOWN_PROJECT = re.compile(r"include the project attribute|identify project|item\(s\) don't exist", re.IGNORECASE)
#: Tries of a request that competes with other clients, and seconds between two tries.
_RACE_TRIES = 4
_RACE_PAUSE_S = 0.5
_NOTHING: Mapping[str, str] = {}


class RemoteObjects(RemoteReader):
    """A site and an account, for reading, and for creating and changing objects; see `RemoteReader`."""

    def __init__(
        self,
        connection: Connection,
        timeouts: Timeouts | None = None,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(connection, timeouts, pause=pause)
        self._new_projects: dict[str, float] = {}

    def ensure_project(self, project: str, *, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create a project unless it exists. An existing one is not changed: 1.6.4 would reset its name."""
        if self.project_exists(project):
            return Ensured(project, project, created=False)
        try:
            return self._made(
                Address(project),
                lambda taken: Request("PUT", Address(project).path, tuple(taken.items())),
                fields,
                xsi_type="xnat:projectData",
            )
        except RemoteError as error:
            raise project_refused(project, error) from None

    def ensure_subject(self, address: Address, *, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create a subject unless it exists.

        Args:
            address: Its project and label.
            fields: XNAT's short names (``gender``, ``yob``) or full paths; of a new subject only.
        """
        return self._ensure_labelled(address, (), fields)

    def ensure_session(
        self, address: Address, *, xsi_type: str = "xnat:mrSessionData", fields: Mapping[str, str] = _NOTHING
    ) -> Ensured:
        """Create a session, and its subject if it does not exist, unless it exists.

        Raises:
            ConflictError: The label belongs to a session of another subject or type. XNAT would move it.
        """

        def put(taken: Mapping[str, str]) -> Request:
            return Request("PUT", address.path, (("xsiType", xsi_type), *prefixed_fields(xsi_type, taken)))

        return self._ensured_session(address, xsi_type, put, fields)

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

            def put(taken: Mapping[str, str]) -> Request:
                return document_request(address, xsi_type, fields, scans, taken)

            made = self._ensured_session(address, xsi_type, put, fields_by_scan(fields, scans), scans)
            if made.created:
                return made
        changes = list(made.changes)
        for scan in scans:
            place = address.child(Level.SCAN, scan.id)
            there = self.ensure_scan(place, xsi_type=scan.xsi_type, fields=scan.fields)
            changes += (replace(change, part=f"scan {scan.id}") for change in there.changes)
        return replace(made, changes=tuple(changes))

    def ensure_scan(
        self, address: Address, *, xsi_type: str = "xnat:mrScanData", fields: Mapping[str, str] = _NOTHING
    ) -> Ensured:
        """Create a scan unless it exists."""
        label = address.scan or ""
        if (held := self.item(address)) is not None:
            _same_type(address, held, xsi_type)
            return Ensured(label, label, created=False)

        def put(taken: Mapping[str, str]) -> Request:
            return Request("PUT", address.path, (("xsiType", xsi_type), *prefixed_fields(xsi_type, taken)))

        return self._made(address, put, fields, xsi_type=xsi_type)

    def ensure_assessor(self, address: Address, *, xsi_type: str, fields: Mapping[str, str] = _NOTHING) -> Ensured:
        """Create an image assessor unless it exists."""
        return self._ensure_labelled(address, (("xsiType", xsi_type),), fields, xsi_type)

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
        return self._made(address, lambda _: Request("PUT", address.path, query))

    def set_fields(self, address: Address, fields: Mapping[str, str]) -> tuple[FieldChange, ...]:
        """Change fields of a project, subject, session, scan or assessor; other fields are not changed.

        Returns:
            Fields that the server stored differently than they were sent.

        Raises:
            NotFoundError: It does not exist.
            UsageError: ``label`` is among the fields: XNAT would rename the object and drop the other changes.
        """
        if "label" in fields:
            raise UsageError(f"{address}: a label cannot be changed as a field")
        self._put_fields(address, fields)
        return self._changes(address, fields, {})

    def _put_fields(self, address: Address, fields: Mapping[str, str]) -> None:
        held = self.item(address)
        if held is None:
            raise NotFoundError(f"{address}: object not found", status=404, url=address.path)
        xsi_type = held.get("xsi:type", "")
        fields, custom = self._divided(fields)
        query: tuple[tuple[str, str], ...] = tuple(fields.items())
        if address.level is Level.PROJECT and "name" not in fields:
            query += (("name", held.get("name") or address.project),)  # 1.6.4 resets a name that is not sent
        elif address.level not in {Level.PROJECT, Level.SUBJECT}:
            query = (("xsiType", xsi_type), *prefixed_fields(xsi_type, fields))  # 1.6.4 needs the type of every scan
        if fields or not custom:
            self._put(Request("PUT", address.path, query), address.project)
        if custom:
            self._write_custom(address, xsi_type, custom, new=False)

    # Internal

    def _divided(self, fields: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        """Fields that the request of an object contains, and those that the server keeps as JSON."""
        custom = {key: value for key, value in fields.items() if custom_name(scan_of(key)[1]) is not None}
        if custom and not self.custom_fields.are_json():
            custom = {}
        return {key: value for key, value in fields.items() if key not in custom}, custom

    def _write_custom(self, address: Address, xsi_type: str, fields: Mapping[str, str], *, new: bool) -> None:
        self.custom_fields.write(
            self.url_path(address),
            {custom_name(path) or "": value for path, value in fields.items()},
            self.custom_fields.places(address.project, xsi_type) or {},
            new=new,
            put=lambda request: self._put(request, address.project),
        )

    def _add_custom(
        self, address: Address, xsi_type: str, fields: Mapping[str, str], scans: Sequence[ScanDocument]
    ) -> list[FieldChange]:
        """Write the custom fields of a new object and of its scans; returns those that the server refuses."""
        refused: list[FieldChange] = []
        types = {"": xsi_type} | {scan.id: scan.xsi_type for scan in scans}
        for scan, kind in types.items():
            own = {path: value for key, value in fields.items() for at, path in [scan_of(key)] if at == scan}
            place = address.child(Level.SCAN, scan) if scan else address
            try:
                if own:
                    self._write_custom(place, kind, own, new=True)
            except (RefusedError, ForbiddenError, NotFoundError) as error:
                if error.status is None:  # no server answered at all
                    raise
                log.warning("%s: custom fields are refused: %s", place, error)
                part = f"scan {scan}" if scan else ""
                refused += [FieldChange(part, path, value, None) for path, value in own.items()]
        return refused

    def _put(self, request: Request, project: str) -> ServerResponse:
        """PUT an object, repeated after errors; also while parts of the server do not know a new project."""
        made = self._new_projects.get(project)
        new = made is not None and time.monotonic() - made < _SETTLING_S
        for _ in range(round(_SETTLING_S / _SETTLING_PAUSE_S) if new else 0):
            try:
                return self._requester.ask(request, repeat=True)
            except (ForbiddenError, NotFoundError, RefusedError) as error:
                if error.status != 403 and not (error.status in {404, 422} and _UNKNOWN_PROJECT.search(str(error))):
                    raise
            self._pause(_SETTLING_PAUSE_S)
        return self._requester.ask(request, repeat=True)

    def _ensure_labelled(
        self, address: Address, query: tuple[tuple[str, str], ...], fields: Mapping[str, str], xsi_type: str = ""
    ) -> Ensured:
        """Create an object with a label and an accession ID by a PUT without body, unless it exists."""
        label = getattr(address, address.level.value)
        held = self.item(address)
        if held is None:

            def put(taken: Mapping[str, str]) -> Request:
                more = prefixed_fields(xsi_type, taken) if xsi_type else tuple(taken.items())
                return Request("PUT", address.path, (*query, *more))

            return self._made(address, put, fields, xsi_type=xsi_type or "xnat:subjectData")
        return Ensured(held.get("ID") or label, label, created=False)

    def _ensured_session(
        self,
        address: Address,
        xsi_type: str,
        put: Callable[[Mapping[str, str]], Request],
        fields: Mapping[str, str],
        scans: Sequence[ScanDocument] = (),
    ) -> Ensured:
        held = self.item(address)
        if held is None:
            return self._made(address, put, fields, scans, xsi_type=xsi_type)
        _same_type(address, held, xsi_type)
        subject = self.item(Address(address.project, address.subject))
        if subject is None or held.get("subject_ID") not in {subject.get("ID"), address.subject, None, ""}:
            raise ConflictError(
                f"{address}: session {address.session} already belongs to another subject ({held.get('subject_ID')}); "
                "session labels are unique in a project, so use another label"
            )
        return Ensured(held.get("ID") or address.session or "", address.session or "", created=False)

    def _changes(
        self,
        address: Address,
        fields: Mapping[str, str],
        missing: Mapping[str, str],
        scans: Sequence[ScanDocument] = (),
    ) -> tuple[FieldChange, ...]:
        """Read back *fields* of an object; before that, set those that were not in its request, one by one."""
        for key, value in missing.items():
            scan, path = scan_of(key)
            with suppress(RefusedError):
                self._put_fields(address.child(Level.SCAN, scan) if scan else address, {path: value})
        try:
            held = self.attributes(address) if fields else None
        except ForbiddenError:  # 1.8: a new project cannot be read yet
            held = None
        if held is None:
            return ()
        own = {scan_of(key)[1]: value for key, value in fields.items() if not scan_of(key)[0]}
        return field_changes(own, held, scans)

    def _made(
        self,
        address: Address,
        put: Callable[[Mapping[str, str]], Request],
        fields: Mapping[str, str] = _NOTHING,
        scans: Sequence[ScanDocument] = (),
        *,
        xsi_type: str = "",
    ) -> Ensured:
        """PUT an object that did not exist right before, and find out whether this request created it.

        Where XNAT answers 201 or 200, 201 means new. Of several parallel requests some get 409 or 500 although the
        object is created (1.6.4, 1.8.11), or 404: the object exists a moment later,
        or the next try creates it. A request that was sent again, or whose reply was lost, created the object.
        """
        accession: str | None
        own, custom = self._divided(fields)
        for left in reversed(range(_RACE_TRIES)):
            try:
                response, missing = with_fields_taken(lambda taken: self._put(put(taken), address.project), own)
            except RemoteError as error:
                looked = error.may_have_acted or error.status in {409, 500}
                accession = self._accession(address) if looked else None
                if accession is not None or (address.level is Level.RESOURCE and error.status == 409):
                    new, missing = error.retryable or error.attempts > 1, {}
                    break
                if error.status not in {404, 409, 500} or not left:
                    raise
            else:
                accession = response.text.strip().rpartition("/")[2] if address.level in _REPORT_NEW else ""
                new = response.status == 201 or address.level not in _REPORT_NEW or response.attempts > 1
                break
            self._pause(_RACE_PAUSE_S)  # another client creates it, or its container, at this moment
        if new and address.level is Level.PROJECT:
            self._new_projects[address.project] = time.monotonic()
        label = getattr(address, address.level.value)
        if not new:
            return Ensured(accession or label, label, created=False)
        refused = self._add_custom(address, xsi_type, custom, scans)
        changes = dict.fromkeys([*self._changes(address, fields, missing, scans), *refused])
        return Ensured(accession or label, label, created=True, changes=tuple(changes))

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
