"""XNAT's search over all items of a type, as far as clients use it: pyxnat's ``select(TYPE).where(...)`` and ``repr``.

A search names a root type, columns and nested criteria. A field is either a *display field* (``SUBJECT_LABEL``, upper
case, listed by ``/data/search/elements/TYPE``) or a path of the schema (``xnat:mrSessionData/scanner``). A path that no
display field shows has one of XNAT's own making: ``XNAT_COL_MRSESSIONDATASCANNER`` (recorded by xnatpy's live tests).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xnatferry.server import access, objects
from xnatferry.server.element_security import element_name, offered_types
from xnatferry.server.joins import Row, value_of
from xnatferry.server.objects import Level
from xnatferry.server.request_scope import Refusal
from xnatferry.server.wildcards import fits
from xnatferry.server.xnat_tables import XNAT_TABLES
from xnatferry.xnat.datatypes import data_type, extends
from xnatferry.xnat.result_set import Table
from xnatferry.xnat.xml import XmlError, read_xml

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

    from xnatferry.server.accounts import Account
    from xnatferry.server.settings import ServerSettings

_DISPLAY_FIELDS: Final[Mapping[str, Mapping[str, str]]] = XNAT_TABLES["display_fields"]
#: Fields of a project that are counted or looked up, not stored.
_COMPUTED: Final = (
    "PI",
    "PROJECT_INVS",
    "PROJECT_ACCESS",
    "PROJECT_OWNERS",
    "PROJ_MR_COUNT",
    "PROJ_CT_COUNT",
    "PROJ_PET_COUNT",
    "PROJ_UT_COUNT",
)
_COMPARED: Final = {"=", "!=", "<", ">", "<=", ">=", "LIKE", "NOT LIKE", "IN", "IS NULL", "IS NOT NULL"}
_DEEPEST: Final = 20
_MONTH_FIRST: Final = re.compile(r"(\d\d)/(\d\d)/(\d{4})")


def display_fields(type_name: str) -> dict[str, str]:
    """The display fields of a type, to paths below it; computed ones have an empty path."""
    if extends(type_name, "xnat:projectData"):
        return {**_DISPLAY_FIELDS["project"], **dict.fromkeys(_COMPUTED, "")}
    if extends(type_name, "xnat:subjectData"):
        return dict(_DISPLAY_FIELDS["subject"])
    if extends(type_name, "xnat:experimentData"):
        found = dict(_DISPLAY_FIELDS["experiment"])
        if extends(type_name, "xnat:subjectAssessorData"):
            found |= {"SUBJECT_ID": "subject_ID", "SUBJECT_LABEL": "../xnat:subjectData/label"}
        return found
    return {}


def elements(connection: sqlite3.Connection, settings: ServerSettings, account: Account | None) -> Table:
    """``/data/search/elements``: the types that can be searched, with the number of items that may be read."""
    counts: dict[str, int] = {}
    readable = access.readable_projects(connection, account)
    for row in connection.execute("SELECT xsi_type, project, count(*) AS number FROM items GROUP BY xsi_type, project"):
        if row["project"] in readable:
            counts[row["xsi_type"]] = counts.get(row["xsi_type"], 0) + row["number"]
    rows = []
    for name in offered_types(connection, settings, readable):
        if display_fields(name):
            singular, plural = element_name(name)
            rows.append(
                {
                    "ELEMENT_NAME": name,
                    "SINGULAR": singular,
                    "PLURAL": plural,
                    "SECURED": "true",
                    "COUNT": str(counts.get(name, 0)),
                }
            )
    return Table(("ELEMENT_NAME", "SINGULAR", "PLURAL", "SECURED", "COUNT"), rows, title="Data-Types")


def fields_table(type_name: str) -> Table:
    """``/data/search/elements/TYPE``: its display fields.

    Raises:
        Refusal: 404, there is no such type.
    """
    of_type = data_type(type_name)
    if of_type is None:
        raise Refusal(404, f"Element not found: '{type_name}'")
    columns = ("FIELD_ID", "HEADER", "SUMMARY", "TYPE", "REQUIRES_VALUE", "DESC", "ELEMENT_NAME", "SRC")
    rows = [
        {
            "FIELD_ID": name,
            "HEADER": name.replace("_", " ").capitalize(),
            "SUMMARY": f"{of_type.name}/{path}" if path else "",
            "TYPE": "string",
            "REQUIRES_VALUE": "false",
            "ELEMENT_NAME": of_type.name,
            "SRC": "0",
        }
        for name, path in display_fields(of_type.name).items()
    ]
    return Table(columns, rows, title="Search Fields")


@dataclass(frozen=True, slots=True)
class _Column:
    """A column: the type it belongs to, its display field, what to call it, and the path it was asked by or ""."""

    owner: str
    name: str
    header: str
    path: str = ""


@dataclass(slots=True)
class _Search:
    root: str
    columns: list[_Column] = field(default_factory=list)
    where: Element | None = None


def root_type(document: bytes) -> str:
    """The type that a search document looks for.

    Raises:
        Refusal: 422, it is no search document.
    """
    return _read(document).root


def run_search(
    connection: sqlite3.Connection, account: Account | None, document: bytes, *, stored: bool = False
) -> Table:
    """Answer a search document (``xdat:bundle``, ``xdat:stored_search`` or ``xdat:search``).

    Args:
        connection: Of the metadata.
        account: Who asks; only what that account may read is found.
        document: The search.
        stored: Whether it is run by its name: then XNAT leaves ``rootElementName`` out.

    Raises:
        Refusal: 422, it is no search document.
    """
    search = _read(document)
    rows = list(_rows(connection, account, search.root))
    extra = _Projects(connection) if extends(search.root, "xnat:projectData") else None
    kept = [row for row in rows if search.where is None or _holds(row, search.where, "AND", extra, 0)]
    keys = [_key(search.root, column) for column in search.columns]
    values = []
    for row in kept:
        found = (
            value_of(row, f"{column.owner}/{column.path}")
            if column.path
            else _shown(row, column.owner, column.name, extra)
            for column in search.columns
        )
        values.append({"quarantine_status": "active", **dict(zip(keys, found, strict=True))})
    columns = [
        {
            "key": key,
            "type": "string",
            "xPATH": f"{column.owner}.{column.name}",
            "element_name": column.owner,
            "header": column.header,
            "id": column.name,
        }
        for key, column in zip(keys, search.columns, strict=True)
    ]
    return Table(
        list(dict.fromkeys([*keys, "quarantine_status"])),
        values,
        meta={"Columns": [*columns, {"key": "quarantine_status"}]},
        closing={} if stored else {"rootElementName": search.root},
        hashed=True,
    )


def _read(document: bytes) -> _Search:
    try:
        root = read_xml(document)
    except XmlError as error:
        raise Refusal(422, f"The search document cannot be read: {error}") from error
    found = _Search("")
    named = data_type(root.get("root_element_name", ""))
    found.root = named.name if named else ""
    for part in root:
        local = _local(part)
        if local == "root_element_name":
            of_type = data_type((part.text or "").strip())
            found.root = of_type.name if of_type else ""
        elif local == "search_field":
            texts = {_local(one): (one.text or "").strip() for one in part}
            name = texts.get("field_ID", "")
            found.columns.append(_column(texts.get("element_name", ""), name, texts.get("header", "") or name))
        elif local == "search_where":
            found.where = part
    if not display_fields(found.root):
        raise Refusal(422, "The search document has no searchable root type.")
    if not found.columns:
        found.columns = [_Column(found.root, name, name) for name in display_fields(found.root)]
    return found


def _column(owner: str, name: str, header: str) -> _Column:
    """A column asked for by a display field or, as xnatpy does, by a path with its type in front."""
    first, _, path = name.partition("/")
    of_type = data_type(first)
    if not path or of_type is None:
        return _Column(owner, name, header)
    # Paths of labels have no display field: what LABEL shows depends on the project that looks.
    shown = {} if path == "label" else display_fields(of_type.name)
    made = f"{of_type.name.replace(':', '_COL_')}{path.replace('/', '_')}".upper()
    return _Column(of_type.name, next((one for one, of in shown.items() if of == path), made), header, path)


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _key(root: str, column: _Column) -> str:
    if column.owner.lower() == root.lower():
        return column.name.lower()
    return f"{column.owner.replace(':', '_')}_{column.name}".lower()


def _rows(connection: sqlite3.Connection, account: Account | None, root: str) -> Iterator[Row]:
    readable = access.readable_projects(connection, account)
    items: dict[int, objects.Item] = {}
    for row in connection.execute("SELECT * FROM items WHERE level <> 'scan' ORDER BY key"):
        if row["project"] in readable:
            items[row["key"]] = objects.item_of(row)
    for item in items.values():
        if not extends(item.xsi_type, root):
            continue
        above = items.get(item.parent_key or 0)
        if item.level is Level.ASSESSOR:
            yield Row(item, session=above, subject=items.get(above.parent_key or 0) if above else None)
        else:
            yield Row(item, subject=above if item.level is Level.EXPERIMENT else None)


class _Projects:
    """What a search shows of projects beside their fields."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        for row in connection.execute(
            "SELECT project, xsi_type, count(*) AS number FROM items WHERE level = 'experiment' GROUP BY 1, 2"
        ):
            self._counts[row["project"], row["xsi_type"]] = row["number"]
        self._owners: dict[int, list[str]] = {}
        for row in connection.execute(
            "SELECT project_key, lastname, firstname FROM roles JOIN accounts USING (login) WHERE role = 'owner'"
        ):
            self._owners.setdefault(row["project_key"], []).append(f"{row['firstname']} {row['lastname']}")

    def value(self, row: Row, name: str) -> str:
        """The computed field *name* of a project."""
        fields: Mapping[str, str] = row.item.fields
        if name in {"PI", "PROJECT_INVS"}:
            return ", ".join(filter(None, (fields.get("PI/lastname"), fields.get("PI/firstname"))))
        if name == "PROJECT_ACCESS":
            return fields.get("accessibility", "protected")
        if name == "PROJECT_OWNERS":
            return " <br/> ".join(self._owners.get(row.item.key, []))
        kind = {"PROJ_MR_COUNT": "mr", "PROJ_CT_COUNT": "ct", "PROJ_PET_COUNT": "pet"}.get(name, "us")
        number = self._counts.get((row.item.id, f"xnat:{kind}SessionData"), 0)
        return str(number) if number else ""


