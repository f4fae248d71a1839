"""XNAT's data types, read from its own schema document: what fields a type has, in which order, and what they may hold.

``schemas/xnat.xsd`` is the document that XNAT servers publish. A *path* names a field below a type, with ``/``:
``date``, ``demographics/gender``, ``parameters/voxelRes/x``, ``fields/field[name=site]/field``. Paths are found in any
case and returned in the schema's own spelling. A list element carries ``[name=...]`` or its position, from ``[1]``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from xnatferry.xnat.xml import read_xml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from xml.etree.ElementTree import Element

_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_XDAT: Final = "{http://nrg.wustl.edu/xdat}"
_KINDS: Final = {
    "xs:string": "string",
    "xs:anyURI": "string",
    "xs:duration": "string",
    "xs:integer": "integer",
    "xs:int": "integer",
    "xs:long": "integer",
    "xs:float": "float",
    "xs:double": "float",
    "xs:boolean": "boolean",
    "xs:date": "date",
    "xs:time": "time",
    "xs:dateTime": "datetime",
}
#: XNAT's length of a text field whose schema gives none (``GenericWrapperField.DEFAULT_STRING_SIZE``).
_TEXT_LIMIT: Final = 255
_STEP: Final = re.compile(r"([^\[\]]+)((?:\[[^\]]*\])*)")


@dataclass(frozen=True, slots=True)
class Node:
    """An element or attribute of a type.

    Attributes:
        name: Its name.
        kind: What its text is: ``string``, ``integer``, ``float``, ``boolean``, ``date``, ``time``, ``datetime``,
            ``json``; "" when it holds none of its own.
        attribute: Whether it is an attribute of the element above it.
        many: Whether it may occur more than once.
        type_name: The named type of its content, ``xnat:abstractDemographicData``; "" for simple and unnamed ones.
        declared_in: The data type whose schema declares it.
        path: Where it is below that type: ``parameters/tr``.
        values: The texts that are allowed, when they are listed.
        limit: Longest text, in characters.
        key: Whether it is the primary key of its type.
        required: Whether the schema demands it.
        nodes: What an unnamed content holds.
    """

    name: str
    kind: str = ""
    attribute: bool = False
    many: bool = False
    type_name: str = ""
    declared_in: str = ""
    path: str = ""
    values: tuple[str, ...] = ()
    limit: int = _TEXT_LIMIT
    key: bool = False
    required: bool = False
    nodes: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True)
class DataType:
    """A data type.

    Attributes:
        name: ``xnat:mrSessionData``.
        base: The type it extends, "" for none.
        element: Name of its document element, ``MRSession``; "" when it has none.
        abstract: Whether only types that extend it have items.
        kind: What its own text is, as of a node; "" when it has none.
        nodes: Its attributes and elements, inherited ones first.
        description: What its schema says of it.
    """

    name: str
    base: str
    element: str
    abstract: bool
    kind: str
    nodes: tuple[Node, ...]
    description: str = ""

    @property
    def root(self) -> str:
        """The type at the end of the chain of bases, whose table holds the key."""
        return data_types()[self.base].root if self.base else self.name


@dataclass(frozen=True, slots=True)
class Resolved:
    """A path as the schema spells it.

    Attributes:
        path: The path.
        node: The field it leads to.
        types: Concrete types that the path asks for, by the path of the element they belong to.
    """

    path: str
    node: Node
    types: Mapping[str, str]


@cache
def schema_bytes(name: str) -> bytes:
    """The schema document *name* (``xnat`` or ``xdat``) as XNAT serves it.

    Raises:
        LookupError: There is no such document.
    """
    if name not in {"xnat", "xdat"}:
        raise LookupError(f"no schema {name!r}")
    return files("xnatferry.xnat").joinpath("schemas", f"{name}.xsd").read_bytes()


@cache
def data_types() -> dict[str, DataType]:
    """Every data type of the schema, by name."""
    schema = read_xml(schema_bytes("xnat"))
    elements = {
        element.get("type", ""): element.get("name", "")
        for element in reversed(schema.findall(f"{_XS}element"))
        if element.get("type")
    }
    declared = {f"xnat:{one.get('name')}": one for one in schema.findall(f"{_XS}complexType")}
    found: dict[str, DataType] = {}

    def build(name: str) -> DataType:
        if name not in found:
            definition = declared[name]
            extension = definition.find(f"{_XS}complexContent/{_XS}extension")
            base = extension.get("base", "") if extension is not None else ""
            inherited = build(base).nodes if base in declared else ()
            own = tuple(_content(definition if extension is None else extension, name))
            marked = definition.find(f"{_XS}annotation/{_XS}appinfo/{_XDAT}element")
            abstract = marked is not None and marked.get("abstract") == "true"
            simple = definition.find(f"{_XS}simpleContent/{_XS}extension")
            kind = _KINDS.get(simple.get("base", ""), "string") if simple is not None else ""
            base = base if base in declared else ""
            about = " ".join(definition.findtext(f"{_XS}annotation/{_XS}documentation", "").split())
            found[name] = DataType(name, base, elements.get(name, ""), abstract, kind, (*inherited, *own), about)
        return found[name]

    for name in declared:
        build(name)
    return found


def type_names() -> list[str]:
    """Names of all data types, sorted."""
    return sorted(data_types())


def data_type(name: str) -> DataType | None:
    """The data type *name*, in any case; None when there is none."""
    exact = data_types().get(name)
    return exact or data_types().get(_spellings().get(name.lower(), ""))


@cache
def _spellings() -> dict[str, str]:
    return {name.lower(): name for name in data_types()}


def of_element(name: str) -> DataType | None:
    """The data type whose document element is *name* (without prefix), or that is itself called so."""
    for one in data_types().values():
        if one.element == name:
            return one
    return data_types().get(f"xnat:{name}")


@lru_cache(maxsize=4096)
def extends(name: str, ancestor: str) -> bool:
    """Whether the type *name* is *ancestor* or extends it, directly or not."""
    one = data_type(name)
    while one is not None:
        if one.name.lower() == ancestor.lower():
            return True
        one = data_types().get(one.base)
    return False


def split_path(path: str) -> list[tuple[str, list[str]]]:
    """The steps of *path*: each a name and what stands in its brackets.

    >>> split_path("fields/field[name=site]/field")
    [('fields', []), ('field', ['name=site']), ('field', [])]
    """
    steps = []
    for piece in re.split(r"/(?![^\[]*\])", path.strip("/")):
        found = _STEP.fullmatch(piece)
        if found is None:
            return []
        steps.append((found[1], re.findall(r"\[([^\]]*)\]", found[2])))
    return steps


def text_name(node: Node) -> str:
    """What the text of a list element is called in paths: as its named type (``addField``), else as the element."""
    return node.type_name.partition(":")[2] or node.name


def kind_of(node: Node) -> str:
    """What the text of *node* is, its named type included; "" when it holds none of its own."""
    named = data_types().get(node.type_name)
    return node.kind or (named.kind if named else "")


def is_foreign(node: Node) -> bool:
    """Whether *node* holds what another schema describes, of which nothing is kept: the ``provenance`` of results."""
    return bool(node.type_name) and data_type(node.type_name) is None


@lru_cache(maxsize=4096)
def resolve(type_name: str, path: str) -> Resolved | None:
    """Find *path* below the data type *type_name*; None when the schema has no such field.

    ``demographics[@xsi:type=xnat:demographicData]/gender`` looks in that type; where a type is abstract and none
    is named, all types that extend it are looked through.
    """
    one = data_type(type_name)
    if one is None:
        return None
    steps = split_path(path)
    return _resolve(one.nodes, steps, "", {}) if steps else None


def _resolve(
    nodes: tuple[Node, ...], steps: list[tuple[str, list[str]]], above: str, types: dict[str, str]
) -> Resolved | None:
    (name, brackets), rest = steps[0], steps[1:]
    node = next((one for one in nodes if one.name == name), None) or next(
        (one for one in nodes if one.name.lower() == name.lower()), None
    )
    if node is None:
        return None
    here = above + node.name + (_position(brackets) if node.many else "")
    kind = kind_of(node)
    if node.many and kind and (not rest or (len(rest) == 1 and rest[0][0].lower() == text_name(node).lower())):
        return Resolved(f"{here}/{text_name(node)}", node, types)
    if not rest:
        return Resolved(here, node, types) if kind else None
    asked = next((one.partition("=")[2].strip("'\"") for one in brackets if one.startswith("@xsi:type")), "")
    for candidate in _candidates(node, asked):
        inside = data_types()[candidate].nodes if candidate else node.nodes
        chosen = {**types, here: candidate} if candidate else types
        if found := _resolve(inside, rest, here + "/", chosen):
            return found
    return None


def _candidates(node: Node, asked: str) -> Iterator[str]:
    """The types whose fields may stand in *node*: the one asked for, else its own, else those that extend it."""
    if not node.type_name:
        yield ""
    elif asked:
        concrete = data_type(asked)
        if concrete is not None and extends(concrete.name, node.type_name):
            yield concrete.name
    elif node.type_name in data_types():
        yield node.type_name
        for name in data_types():
            if name != node.type_name and extends(name, node.type_name):
                yield name


def _position(brackets: list[str]) -> str:
    for one in brackets:
        key, equals, value = one.partition("=")
        if equals and key.strip() == "name":
            return f"[name={value.strip().strip(chr(39) + chr(34))}]"
        if one.strip().isdigit():
            return f"[{int(one)}]"
    return "[1]"


def _content(definition: Element, declared_in: str, above: str = "") -> Iterator[Node]:
    """The attributes and elements of a complex type, or of the extension in one; *above* is where it is."""
    for group in definition.findall(f"{_XS}simpleContent/{_XS}extension"):
        yield from _content(group, declared_in, above)
    for attribute in definition.findall(f"{_XS}attribute"):
        yield _node(attribute, declared_in, above, attribute=True, many=False)
    for part in definition:
        if part.tag in {f"{_XS}sequence", f"{_XS}choice", f"{_XS}all"}:
            yield from _elements(part, declared_in, above)


def _elements(group: Element, declared_in: str, above: str) -> Iterator[Node]:
    many = group.get("maxOccurs", "1") != "1"
    for part in group:
        if part.tag == f"{_XS}element":
            yield _node(part, declared_in, above, attribute=False, many=many or part.get("maxOccurs", "1") != "1")
        elif part.tag in {f"{_XS}sequence", f"{_XS}choice"}:
            yield from _elements(part, declared_in, above)


def _node(part: Element, declared_in: str, above: str, *, attribute: bool, many: bool) -> Node:
    name, named = part.get("name", ""), part.get("type", "xs:string" if attribute else "")
    path = above + name
    required = part.get("use") == "required" if attribute else part.get("minOccurs") != "0"
    if named and named not in _KINDS:
        return Node(name, attribute=attribute, many=many, type_name=named, declared_in=declared_in, path=path)
    kind, limit = _KINDS.get(named, ""), _TEXT_LIMIT
    values: tuple[str, ...] = ()
    nodes: tuple[Node, ...] = ()
    restriction = part.find(f"{_XS}simpleType/{_XS}restriction")
    if restriction is not None:
        kind = _KINDS[restriction.get("base", "xs:string")]
        values = tuple(one.get("value", "") for one in restriction.findall(f"{_XS}enumeration"))
        longest = restriction.find(f"{_XS}maxLength")
        limit = int(longest.get("value", limit)) if longest is not None else limit
    inline = part.find(f"{_XS}complexType")
    if inline is not None:
        nodes = tuple(_content(inline, declared_in, f"{path}/"))
        simple = inline.find(f"{_XS}simpleContent/{_XS}extension")
        kind = _KINDS.get(simple.get("base", ""), "string") if simple is not None else kind
    stored = part.find(f"{_XS}annotation/{_XS}appinfo/{_XDAT}field/{_XDAT}sqlField")
    key = stored is not None and stored.get("primaryKey") == "true"
    kind = "json" if stored is not None and stored.get("type") == "jsonb" else kind
    return Node(name, kind, attribute, many, "", declared_in, path, values, limit, key, required, nodes)
