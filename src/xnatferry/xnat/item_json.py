"""The item JSON (``{"items": [...]}``) as XNAT writes it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from xnatferry.xnat.datatypes import DataType, Node, kind_of, text_name
from xnatferry.xnat.items import ItemTree, Nest, content_type, has_own_key, type_of


def encode_item_json(tree: ItemTree) -> str:
    """Write *tree* as XNAT's item JSON, its earlier forms (``includeHistory``) after it."""
    items = [_json_item(tree)]
    for fields, began, ended in tree.past:
        past = _json_item(ItemTree(tree.xsi_type, dict(fields), key=tree.key, started=began))
        past["children"] = []
        past["meta"] |= {"isHistory": True, "end_date": _java_date(ended), "modified_event_id": tree.key}
        items.append(past)
    return json.dumps({"items": items}, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")


@dataclass(slots=True)
class _Shown:
    """What is shown of an item: its own fields, and its children."""

    data: dict[str, Any] = field(default_factory=dict)
    children: list[dict[str, Any]] = field(default_factory=list)


def _json_item(tree: ItemTree) -> dict[str, Any]:
    of_type = type_of(tree.xsi_type)
    shown = _Shown()
    _json_walk(of_type.nodes, Nest(tree.fields), "", tree, shown)
    return _json_shell(of_type, tree, shown)


def _json_shell(of_type: DataType, tree: ItemTree, shown: _Shown) -> dict[str, Any]:
    """Put the key and the meta data of *tree* around its fields.

    A type without an ``ID`` of its own has a numbered row, named after the type at the end of its bases; a type that
    extends another shows the key twice, the second time in lower case.
    """
    data, key = shown.data, f"xnat_{of_type.root.partition(':')[2]}_id"
    if has_own_key(of_type):
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


def _json_walk(nodes: tuple[Node, ...], nest: Nest, above: str, tree: ItemTree, shown: _Shown) -> None:
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
            inside = nest.get(node.name, Nest())
            if inside.value:
                shown.data[path] = _json_value(node.kind, inside.value)
            _json_walk(node.nodes, inside, f"{path}/", tree, shown)
        if below:
            shown.children.append({"field": path, "items": below})


def _json_nested(node: Node, path: str, tree: ItemTree) -> dict[str, Any]:
    """An item below another; one whose type has no name in the schema, as shares of an experiment, by its node."""
    return _json_item(tree) if node.type_name else _json_member(node, path, "", Nest(tree.fields), tree)


def _json_content(node: Node, nest: Nest, tree: ItemTree) -> dict[str, Any]:
    """A named content as a child item."""
    of_type = content_type(node, nest)
    inner = ItemTree(of_type.name, key=tree.key, started=tree.started)
    shown = _Shown()
    _json_walk(of_type.nodes, nest, "", inner, shown)
    return _json_shell(of_type, inner, shown)


def _json_member(node: Node, path: str, bracket: str, nest: Nest, tree: ItemTree) -> dict[str, Any]:
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
    if kind == "boolean":
        return {"1": "true", "0": "false"}.get(text, text)
    return text


def _java_date(stamp: str) -> str:
    """``2024-01-02 03:04:05.678`` as Java's ``Date.toString`` writes it."""
    try:
        return datetime.fromisoformat(stamp).strftime("%a %b %d %H:%M:%S UTC %Y")
    except ValueError:
        return stamp