def _shown(row: Row, owner: str, name: str, extra: _Projects | None) -> str:
    """A value as the results show it: of the gender its letter, ``F``, ``M`` or ``U`` (pyxnat's ``repr_test``)."""
    value = _value(row, owner, name, extra)
    return value[:1].upper() if name.upper() == "GENDER_TEXT" else value


def _value(row: Row, owner: str, name: str, extra: _Projects | None) -> str:
    of_type = data_type(owner)
    if of_type is None:
        return ""
    shown = display_fields(of_type.name)
    path = shown.get(name.upper())
    if path == "" and extra is not None:
        return extra.value(row, name.upper())
    if path and path.startswith("../"):
        return value_of(row, path[3:])
    if path == "ID" and of_type.name == "xnat:projectData" and row.item.level is not Level.PROJECT:
        return row.item.project
    made = of_type.name.replace(":", "_COL_").upper()
    if name.upper().startswith(made):
        name = name[len(made) :]  # fields are found in any case
    return value_of(row, f"{of_type.name}/{path or name}")


def _holds(row: Row, group: Element, method: str, extra: _Projects | None, depth: int) -> bool:
    """Whether *row* meets the criteria of *group*, joined by its ``method``; an empty group holds."""
    if depth > _DEEPEST:
        raise Refusal(422, "The criteria are nested too deeply.")
    method = group.get("method", method).upper()
    results = []
    for part in group:
        if _local(part) == "child_set":
            results.append(_holds(row, part, "AND", extra, depth + 1))
        elif _local(part) == "criteria":
            results.append(_criterion(row, part, extra))
    if not results:
        return True
    return any(results) if method == "OR" else all(results)


