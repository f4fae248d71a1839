"""What a field path of a listing leads to: the item of the row, what it belongs to, or lists below it.

``xnat:subjectData/experiments/experiment[@xsi:type=xnat:imageSessionData]/scans/scan/file/label`` passes through three
lists. Each list is read for all rows together and joined downwards: a row becomes one row for every element, and stays
one row with empty cells where there is none (``QueryOrganizer.buildJoin``).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from xnatferry.server import objects, resources
from xnatferry.server.database import in_groups
from xnatferry.server.objects import Item, Level
from xnatferry.server.resources import Resource
from xnatferry.xnat.datatypes import data_type, extends, resolve, split_path

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Shard:
    """An item's share in another project."""

    project: str
    label: str


@dataclass(frozen=True, slots=True)
class _Element:
    """An element of a list, and the item that it belongs to."""

    thing: Item | Resource | Shard
    above: Item


@dataclass(slots=True)
class Row:
    """One line of a listing.

    Attributes:
        item: The item listed.
        subject: Subject of an experiment.
        session: Session of an assessor, scan or reconstruction.
        label: Label to show, when a share gives another.
        project: Project to show, when it is another than the owner.
        subject_label: Label of the subject to show, when a share gives another.
        joined: Elements of the lists that columns pass through, by the names of these lists.
    """

    item: Item
    subject: Item | None = None
    session: Item | None = None
    label: str = ""
    project: str = ""
    subject_label: str = ""
    joined: Mapping[tuple[str, ...], _Element] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path ends.

    Attributes:
        lists: Names of the lists below the row's item that it passes through.
        types: Type of the elements that it asks for, list by list.
        owner: Type whose field it is.
        path: The field, below *owner*.
        start: Where it begins: ``item``, or the ``subject`` or ``session`` of the item.
    """

    lists: tuple[str, ...]
    types: tuple[str, ...]
    owner: str
    path: str
    start: str = "item"


_RESOURCE: Final = "xnat:abstractResource"
_RESULT: Final = ("xnat:imageAssessorData", "xnat:reconstructedImageData")
#: Lists by their names in lower case: the types that have them, and the type of their elements.
_LISTS: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    "experiments/experiment": (("xnat:subjectData",), "xnat:subjectAssessorData"),
    "scans/scan": (("xnat:imageSessionData",), "xnat:imageScanData"),
    "assessors/assessor": (("xnat:imageSessionData",), "xnat:imageAssessorData"),
    "reconstructions/reconstructedimage": (("xnat:imageSessionData",), "xnat:reconstructedImageData"),
    "resources/resource": (("xnat:projectData", "xnat:subjectData", "xnat:experimentData"), _RESOURCE),
    "file": (("xnat:imageScanData",), _RESOURCE),
    "in/file": (_RESULT, _RESOURCE),
    "out/file": (_RESULT, _RESOURCE),
    "sharing/share": (("xnat:subjectData", "xnat:experimentData"), "xnat:projectParticipant"),
}
_LEVELS: Final = {
    "experiments/experiment": Level.EXPERIMENT,
    "scans/scan": Level.SCAN,
    "assessors/assessor": Level.ASSESSOR,
    "reconstructions/reconstructedimage": Level.RECONSTRUCTION,
}
#: Types that are found below an item by their name alone: ``xnat:mrScanData/type`` of a session.
_BELOW: Final = (
    ("xnat:imageSessionData", "xnat:imageScanData", "scans/scan"),
    ("xnat:imageSessionData", "xnat:imageAssessorData", "assessors/assessor"),
    ("xnat:subjectData", "xnat:subjectAssessorData", "experiments/experiment"),
)
#: Fields that no schema has, or that are columns of a row.
_OWN: Final = frozenset(
    {
        "id",
        "label",
        "project",
        "subject_id",
        "image_session_id",
        "imagesession_id",
        "extension_item/element_name",
        "meta/insert_date",
        "meta/insert_user/login",
        "meta/last_modified",
        "xnat_imagescandata_id",
        "xnat_reconstructedimagedata_id",
        "xnat_abstractresource_id",
    }
)


@lru_cache(maxsize=4096)
def target_of(root: str, path: str) -> Target | None:
    """What the full *path* means in a listing of *root*; None when the schema has no such field, or no way to it."""
    owner, _, rest = path.partition("/")
    of_type = data_type(owner)
    if of_type is None:
        return None
    start = _start(root, of_type.name)
    if start:
        return _followed(Target((), (), of_type.name, rest, start))
    for root_lock, below, name in _BELOW:
        if extends(of_type.name, below) and (extends(root, root_lock) or extends(root_lock, root)):
            return _followed(Target((name,), (of_type.name,), of_type.name, rest))
    return None


def _start(root: str, owner: str) -> str:
    """Which item of a row fields of *owner* are read from; "" for none."""
    if extends(root, owner) or extends(owner, root) or _both(root, owner, "xnat:subjectAssessorData"):
        return "item"
    if extends(owner, "xnat:subjectData") and extends(root, "xnat:experimentData"):
        return "subject" if root != "xnat:experimentData" else ""
    below = any(extends(root, one) for one in (*_RESULT, "xnat:imageScanData"))
    return "session" if below and extends(owner, "xnat:imageSessionData") else ""


def _both(one: str, other: str, base: str) -> bool:
    return extends(one, base) and extends(other, base)


def _followed(target: Target) -> Target | None:
    """*target* with the lists at the beginning of its path taken off, if its path ends in a field."""
    steps = split_path(target.path)
    for count in (1, 2):
        name = "/".join(step for step, _ in steps[:count]).lower()
        holders, element = _LISTS.get(name, ((), ""))
        if len(steps) > count and any(extends(target.owner, root_lock) for root_lock in holders):
            asked = [one.partition("=")[2].strip("'\"") for one in steps[count - 1][1] if one.startswith("@xsi:type")]
            of_type = data_type(asked[0]) if asked else None
            if asked and (of_type is None or not extends(of_type.name, element)):
                return None
            wanted = of_type.name if of_type else element
            return _followed(
                Target(
                    (*target.lists, name),
                    (*target.types, wanted),
                    wanted,
                    _after(target.path, count),
                    target.start,
                )
            )
    known = target.path.lower() in _OWN or resolve(target.owner, target.path) is not None
    return target if known else None


def _after(path: str, count: int) -> str:
    """*path* without its first *count* steps; a ``/`` in brackets separates none."""
    depth = 0
    for at, letter in enumerate(path):
        depth += (letter == "[") - (letter == "]")
        count -= letter == "/" and not depth
        if not count:
            return path[at + 1 :]
    return ""


def join(connection: sqlite3.Connection, rows: Sequence[Row], targets: Iterable[Target]) -> list[Row]:
    """*rows* with the lists that *targets* pass through: one row for every element of each list."""
    asked: dict[tuple[str, ...], set[str]] = {}
    for target in targets:
        for depth in range(1, len(target.lists) + 1):
            asked.setdefault(target.lists[:depth], set()).add(target.types[depth - 1])
    joined = list(rows)
    for lists, types in sorted(asked.items(), key=lambda one: len(one[0])):
        above = [_item_at(row, lists[:-1]) for row in joined]
        found = _elements(connection, lists[-1], {item.key: item for item in above if item is not None})
        wider: list[Row] = []
        for row, item in zip(joined, above, strict=True):
            fitting = [
                replace(row, joined={**row.joined, lists: element})
                for element in (found.get(item.key, ()) if item else ())
                if any(_is_of(element.thing, one) for one in types)
            ]
            wider += fitting or [row]
        joined = wider
    return joined


def _item_at(row: Row, lists: tuple[str, ...]) -> Item | None:
    """The item of *row* that is the element of *lists*; without lists the item of the row."""
    if not lists:
        return row.item
    element = row.joined.get(lists)
    return element.thing if element is not None and isinstance(element.thing, Item) else None


def _is_of(thing: Item | Resource | Shard, type_name: str) -> bool:
    return not isinstance(thing, Item) or extends(thing.xsi_type, type_name)


def _elements(connection: sqlite3.Connection, name: str, above: Mapping[int, Item]) -> dict[int, list[_Element]]:
    """The elements of the list *name* of each of the items *above*, by the keys of these."""
    found: dict[int, list[_Element]] = {}
    for key, thing in _things(connection, name, above):
        found.setdefault(key, []).append(_Element(thing, above[key]))
    return found


def _things(
    connection: sqlite3.Connection, name: str, keys: Iterable[int]
) -> Iterator[tuple[int, Item | Resource | Shard]]:
    if name in _LEVELS:
        for item in _children(connection, keys, _LEVELS[name]):
            yield item.parent_key or 0, item
    elif name == "sharing/share":
        yield from _shares(connection, keys)
    else:
        direction = name.partition("/")[0] if name.startswith(("in/", "out/")) else ""
        for resource in resources.resources_of(connection, keys):
            if resource.direction == direction:
                yield resource.item_key, resource


def _children(connection: sqlite3.Connection, parents: Iterable[int], level: Level) -> Iterator[Item]:
    """The items of *level* directly below any of *parents*, in the order they were made below each group of these."""
    for group, marks in in_groups(parents):
        rows = connection.execute(
            f"SELECT * FROM items WHERE parent_key IN ({marks}) AND level = ? ORDER BY key",  # noqa: S608  our own words
            (*group, level),
        )
        yield from map(objects.item_of, rows)


def _shares(connection: sqlite3.Connection, keys: Iterable[int]) -> Iterator[tuple[int, Shard]]:
    """Every share of the items with *keys*, after the key of its item."""
    for group, marks in in_groups(keys):
        rows = connection.execute(
            f"SELECT item_key, project, label FROM shares WHERE item_key IN ({marks}) ORDER BY project",  # noqa: S608  our own words
            group,
        )
        yield from ((row["item_key"], Shard(row["project"], row["label"])) for row in rows)


def value_of(row: Row, path: str) -> str:
    """The field at the full *path* (``xnat:subjectData/label``) of what it leads to from *row*; "" for none."""
    target = target_of(row.item.xsi_type, path)
    return value_at(row, target) if target is not None else ""


def value_at(row: Row, target: Target) -> str:
    """The field that *target* means in *row*; "" where there is none."""
    if target.lists:
        element = row.joined.get(target.lists)
        return _field_of(element, target) if element is not None else ""
    item = {"item": row.item, "subject": row.subject, "session": row.session}[target.start]
    if item is None or not extends(item.xsi_type, target.owner):
        return ""
    if item is row.item and row.project and target.path.lower() == "project":
        return row.project
    shown = {id(row.item): row.label, id(row.subject): row.subject_label}
    label = shown.get(id(item)) or item.label
    return _field(item, label, target.path, row.session if row.session and item is row.item else row.subject)


def _field_of(element: _Element, target: Target) -> str:
    thing = element.thing
    if isinstance(thing, Item):
        return _field(thing, thing.label, target.path, element.above) if _is_of(thing, target.owner) else ""
    name = target.path.lower()
    if isinstance(thing, Shard):
        return getattr(thing, name, "")
    name = "id" if name == "xnat_abstractresource_id" else name
    value = getattr(thing, name, None) if name in Resource.__dataclass_fields__ else None
    return "" if value is None else str(value)


def _field(item: Item, label: str, path: str, above: Item | None) -> str:
    """The field *path* of *item*, which is shown as *label* and belongs to *above*."""
    owner = above.id if above is not None else ""
    own = {
        "id": item.id,
        "label": label,
        "project": item.project,
        "extension_item/element_name": item.xsi_type,
        "meta/insert_date": item.inserted,
        "meta/insert_user/login": item.inserted_by,
        "meta/last_modified": item.modified,
        "subject_id": owner,
        "image_session_id": owner,
        "imagesession_id": owner,
        "xnat_imagescandata_id": str(item.key),
        "xnat_reconstructedimagedata_id": str(item.key),
    }
    if path.lower() in own:
        return own[path.lower()]
    resolved = resolve(item.xsi_type, path)
    return item.fields.get(resolved.path, "") if resolved else ""
