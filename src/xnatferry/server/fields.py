"""From what a client sends to fields: XNAT's short names, full paths, form bodies and XML documents.

``gender=F``, ``xnat:subjectData/demographics[@xsi:type=xnat:demographicData]/gender=F`` and the element in an XML
document say the same. Keys that are neither a short name nor a path of the item's type are ignored, as on XNAT.
What XNAT would store and the archive cannot, the provenance of results, is refused.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from xml.sax.saxutils import escape

from python_multipart import parse_form
from python_multipart.exceptions import FormParserError

from xnatferry.server.request_scope import Refusal
from xnatferry.server.xnat_tables import XNAT_TABLES
from xnatferry.xnat.datatypes import data_type, extends, is_foreign, kind_of, resolve
from xnatferry.xnat.item_xml import decode_item_xml
from xnatferry.xnat.items import DocumentError, ItemTree
from xnatferry.xnat.values import ValueProblem, lenient_date, normal_value, required_problem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from xnatferry.server.objects import Item
    from xnatferry.server.request_scope import Scope

#: Short names by the data type that has them, to paths below that type (``XMLPathShortcuts``).
SHORT_NAMES: Final[Mapping[str, Mapping[str, str]]] = XNAT_TABLES["short_names"]

#: Fields that are columns of an item's row, or say where it belongs; they are no entries of ``fields``.
OWN_COLUMNS: Final = frozenset({"ID", "project", "label", "subject_ID", "image_session_ID", "imageSession_ID"})


def short_names(type_name: str) -> dict[str, str]:
    """Short names of *type_name* and all types it extends, to full paths (``xnat:imageScanData/type``)."""
    found: dict[str, str] = {}
    one = data_type(type_name)
    while one is not None:
        for name, path in SHORT_NAMES.get(one.name, {}).items():
            found.setdefault(name, f"{one.name}/{path}")
        one = data_type(one.base) if one.base else None
    return found


@dataclass(slots=True)
class Submitted:
    """What a request says about an item.

    Attributes:
        xsi_type: Its data type; "" when nothing in the request tells.
        fields: Paths to values, normalised; an empty value takes the field away.
        own: What it says of `OWN_COLUMNS`.
        nested: Items below it, from an XML document.
        from_document: Whether an XML document came.
    """

    xsi_type: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    own: dict[str, str] = field(default_factory=dict)
    nested: dict[str, list[ItemTree]] = field(default_factory=dict)
    from_document: bool = False

    def refuse_rename(self, item: Item) -> None:
        """Refuse another ID, project or label than those of *item*.

        Raises:
            Refusal: 400 or 409.
        """
        if (asked := self.own.get("ID", "")) and asked not in {item.id, item.label}:
            raise Refusal(400, "ID cannot be modified")
        if (asked := self.own.get("project", "")) and asked != item.project:
            raise Refusal(409, "Project must be modified through separate URI.")
        if self.from_document and (asked := self.own.get("label", "")) and asked != item.label:
            raise Refusal(400, "Label must be modified through separate URI.")


def submitted(scope: Scope, *, default_type: str = "", stored_type: str = "") -> Submitted:
    """Read the item that a PUT or POST sends, in XNAT's order (``SecureResource.loadItem``).

    Args:
        scope: The request.
        default_type: Type of the resource that is asked, for what names none.
        stored_type: Type of the item that is there already; a type that is asked for is still returned.

    Raises:
        Refusal: 400 for an unknown type or a bad value, 422 for a document that is none, or for provenance.
    """
    found = Submitted()
    if body := _document_of(scope):
        _from_document(found, body)
    pairs = scope.query.escaped()
    if scope.query.get("req_format") == "form":
        pairs = [(key, escape(value)) for key, value in scope.form()] + pairs
    asked = next((value for key, value in pairs if key in {"ELEMENT_0", "xsiType"} and value), "")
    if asked and data_type(asked) is None:
        raise Refusal(400, f"org.nrg.xft.exception.ElementNotFoundException: Element not found: '{asked}'")
    prefix = next((key.partition("/")[0] for key, _ in pairs if ":" in key.partition("/")[0] and "/" in key), "")
    named = data_type(asked) or (data_type(found.xsi_type) if found.xsi_type else None) or data_type(default_type)
    if named is None and not stored_type:
        named = data_type(prefix)
    found.xsi_type = named.name if named else ""
    _from_pairs(found, pairs, found.xsi_type or stored_type, lenient=scope.archive.settings.strict)
    return found


def require_complete(wanted: Submitted) -> None:
    """Refuse a new item without a field that its type must have.

    Raises:
        Refusal: 400, with XNAT's words.
    """
    of_type = data_type(wanted.xsi_type)
    if of_type and (problem := required_problem(of_type, {*wanted.fields, *OWN_COLUMNS})):
        raise Refusal(400, problem)


def _from_document(found: Submitted, body: bytes) -> None:
    try:
        tree = decode_item_xml(body)
    except DocumentError as error:
        raise Refusal(error.status, str(error)) from error
    found.xsi_type, found.nested, found.from_document = tree.xsi_type, tree.nested, True
    for path, value in tree.fields.items():
        (found.own if path in OWN_COLUMNS else found.fields)[path] = value


def _from_pairs(found: Submitted, pairs: Iterable[tuple[str, str]], type_name: str, *, lenient: bool) -> None:
    """Take in query and form pairs; the first of repeated keys wins, and ``NULL`` takes a field away.

    *lenient* takes dates that are none as XNAT does.
    """
    names, seen = short_names(type_name), set()
    for key, value in pairs:
        owner, _, path = (names.get(key) or key).partition("/")
        if not path or key in seen or not extends(type_name, owner):
            continue
        seen.add(key)
        resolved = resolve(type_name, path)
        if resolved is None:
            _refuse_foreign(type_name, path)
            if path.startswith("demographics") and "/" in path:
                found.fields.setdefault("demographics/@type", "xnat:demographicData")  # XNAT makes the empty element
            continue
        try:
            given = lenient_date(value) if lenient and kind_of(resolved.node) == "date" else value
            text = "" if value == "NULL" else normal_value(resolved.node, given)
        except ValueProblem as problem:
            raise Refusal(problem.status, str(problem) if problem.status == 400 else "") from problem
        if not value and kind_of(resolved.node) in {"date", "time", "datetime"}:
            continue  # XNAT keeps the date that is there; NULL takes it away (recorded)
        if resolved.path in OWN_COLUMNS:
            found.own[resolved.path] = text
            continue
        found.fields[resolved.path] = text
        found.fields |= {f"{at}/@type": name for at, name in resolved.types.items()}


def _refuse_foreign(type_name: str, path: str) -> None:
    """Refuse a path that XNAT would store and the archive cannot; one that the schema lacks is ignored."""
    name = path.partition("/")[0].partition("[")[0].lower()
    of_type = data_type(type_name)
    for node in of_type.nodes if of_type else ():
        if node.name.lower() == name and is_foreign(node):
            raise Refusal(422, f"'{path}' is of the schema {node.type_name}, of which the archive keeps nothing")


def _document_of(scope: Scope) -> bytes:
    """The XML document in the body, if there is one. A chunked body does not count: its length is not known."""
    if "content-length" not in scope.request.headers or not scope.body:
        return b""
    if scope.media_type == "multipart/form-data":
        return b"" if scope.query.get("req_format") == "form" else _multipart_document(scope)
    wanted = scope.query.get("req_format") == "xml" or scope.query.is_true("inbody")
    return scope.body if wanted or scope.media_type in {"text/xml", "application/xml"} else b""


def _multipart_document(scope: Scope) -> bytes:
    """The part whose file name ends in ``.xml``, as pyxnat sends it."""
    documents: list[bytes] = []

    def take(part: object) -> None:
        name = (getattr(part, "file_name", None) or b"").lower()
        file = getattr(part, "file_object", None)
        if name.endswith(b".xml") and file is not None:
            file.seek(0)
            documents.append(file.read())

    headers = {"Content-Type": scope.request.headers["content-type"].encode("latin-1")}
    try:
        parse_form(headers, io.BytesIO(scope.body), lambda _: None, take)
    except FormParserError as error:
        raise Refusal(400, f"The multipart body cannot be read: {error}") from error
    return documents[0] if documents else b""