def _criterion(row: Row, part: Element, extra: _Projects | None) -> bool:
    texts = {_local(one): (one.text or "").strip() for one in part}
    owner, _, name = texts.get("schema_field", "").partition("/")
    operator, wanted = texts.get("comparison_type", "=").upper(), texts.get("value", "")
    if operator not in _COMPARED:
        raise Refusal(422, f"Unknown comparison {operator!r}; use one of {', '.join(sorted(_COMPARED))}.")
    return _compare(_value(row, owner, name, extra), operator, wanted)


def _compare(value: str, operator: str, wanted: str) -> bool:
    if operator.endswith("LIKE"):
        return fits(value.casefold(), wanted.casefold().split("%")) is (operator == "LIKE")
    if operator.startswith("IS"):
        return (value == "") is (operator == "IS NULL")
    if operator == "IN":
        return value in {one.strip().strip("'\"()") for one in wanted.split(",")}
    if date := _MONTH_FIRST.fullmatch(wanted):
        wanted = f"{date[3]}-{date[1]}-{date[2]}"
    left, right = _comparable(value), _comparable(wanted)
    if type(left) is not type(right):
        left, right = value, wanted
    if operator in {"=", "!="}:
        return (left == right) is (operator == "=")
    if not value:
        return False
    less, equal = left < right, left == right  # type: ignore[operator]  # both are of one type here
    return {"<": less, ">": not less and not equal, "<=": less or equal, ">=": not less}[operator]


def _comparable(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
