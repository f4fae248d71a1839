"""Custom fields of objects: their paths among other fields, and their JSON in XNAT 1.8.4 and later.

A custom field has the path ``fields/field[name=NAME]/field``, at every level and for every server. Before 1.8.4 it is a
custom variable; scans have none, so there it is a named parameter of the scan. Since 1.8.4 it is a value in the JSON
object of the object, under its name, or under the UUID of a custom form that has a component of this name: XNAT's pages
show only values of forms. A value in another of these places has the path ``fields/field[name=NAME]/former``.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PATH: Final = re.compile(r"(?:[a-z]\w*:\w+/)?fields/field\[@?name=([^\]]+)\]/(?:field|former)")
_PARAMETER: Final = re.compile(r"parameters/addParam\[name=(bids_[^\]]+)\]/addField")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
#: A name that can be used in the brackets of a path.
_NAMEABLE: Final = re.compile(r"[^\[\]/'\"=]+")


#: JSON types of the values of a component.
_TYPES: Final[Mapping[str, tuple[type, ...]]] = {"number": (int, float), "checkbox": (bool,)}


@dataclass(frozen=True, slots=True)
class FormField:
    """A component of a custom form.

    Attributes:
        form: UUID of the form.
        kind: Type of the component: ``textfield``, ``number``, ``select``, ...
    """

    form: str
    kind: str


def custom_name(path: str) -> str | None:
    """The name of the custom field at *path*; None if it is another field.

    >>> custom_name("xnat:subjectData/fields/field[name=bids_site]/field")
    'bids_site'
    """
    found = _PATH.fullmatch(path)
    return found[1] if found else None


def custom_path(name: str, *, former: bool = False) -> str:
    """The path of a custom field below its data type."""
    return f"fields/field[name={name}]/{'former' if former else 'field'}"


def variable_name(xsi_type: str, path: str) -> str | None:
    """The name of the custom field that a variable, or a parameter of a scan, holds; None if it is another field."""
    parameter = _PARAMETER.fullmatch(path) if xsi_type.endswith("ScanData") else None
    return parameter[1] if parameter else custom_name(path)


def wire_path(xsi_type: str, path: str) -> str:
    """The path of a field in a request, for servers without JSON: scans have parameters, not custom variables."""
    name = custom_name(path) if xsi_type.endswith("ScanData") else None
    return path if name is None else f"parameters/addParam[name={name}]/addField"


def from_json(
    xsi_type: str, fields: Mapping[str, str], held: Mapping[str, Any], places: Mapping[str, FormField] | None
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The fields of an object together with its JSON.

    Args:
        xsi_type: Data type of the object.
        fields: Its other fields, with custom variables.
        held: Its JSON object.
        places: Custom fields that have a form, by name; None if the server keeps no JSON.

    Returns:
        All fields, and paths of values that have no path of a field.
    """
    merged: dict[str, str] = {}
    variables: dict[str, str] = {}
    for path, value in fields.items():
        name = variable_name(xsi_type, path)
        if name is None:
            merged[path] = value
        else:
            variables[name] = value
    if places is None:
        return merged | {custom_path(name): value for name, value in variables.items()}, ()
    elsewhere: dict[str, str] = {}
    unsettable: list[str] = []
    for form, name, value in json_values(held):
        if not _NAMEABLE.fullmatch(name):
            unsettable.append(f"custom_fields/{name}")
        elif form == (places[name].form if name in places else ""):
            merged[custom_path(name)] = value
        else:
            elsewhere.setdefault(name, value)
    for name, value in (variables | elsewhere).items():
        if custom_path(name) not in merged:
            merged[custom_path(name, former=True)] = value
    return merged, tuple(unsettable)


def json_values(held: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """UUID of the form ("" without one), name and text of each value that is not null."""
    for key, value in held.items():
        is_form = isinstance(value, dict) and _UUID.fullmatch(key) is not None
        for name, one in value.items() if is_form else ((key, value),):
            if one is not None:
                yield key if is_form else "", name, text_value(one)


def text_value(value: object) -> str:
    """A JSON value as the text of a field: a text as it is, another value as compact JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def json_value(text: str, kind: str = "") -> object:
    """The JSON value of a text: lists and objects, and numbers and truth values of a form; else the text itself.

    Only the exact inverse of `text_value` becomes another value, so that a text never changes: ``007`` is no number.
    """
    wanted: set[type] = {list, dict, *_TYPES.get(kind, ())}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    is_exact = type(value) in wanted and text_value(value) == text
    return value if is_exact else text
