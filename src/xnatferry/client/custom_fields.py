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
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from xnatferry.client.http import Request
from xnatferry.errors import ForbiddenError, NotFoundError, NotXnatError, RefusedError
from xnatferry.xnat.custom_fields import FormField, json_value

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xnatferry.client.requester import Requester
    from xnatferry.client.responses import ServerResponse

__all__ = ["CustomFields"]

log = logging.getLogger(__name__)

_SINCE = (1, 8, 4)
#: Components of a form that contain others.
_INNER = ("components", "columns")


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
        self._forms: dict[str, list[tuple[str, dict[str, FormField]]]] = {}

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
                self._forms[project] = self._read_forms(project)
            forms = self._forms[project]
        fields: dict[str, FormField] = {}
        for kind, components in forms:
            if kind.lower() == xsi_type.lower():
                fields = components | fields  # the form that is shown first counts
        return fields

    def forget_forms(self) -> None:
        """Read the forms again when they are needed next."""
        with self._lock:
            self._forms.clear()

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
            body = json.dumps(sent).encode()
            headers = (("Content-Type", "application/json"),)
            put(Request("PUT", address, headers=headers, body=lambda: [body], size_bytes=len(body)))
        for name in removed:
            with suppress(NotFoundError):  # one that is null is not found (recorded: 1.8.11)
                self._requester.ask(Request("DELETE", f"{address}/{quote(name, safe='')}"), repeat=True)

    def _read_forms(self, project: str) -> list[tuple[str, dict[str, FormField]]]:
        """Data type and fields of each form that is enabled in a project; none if the server has no forms."""
        try:
            answer = self._requester.ask(Request("GET", "/xapi/customforms", (("projectId", project),)))
            rows: list[dict[str, Any]] = json.loads(answer.text)
            return [_form(row) for row in rows if _is_used(row, project)]
        except (NotFoundError, ForbiddenError, RefusedError, NotXnatError) as error:
            log.info("%s: no custom forms: %s", project, error)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            log.warning("%s: the list of custom forms cannot be read: %r", project, error)
        return []


def _is_used(row: Mapping[str, Any], project: str) -> bool:
    return any(
        use["status"] == "enabled" and (row["scope"] == "Site" or use["entityId"] == project)
        for use in row["appliesToList"]
    )


def _form(row: Mapping[str, Any]) -> tuple[str, dict[str, FormField]]:
    contents = row["contents"]
    fields: dict[str, FormField] = {}
    _collect(json.loads(contents) if isinstance(contents, str) else contents, row["formUUID"], fields)
    return row["path"].removeprefix("datatype/").partition("/")[0], fields


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


def _object(response: ServerResponse) -> dict[str, Any]:
    try:
        value = json.loads(response.text)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}
