"""Reads and writes custom fields as XNAT 1.8.4 and later keep them: one JSON object for each object.

``PUT /xapi/custom-fields/.../fields`` merges a JSON object on the first level. Of several parallel requests for one
object all are answered with 200 and one is stored (recorded: 1.8.11), so an object gets one request.
"""

from __future__ import annotations

import json
import logging
import re
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xnatferry.client.http import Request
from xnatferry.errors import ForbiddenError, NotFoundError, NotXnatError, RefusedError, UsageError
from xnatferry.xnat.custom_fields import FormField, json_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xnatferry.client.requester import Requester
    from xnatferry.client.responses import ServerResponse

log = logging.getLogger(__name__)

_SINCE = (1, 8, 4)
#: Components of a form that contain others.
_INNER = ("components", "columns")


@dataclass(frozen=True, slots=True)
class _Form:
    """A custom form: where it is used in a project, and whether it is shown there."""

    uuid: str
    data_type: str
    definition: Mapping[str, Any]
    enabled: bool
    use: str


class CustomFields:
    """The custom fields of one connection: asks once which kind the server has, and once for the forms of a project.

    Args:
        requester: Sends the requests.
        version: Reads the version of the server.
    """

    def __init__(self, requester: Requester, version: Callable[[], str]) -> None:
        self._requester = requester
        self._version = version
        self._lock = threading.Lock()
        self._forms: dict[str, list[_Form]] = {}

    def are_json(self) -> bool:
        """Whether the server keeps them as JSON, by its version; False if it does not tell its version."""
        found = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", self._version())
        return found is not None and tuple(int(part or 0) for part in found.groups()) >= _SINCE

    def places(self, project: str, xsi_type: str) -> dict[str, FormField] | None:
        """The fields that forms of the project have for a data type, by name; None if the server keeps no JSON."""
        if not self.are_json():
            return None
        with self._lock:
            if project not in self._forms:
                self._forms[project] = self._rows(project)
            forms = self._forms[project]
        fields: dict[str, FormField] = {}
        for form in forms:
            if form.enabled and form.data_type.lower() == xsi_type.lower():
                _collect(form.definition, form.uuid, fields)
        return fields

    def install_form(self, project: str, data_type: str, definition: Mapping[str, Any]) -> tuple[str, str]:
        """Install a custom form in a project; one of the project with the same title and type gets the new definition.

        The request is read in the vendor's documentation and source (``CustomFormsApi``), not recorded.

        Args:
            project: Project ID.
            data_type: Data type whose pages show it.
            definition: The form (form.io) with its title.

        Returns:
            UUID of the form, and ``installed``, ``updated`` or ``up to date``.

        Raises:
            ForbiddenError: The account may not install forms.
            UsageError: The server has no custom forms.
        """
        title = str(definition["title"])
        held = [form for form in self._rows(project) if form.use and form.definition.get("title") == title]
        there = next((form for form in held if form.data_type.lower() == data_type.lower()), None)
        if there is not None and there.enabled and there.definition == definition:
            return there.uuid, "up to date"
        data = {
            "idCustomVariableFormAppliesTo": there.use if there else "-1_-1",
            "formTitle": title,
            "formType": "form",
            "zIndex": 0,
            "xnatDatatype": {"label": data_type, "value": data_type},
            "xnatProject": [{"label": project, "value": project}],
            "xnatProtocol": [],
            "xnatVisit": [],
            "xnatSubtype": [],
            "isThisASiteWideConfiguration": "no",
        }
        request = _json_request("/xapi/customforms/save", {"submission": {"data": data}, "builder": definition})
        try:
            uuid = self._requester.ask(request).text.strip()
        except NotFoundError as error:
            if error.status is None:  # no server answered at all
                raise
            raise UsageError(f"{project}: the server has no custom forms; XNAT 1.8.8 or later has them") from None
        except ForbiddenError as error:
            raise ForbiddenError(
                f"Permission denied: {project}: the account may not install custom forms; ask an administrator, a form"
                " manager or an owner of the project, who can also import the printed form",
                status=error.status,
                url=error.url,
            ) from None
        with self._lock:
            self._forms.clear()
        return uuid, "updated" if there else "installed"

    def write(
        self,
        path: str,
        values: Mapping[str, str],
        places: Mapping[str, FormField],
        *,
        new: bool,
        put: Callable[[Request], ServerResponse],
    ) -> None:
        """Set custom fields of one object in one request; an empty value removes its field, in one request each.

        A value of a form is in the object of the form, which a PUT replaces as a whole: it is read first.

        Args:
            path: URL path of the object, below ``/data``.
            values: The values, by name.
            places: Fields that have a form.
            new: Whether the object has just been created, so that it has no other values.
            put: Sends a PUT, and repeats it where needed.
        """
        address = f"/xapi/custom-fields{path.removeprefix('/data')}/fields"
        sent: dict[str, Any] = {}
        held: dict[str, Any] = {}
        if not new and any(name in places for name in values):
            held = _object(self._requester.ask(Request("GET", address)))
        for name, value in values.items():
            place, target = places.get(name), sent
            if place is not None:
                inside = held.get(place.form)
                target = sent.setdefault(place.form, dict(inside) if isinstance(inside, dict) else {})
            target[name] = json_value(value, place.kind if place else "")
        removed = [name for name, value in values.items() if value == "" and name not in places]
        for form in {places[name].form for name, value in values.items() if value == "" and name in places}:
            sent[form] = {name: value for name, value in sent[form].items() if values.get(name) != ""}
            removed += [] if sent[form] else [form]
        sent = {name: value for name, value in sent.items() if name not in removed}
        if sent:
            put(_json_request(address, sent))
        for name in removed:
            with suppress(NotFoundError):  # one that is null is not found (recorded: 1.8.11)
                self._requester.ask(Request("DELETE", f"{address}/{quote(name, safe='')}"), repeat=True)

    def _rows(self, project: str) -> list[_Form]:
        """The forms of a project and of the site, in the order in which they are shown; none if the server has none."""
        try:
            answer = self._requester.ask(Request("GET", "/xapi/customforms", (("projectId", project),)))
            return [_read_form(row, project) for row in json.loads(answer.text)]
        except (NotFoundError, ForbiddenError, RefusedError, NotXnatError) as error:
            log.info("%s: no custom forms: %s", project, error)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("%s: the list of custom forms cannot be read: %r", project, error)
        return []


