"""Items as XML documents of the xnat namespace, as XNAT writes and reads them."""

from __future__ import annotations

import re
from typing import Final
from xml.etree.ElementTree import Comment, Element, SubElement, tostring

from xnatferry.xnat.datatypes import DataType, Node, data_type, extends, is_foreign, kind_of, of_element, text_name
from xnatferry.xnat.items import DocumentError, ItemTree, Nest, content_type, has_own_key, type_of
from xnatferry.xnat.values import ValueProblem, normal_value
from xnatferry.xnat.xml import DoctypeError, XmlError, read_xml

_XNAT_NS: Final = "http://nrg.wustl.edu/xnat"
_XSI_NS: Final = "http://www.w3.org/2001/XMLSchema-instance"
_XSI_TYPE: Final = f"{{{_XSI_NS}}}type"
_DEEPEST: Final = 40
#: Lists whose members are items with rows and addresses of their own.
_ITEM_LISTS: Final = {
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


def encode_item_xml(tree: ItemTree, site_url: str = "") -> bytes:
    """Write *tree* as an XML document; *site_url* goes into the schema location."""
    of_type = type_of(tree.xsi_type)
    root = Element(f"xnat:{of_type.element or of_type.name.partition(':')[2]}")
    root.set("xmlns:xnat", _XNAT_NS)
    root.set("xmlns:xsi", _XSI_NS)
    root.set("xsi:schemaLocation", f"{_XNAT_NS} {site_url}/schemas/xnat/xnat.xsd")
    _fill_xml(root, of_type, tree)
    written: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + written


def _fill_xml(element: Element, of_type: DataType, tree: ItemTree) -> None:
    if not has_own_key(of_type):
        _hidden(element, of_type, tree.key)
    _xml_walk(element, of_type.nodes, Nest(tree.fields), "", tree)


def _hidden(element: Element, of_type: DataType, key: int) -> None:
    element.append(Comment(f'hidden_fields[xnat_{of_type.root.partition(":")[2]}_id="{key}"]'))


def _xml_walk(element: Element, nodes: tuple[Node, ...], nest: Nest, above: str, tree: ItemTree) -> None:
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
            inside = nest.get(node.name, Nest())
            part = SubElement(element, f"xnat:{node.name}")
            part.text = inside.value or None
            if node.type_name:
                _xml_content(part, node, inside, tree)
            else:
                _xml_walk(part, node.nodes, inside, f"{path}/", tree)


def _xml_content(part: Element, node: Node, nest: Nest, tree: ItemTree) -> None:
    """Fill *part* with a content of its own type."""
    if not node.type_name:
        _xml_walk(part, node.nodes, nest, "", ItemTree(tree.xsi_type, key=tree.key))
        return
    of_type = content_type(node, nest)
    if of_type.name != node.type_name:
        part.set("xsi:type", of_type.name)
    _xml_walk(part, of_type.nodes, nest, "", ItemTree(of_type.name, key=tree.key))


def _xml_nested(part: Element, node: Node, tree: ItemTree) -> None:
    if not node.type_name:  # a type without a name in the schema, as the shares of an experiment
        _xml_walk(part, node.nodes, Nest(tree.fields), "", tree)
        return
    of_type = type_of(tree.xsi_type)
    if of_type.name != node.type_name:
        part.set("xsi:type", of_type.name)
    _fill_xml(part, of_type, tree)


def decode_item_xml(data: bytes) -> ItemTree:
    """Read an XML document: an item with nested scans, assessors and so on. Entries of resources are passed over.

    Raises:
        DocumentError: It is not well-formed, has a DOCTYPE, names an element that the schema does not know, or holds
            a value that its field may not have, or provenance, which the archive does not keep.
    """
    try:
        root = read_xml(data)
    except DoctypeError as error:
        raise DocumentError(str(error)) from error
    except XmlError as error:
        raise DocumentError(f"An error occurred parsing the XML: {error}") from error
    namespace, _, local = root.tag.rpartition("}")
    of_type = of_element(local) if namespace in {f"{{{_XNAT_NS}", ""} else None
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
        if node is None:  # what the schema calls an attribute may come as an element (recorded)
            raise DocumentError(f"org.xml.sax.SAXException: Invalid field '{local}'")
        counts[local] = counts.get(local, 0) + 1
        bracket = f"[name={part.get('name')}]" if part.get("name") else f"[{counts[local]}]"
        _read_part(part, node, above + local + (bracket if node.many else ""), tree)


def _read_part(part: Element, node: Node, here: str, tree: ItemTree) -> None:
    list_path = re.sub(r"\[[^\]]*\]", "", here)
    if list_path in _ITEM_LISTS:
        if node.type_name != "xnat:abstractResource" and list_path != "sharing/share":
            of_type = _concrete(part.get(_XSI_TYPE, ""), node.type_name)
            tree.nested.setdefault(list_path, []).append(_read_item(part, of_type))
        return
    text = (part.text or "").strip()
    if text and kind_of(node):
        _take(tree, f"{here}/{text_name(node)}" if node.many else here, node, text)
    inside = node.nodes
    if node.type_name:
        if is_foreign(node):
            if text or part.attrib or len(part):
                named = f"'{here}' is of the schema {node.type_name}"
                raise DocumentError(f"{named}, of which the archive keeps nothing")
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
