"""What the files of a download are called inside its archive (``RestFileUtils``, xnat-rest.md 8.8)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from xnatferry.server import objects
from xnatferry.server.objects import Level

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Sequence

    from xnatferry.server.objects import Item
    from xnatferry.server.request_scope import Query
    from xnatferry.server.resource_paths import ContainerResources
    from xnatferry.server.resources import StoredFile


def archive_name(connection: sqlite3.Connection, item: Item) -> str:
    """File name of an archive with files of *item*, without its ending: label of the session, subject or project."""
    return _owner(connection, item).label


def member_names(
    connection: sqlite3.Connection, query: Query, found: Sequence[tuple[ContainerResources, StoredFile]]
) -> list[str]:
    """The path in the archive of every file, each one only once.

    ``structure=`` chooses: by default ``SESSION/scans/1-T1w/resources/NIFTI/files/PATH``; ``simplified`` leaves out
    ``resources`` and ``files``; ``improved`` starts with the category; ``legacy`` shows the folders of the server.
    ``projectIncludedInPath`` and ``subjectIncludedInPath`` put these in front.
    """
    style = _STYLES.get(query.get("structure").lower(), _default)
    everything = query.is_true("all")
    prefixes: dict[int, str] = {}
    names: list[str] = []
    taken: set[str] = set()
    for one, file in found:
        key = one.resource.id
        if key not in prefixes:
            front = _front(connection, query, one.item)
            prefixes[key] = front + style(connection, one, everything)
        name = f"{prefixes[key]}/{file.name}"
        if name in taken:  # two resources without label, or one of the looser structures
            name = f"{prefixes[key]}/{key}/{file.name}"
        taken.add(name)
        names.append(name)
    return names


def _default(connection: sqlite3.Connection, one: ContainerResources, everything: bool) -> str:  # noqa: FBT001  the shape of a style
    return f"{_path(connection, one, bare=everything)}/resources/{_label(one)}/files"


def _simplified(connection: sqlite3.Connection, one: ContainerResources, everything: bool) -> str:  # noqa: ARG001, FBT001  as above
    return f"{_path(connection, one, bare=True)}/{_label(one)}"


def _improved(connection: sqlite3.Connection, one: ContainerResources, everything: bool) -> str:  # noqa: ARG001, FBT001  as above
    item = one.item
    if item.level in {Level.SCAN, Level.ASSESSOR, Level.RECONSTRUCTION}:
        kind = item.fields.get("type", "") if item.level is Level.SCAN else item.label
        return f"{item.level}s/{item.id}_{_plain(kind)}/{_label(one)}"
    return f"resources/{_label(one)}"


def _legacy(connection: sqlite3.Connection, one: ContainerResources, everything: bool) -> str:  # noqa: ARG001, FBT001  as above
    _, session, below = one.folder.partition("/arc001/")
    return below if session else one.folder.partition("/")[2]


_STYLES: dict[str, Callable[[sqlite3.Connection, ContainerResources, bool], str]] = {
    "simplified": _simplified,
    "improved": _improved,
    "legacy": _legacy,
}


def _path(connection: sqlite3.Connection, one: ContainerResources, *, bare: bool) -> str:
    """``SESSION``, ``SESSION/scans/1-T1w``, ``SUBJECT`` or ``PROJECT``; *bare* leaves the type of a scan out."""
    item = one.item
    owner = _owner(connection, item)
    if owner is item:
        return item.label
    below = item.id
    if item.level is Level.SCAN and item.fields.get("type") and not bare:
        below += "-" + _plain(item.fields["type"])
    direction = f"/{one.resource.direction}" if one.resource.direction else ""
    return f"{owner.label}/{item.level}s/{below.replace('/', '_')}{direction}"


def _owner(connection: sqlite3.Connection, item: Item) -> Item:
    """The session of an item in one; else the item itself."""
    if item.level in {Level.SCAN, Level.ASSESSOR, Level.RECONSTRUCTION}:
        return objects.by_key(connection, item.parent_key)
    return item


def _front(connection: sqlite3.Connection, query: Query, item: Item) -> str:
    front = f"{item.project}/" if query.is_true("projectIncludedInPath") else ""
    if query.is_true("subjectIncludedInPath"):
        above = item
        while above.level not in {Level.SUBJECT, Level.PROJECT}:
            above = objects.by_key(connection, above.parent_key)
        front += f"{above.label}/" if above.level is Level.SUBJECT else ""
    return front


def _label(one: ContainerResources) -> str:
    return one.resource.label or str(one.resource.id)


def _plain(text: str) -> str:
    return re.sub(r"\W", "_", text)