def _read_form(row: Mapping[str, Any], project: str) -> _Form:
    uses = [use for use in row["appliesToList"] if row["scope"] == "Site" or use["entityId"] == project]
    contents = row["contents"]
    return _Form(
        row["formUUID"],
        row["path"].removeprefix("datatype/").partition("/")[0],
        json.loads(contents) if isinstance(contents, str) else contents,
        enabled=any(use["status"] == "enabled" for use in uses),
        use=next((use["idCustomVariableFormAppliesTo"] for use in uses if use["entityId"] == project), ""),
    )


def _collect(component: Mapping[str, Any], form: str, fields: dict[str, FormField]) -> None:
    """The components below *component* that hold a value, by key; a container is one value."""
    for word in _INNER:
        inner = component.get(word)
        for one in inner if isinstance(inner, list) else ():
            if not isinstance(one, dict):
                continue
            if one.get("input") and one.get("key"):
                fields.setdefault(str(one["key"]), FormField(form, str(one.get("type", ""))))
            else:
                _collect(one, form, fields)


def _json_request(path: str, value: object) -> Request:
    body = json.dumps(value).encode()
    headers = (("Content-Type", "application/json"),)
    return Request("PUT", path, headers=headers, body=lambda: [body], size_bytes=len(body))


def _object(response: ServerResponse) -> dict[str, Any]:
    try:
        value = json.loads(response.text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
