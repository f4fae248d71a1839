"""Whole items as XNAT writes them: the item JSON (``{"items": [...]}``) and the XML documents of the xnat namespace.

Shapes recorded from a genuine server. What the schema flattens is flat here too: an unnamed content such as
``parameters/voxelRes/x`` is a field of its item, while a named one (``demographics``, ``PI``), a list element
(``fields/field``) and another item (``scans/scan``) are children.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from xml.etree.ElementTree import Comment, Element, SubElement, tostring

from xnatferry.xnat.datatypes import DataType, Node, data_type, extends, kind_of, of_element, text_name
from xnatferry.xnat.values import ValueProblem, normal_value
from xnatferry.xnat.xml import DoctypeError, XmlError, read_xml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["DocumentError", "ItemTree", "decode_item_xml", "encode_item_json", "encode_item_xml"]

XNAT_NS: Final = "http://nrg.wustl.edu/xnat"
XSI_NS: Final = "http://www.w3.org/2001/XMLSchema-instance"
_XSI_TYPE: Final = f"{{{XSI_NS}}}type"
_DEEPEST: Final = 40
#: Lists whose members are items with rows and addresses of their own.
ITEM_LISTS: Final = {
    "sharing/share",
    "scans/scan",
    "assessors/assessor",
    "reconstructions/reconstructedImage",
    "experiments/experiment",
    "resources/resource",
    "file",
    "in/file",
    "out/file",
}


class DocumentError(ValueError):
    """An XML document that is none of XNAT's. ``status`` is what XNAT answers: 422, or 400 for a bad value."""

    def __init__(self, message: str, status: int = 422) -> None:
        super().__init__(message)
        self.status = status


@dataclass(slots=True)
class ItemTree:
    """An item with everything below it.

    Attributes:
        xsi_type: Its data type.
        fields: Paths below the type to values as text. ``PATH/@type`` is the concrete type of a named content.
        nested: Items below it, by the path of the list they stand in (``scans/scan``).
        key: Number of its row, which XNAT shows as ``xnat_imageScanData_id`` and the like.
        started: When it got its present form, ``yyyy-MM-dd HH:mm:ss.SSS``.
        past: Earlier forms, newest first, each with when it began and ended.
    """

    xsi_type: str
    fields: dict[str, str] = field(default_factory=dict)
    nested: dict[str, list[ItemTree]] = field(default_factory=dict)
    key: int = 0
    started: str = ""
    past: Sequence[tuple[Mapping[str, str], str, str]] = ()


class _Nest(dict[str, "_Nest"]):
    """Fields by their steps; ``value`` is the text that ends here."""

    __slots__ = ("value",)

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.value = ""
        for path, text in (fields or {}).items():
            here = self
            for step in re.split(r"/(?![^\[]*\])", path):
                here = here.setdefault(step, _Nest())
            here.value = text

    def members(self, name: str) -> list[tuple[str, _Nest]]:
        """The list elements called *name*: what stands in their brackets, and what they hold.

        Numbered ones by number, named ones in the order in which they were made.
        """
        found = [(step[len(name) + 1 : -1], nest) for step, nest in self.items() if step.startswith(f"{name}[")]
        return sorted(found, key=lambda one: int(one[0]) if one[0].isdigit() else 0)


