"""A whole item as a tree: its fields by their paths, and the items that hang on it.

Shapes recorded from a genuine server. What the schema flattens is flat here too: an unnamed content such as
``parameters/voxelRes/x`` is a field of its item, while a named one (``demographics``, ``PI``), a list element
(``fields/field``) and another item (``scans/scan``) are children.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.xnat.datatypes import DataType, Node, data_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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


class Nest(dict[str, "Nest"]):
    """Fields by their steps; ``value`` is the text that ends here."""

    __slots__ = ("value",)

    def __init__(self, fields: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self.value = ""
        for path, text in (fields or {}).items():
            here = self
            for step in re.split(r"/(?![^\[]*\])", path):
                here = here.setdefault(step, Nest())
            here.value = text

    def members(self, name: str) -> list[tuple[str, Nest]]:
        """The list elements called *name*: what stands in their brackets, and what they hold.

        Numbered ones by number, named ones in the order in which they were made.
        """
        found = [(step[len(name) + 1 : -1], nest) for step, nest in self.items() if step.startswith(f"{name}[")]
        return sorted(found, key=lambda one: int(one[0]) if one[0].isdigit() else 0)


def type_of(name: str) -> DataType:
    """The data type called *name*, which the archive itself has stored."""
    found = data_type(name)
    if found is None:
        raise DocumentError(f"unknown data type {name!r}")
    return found


def has_own_key(of_type: DataType) -> bool:
    """Whether the type is known by an ``ID`` of its own, not by a number of its row."""
    return any(node.key and node.name == "ID" for node in of_type.nodes)


def content_type(node: Node, nest: Nest) -> DataType:
    """The type of a named content: the concrete one stored with it, else the declared one."""
    stored = nest.get("@type")
    if stored is not None:
        return type_of(stored.value)
    return type_of(node.type_name)