def encode_item_json(tree: ItemTree) -> str:
    """Write *tree* as XNAT's item JSON, its earlier forms after it."""
    items = [_json_item(tree)]
    for fields, began, ended in tree.past:
        past = _json_item(ItemTree(tree.xsi_type, dict(fields), key=tree.key, started=began))
        past["children"] = []
        past["meta"] |= {"isHistory": True, "end_date": _java_date(ended), "modified_event_id": tree.key}
        items.append(past)
    return json.dumps({"items": items}, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")


def encode_item_xml(tree: ItemTree, site_url: str = "") -> bytes:
    """Write *tree* as an XML document; *site_url* goes into the schema location."""
    of_type = _type_of(tree.xsi_type)
    root = Element(f"xnat:{of_type.element or of_type.name.partition(':')[2]}")
    root.set("xmlns:xnat", XNAT_NS)
    root.set("xmlns:xsi", XSI_NS)
    root.set("xsi:schemaLocation", f"{XNAT_NS} {site_url}/schemas/xnat/xnat.xsd")
    _fill_xml(root, of_type, tree)
    written: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + written


def decode_item_xml(data: bytes) -> ItemTree:
    """Read an XML document: an item with nested scans, assessors and so on. Entries of resources are passed over.

    Raises:
        DocumentError: It is not well-formed, has a DOCTYPE, names an element that the schema does not know, or holds
            a value that its field may not have.
    """
    try:
        root = read_xml(data)
    except DoctypeError as error:
        raise DocumentError(str(error)) from error
    except XmlError as error:
        raise DocumentError(f"An error occurred parsing the XML: {error}") from error
    namespace, _, local = root.tag.rpartition("}")
    of_type = of_element(local) if namespace in {f"{{{XNAT_NS}", ""} else None
    if of_type is None:
        raise DocumentError(f"org.xml.sax.SAXException: Invalid Element '{namespace.strip('{')}:{local}'")
    if asked := root.get(_XSI_TYPE):
        of_type = _concrete(asked, of_type.name)
    if _deep(root):
        raise DocumentError("The document is nested too deeply.")
    return _read_item(root, of_type)


def _deep(root: Element) -> bool:
    """Whether *root* is nested deeper than any item of XNAT's is."""
    level = [root]
    for _ in range(_DEEPEST):
        level = [child for element in level for child in element]
        if not level:
            return False
    return True


def _read_item(element: Element, of_type: DataType) -> ItemTree:
    tree = ItemTree(of_type.name)
    _read(element, of_type.nodes, "", tree)
    return tree


def _read(element: Element, nodes: tuple[Node, ...], above: str, tree: ItemTree) -> None:
    """Take *element*'s attributes and elements into *tree*, under the path *above*."""
    known = {node.name: node for node in nodes}
    for name, value in element.attrib.items():
        if name.startswith("{") or above.endswith(f"[name={value}]/"):
            continue  # of another namespace, or what the path says already
        if name not in known or not known[name].attribute:
            raise DocumentError(f"org.xml.sax.SAXException: Invalid field '{name}'")
        _take(tree, above + name, known[name], value)
    counts: dict[str, int] = {}
    for part in element:
        local = part.tag.rpartition("}")[2]
        node = known.get(local)
        if node is None or node.attribute:
            raise DocumentError(f"org.xml.sax.SAXException: Invalid field '{local}'")
        counts[local] = counts.get(local, 0) + 1
        bracket = f"[name={part.get('name')}]" if part.get("name") else f"[{counts[local]}]"
        _read_part(part, node, above + local + (bracket if node.many else ""), tree)


def _read_part(part: Element, node: Node, here: str, tree: ItemTree) -> None:
    list_path = re.sub(r"\[[^\]]*\]", "", here)
    if list_path in ITEM_LISTS:
        if node.type_name != "xnat:abstractResource" and list_path != "sharing/share":
            of_type = _concrete(part.get(_XSI_TYPE, ""), node.type_name)
            tree.nested.setdefault(list_path, []).append(_read_item(part, of_type))
        return
    text = (part.text or "").strip()
    if text and kind_of(node):
        _take(tree, f"{here}/{text_name(node)}" if node.many else here, node, text)
    inside = node.nodes
    if node.type_name:
        if data_type(node.type_name) is None:
            return
        of_type = _concrete(part.get(_XSI_TYPE, ""), node.type_name)
        if of_type.name != node.type_name:
            tree.fields[f"{here}/@type"] = of_type.name
        inside = of_type.nodes
    _read(part, inside, f"{here}/", tree)


def _take(tree: ItemTree, path: str, node: Node, text: str) -> None:
    try:
        tree.fields[path] = normal_value(node, text)
    except ValueProblem as problem:
        raise DocumentError(str(problem), 400) from problem


def _concrete(asked: str, declared: str) -> DataType:
    """The type *asked* for in ``xsi:type``, or the declared one."""
    of_type = data_type(asked or declared)
    if of_type is None or not extends(of_type.name, declared):
        raise DocumentError(f"org.xml.sax.SAXException: '{asked or declared}' cannot stand for {declared}")
    return of_type


def _type_of(name: str) -> DataType:
    found = data_type(name)
    if found is None:
        raise DocumentError(f"unknown data type {name!r}")
    return found


# ------------------------------------------------------------------------------------------------- JSON


@dataclass(slots=True)
class _Shown:
    """What is shown of an item: its own fields, and its children."""

    data: dict[str, Any] = field(default_factory=dict)
    children: list[dict[str, Any]] = field(default_factory=list)


def _json_item(tree: ItemTree) -> dict[str, Any]:
    of_type = _type_of(tree.xsi_type)
    shown = _Shown()
    _json_walk(of_type.nodes, _Nest(tree.fields), "", tree, shown)
    return _json_shell(of_type, tree, shown)


def _json_shell(of_type: DataType, tree: ItemTree, shown: _Shown) -> dict[str, Any]:
    """Put the key and the meta data of *tree* around its fields.

    A type without an ``ID`` of its own has a numbered row, named after the type at the end of its bases; a type that
    extends another shows the key twice, the second time in lower case.
    """
    data, key = shown.data, f"xnat_{of_type.root.partition(':')[2]}_id"
    if _has_own_key(of_type):
        if of_type.base and "ID" in data:
            data["id"] = data["ID"]
    else:
        data[key] = tree.key
        if of_type.base:
            data[key.lower()] = tree.key
    return {"children": shown.children, "meta": _meta(tree, of_type.name), "data_fields": data}


def _meta(tree: ItemTree, type_name: str) -> dict[str, Any]:
    return {
        "create_event_id": tree.key,
        "xsi:type": type_name,
        "isHistory": False,
        "start_date": _java_date(tree.started),
    }


def _has_own_key(of_type: DataType) -> bool:
    """Whether the type is known by an ``ID`` of its own, not by a number of its row."""
    return any(node.key and node.name == "ID" for node in of_type.nodes)


def _json_walk(nodes: tuple[Node, ...], nest: _Nest, above: str, tree: ItemTree, shown: _Shown) -> None:
    for node in nodes:
        path = above + node.name
        below: list[dict[str, Any]] = []
        if path in tree.nested:
            below = [_json_nested(node, path, one) for one in tree.nested[path]]
        elif node.many:
            below = [_json_member(node, path, *one, tree) for one in nest.members(node.name)]
        elif node.type_name:
            below = [_json_content(node, nest[node.name], tree)] if node.name in nest else []
        else:
            inside = nest.get(node.name, _Nest())
            if inside.value:
                shown.data[path] = _json_value(node.kind, inside.value)
            _json_walk(node.nodes, inside, f"{path}/", tree, shown)
        if below:
            shown.children.append({"field": path, "items": below})


def _json_nested(node: Node, path: str, tree: ItemTree) -> dict[str, Any]:
    """An item below another; one whose type has no name in the schema, as shares of an experiment, by its node."""
    return _json_item(tree) if node.type_name else _json_member(node, path, "", _Nest(tree.fields), tree)


def _json_content(node: Node, nest: _Nest, tree: ItemTree) -> dict[str, Any]:
    """A named content as a child item."""
    of_type = _content_type(node, nest)
    inner = ItemTree(of_type.name, key=tree.key, started=tree.started)
    shown = _Shown()
    _json_walk(of_type.nodes, nest, "", inner, shown)
    return _json_shell(of_type, inner, shown)


def _json_member(node: Node, path: str, bracket: str, nest: _Nest, tree: ItemTree) -> dict[str, Any]:
    """An element of a list as a child item."""
    if node.type_name and not kind_of(node):
        return _json_content(node, nest, tree)
    data: dict[str, Any] = {}
    if bracket.startswith("name="):
        data["name"] = bracket.partition("=")[2]
    for step, inside in nest.items():
        kind = kind_of(node) if step == text_name(node) else "string"
        data[step] = _json_value(kind, inside.value)
    local = node.type_name.partition(":")[2] or f"{node.declared_in.partition(':')[2]}_{path.rpartition('/')[2]}"
    data[f"xnat_{local}_id"] = tree.key
    return {"children": [], "meta": _meta(tree, f"xnat:{local}"), "data_fields": data}


def _json_value(kind: str, text: str) -> Any:
    if kind == "integer":
        return int(text)
    if kind == "float":
        number = float(text)
        return int(number) if number.is_integer() and abs(number) < 1e15 else number
    return text


def _content_type(node: Node, nest: _Nest) -> DataType:
    """The concrete type of a named content: as stored, else the first that is not abstract and has what is there."""
    stored = nest.get("@type")
    if stored is not None:
        return _type_of(stored.value)
    return _type_of(node.type_name)


def _java_date(stamp: str) -> str:
    """``2024-01-02 03:04:05.678`` as Java's ``Date.toString`` writes it."""
    try:
        return datetime.fromisoformat(stamp).strftime("%a %b %d %H:%M:%S UTC %Y")
    except ValueError:
        return stamp


# ------------------------------------------------------------------------------------------------- XML


def _fill_xml(element: Element, of_type: DataType, tree: ItemTree) -> None:
    if not _has_own_key(of_type):
        _hidden(element, of_type, tree.key)
    _xml_walk(element, of_type.nodes, _Nest(tree.fields), "", tree)


def _hidden(element: Element, of_type: DataType, key: int) -> None:
    element.append(Comment(f'hidden_fields[xnat_{of_type.root.partition(":")[2]}_id="{key}"]'))


def _xml_walk(element: Element, nodes: tuple[Node, ...], nest: _Nest, above: str, tree: ItemTree) -> None:
    for node in nodes:
        path = above + node.name
        if node.attribute:
            if node.name in nest and nest[node.name].value:
                element.set(node.name, nest[node.name].value)
        elif path in tree.nested:
            for one in tree.nested[path]:
                _xml_nested(SubElement(element, f"xnat:{node.name}"), node, one)
        elif node.many:
            for bracket, inside in nest.members(node.name):
                part = SubElement(element, f"xnat:{node.name}")
                if bracket.startswith("name="):
                    part.set("name", bracket.partition("=")[2])
                text = inside.get(text_name(node))
                if text is not None and text.value:
                    # XNAT writes the row's number between: pyxnat's get_params takes the second text of each.
                    number = Comment(
                        f'hidden_fields[xnat_{tree.xsi_type.partition(":")[2]}_{node.name}_id="{tree.key}"]'
                    )
                    number.tail = text.value
                    part.text = "\n"
                    part.append(number)
                _xml_content(part, node, inside, tree)
        elif node.name in nest or any(name.startswith(f"{path}/") for name in tree.nested):
            inside = nest.get(node.name, _Nest())
            part = SubElement(element, f"xnat:{node.name}")
            part.text = inside.value or None
            if node.type_name:
                _xml_content(part, node, inside, tree)
            else:
                _xml_walk(part, node.nodes, inside, f"{path}/", tree)


def _xml_content(part: Element, node: Node, nest: _Nest, tree: ItemTree) -> None:
    """Fill *part* with a content of its own type."""
    if not node.type_name:
        _xml_walk(part, node.nodes, nest, "", ItemTree(tree.xsi_type, key=tree.key))
        return
    of_type = _content_type(node, nest)
    if of_type.name != node.type_name:
        part.set("xsi:type", of_type.name)
    _xml_walk(part, of_type.nodes, nest, "", ItemTree(of_type.name, key=tree.key))


def _xml_nested(part: Element, node: Node, tree: ItemTree) -> None:
    if not node.type_name:  # a type without a name in the schema, as the shares of an experiment
        _xml_walk(part, node.nodes, _Nest(tree.fields), "", tree)
        return
    of_type = _type_of(tree.xsi_type)
    if of_type.name != node.type_name:
        part.set("xsi:type", of_type.name)
    _fill_xml(part, of_type, tree)
