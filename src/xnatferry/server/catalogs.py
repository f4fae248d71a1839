"""Resources and files as XNAT shows them: the two listings, the catalog document, and the refresh of catalogs.

The documents are made from the database on request; none is stored on disk.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from enum import Flag, auto
from typing import TYPE_CHECKING, Final

from xnatferry.server import objects, resources
from xnatferry.server.element_security import STOCK
from xnatferry.server.objects import Level
from xnatferry.server.resources import StoredFile
from xnatferry.xnat.catalog import Catalog, CatalogEntry
from xnatferry.xnat.digest import digest_of_file
from xnatferry.xnat.result_set import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from xnatferry.server.archive import Archive
    from xnatferry.server.objects import Item
    from xnatferry.server.resource_paths import ContainerResources
    from xnatferry.server.resources import Resource

_RESOURCE_COLUMNS: Final = (
    "xnat_abstractresource_id",
    "label",
    "element_name",
    "category",
    "cat_id",
    "cat_desc",
    "file_count",
    "file_size",
    "tags",
    "content",
    "format",
)
_FILE_COLUMNS: Final = (
    "Name",
    "Size",
    "URI",
    "collection",
    "file_tags",
    "file_format",
    "file_content",
    "cat_ID",
    "digest",
)
#: What listings of files say of their columns.
FILES_META: Final = {"Columns": [{"key": "URI", "serverRoot": ""}]}
_CATEGORIES: Final = {Level.SCAN: "scans", Level.ASSESSOR: "assessors", Level.RECONSTRUCTION: "reconstructions"}


def resource_table(held: Sequence[ContainerResources], *, everything: bool = False) -> Table:
    """The listing of resources, ``CatalogResourceList`` (xnat-rest.md 7.5); *everything* is ``all=true``."""
    return Table(_RESOURCE_COLUMNS, [_resource_row(one, everything=everything) for one in held], title="Resources")


def _resource_row(one: ContainerResources, *, everything: bool) -> dict[str, str]:
    item, resource = one.item, one.resource
    id_, words = "", "" if everything else " "
    if item.level in _CATEGORIES:
        id_, words = item.id, item.fields.get("type", "")
    if item.level is Level.ASSESSOR:
        words = STOCK[item.xsi_type].singular if item.xsi_type in STOCK else item.xsi_type
    if item.level is Level.EXPERIMENT and not everything:
        id_ = item.id
    return {
        "xnat_abstractresource_id": str(resource.id),
        "label": resource.label,
        "element_name": "xnat:resourceCatalog",
        "category": _CATEGORIES.get(item.level, "resources"),
        "cat_id": id_,
        "cat_desc": words,
        "file_count": "" if resource.file_count is None else str(resource.file_count),
        "file_size": "" if resource.file_size is None else str(resource.file_size),
        "tags": resource.tags,
        "content": resource.content,
        "format": resource.format,
    }


def file_table(
    found: Iterable[tuple[ContainerResources, StoredFile]], *, locator: str = "", archive_root: str = ""
) -> Table:
    """The listing of files, ``FileList`` (xnat-rest.md 8.7).

    Args:
        found: Files with the resource they are in.
        locator: ``absolutePath`` or ``projectPath`` shows paths on the server, in a column of that name instead of
            ``URI``.
        archive_root: What an absolute path starts with.
    """
    column = locator if locator in {"absolutePath", "projectPath"} else "URI"
    rows = []
    for one, file in found:
        if column == "URI":
            where = f"{one.base}/resources/{one.resource.id}/files/{file.name}"
        else:
            where = f"{one.folder}/{file.name}"
            where = f"{archive_root}/{where}" if column == "absolutePath" else where.partition("/")[2]
        rows.append(
            {
                "Name": file.name.rpartition("/")[2],
                "Size": str(file.size_bytes),
                column: where,
                "collection": one.resource.label,
                "file_tags": file.tags,
                "file_format": file.format,
                "file_content": file.content,
                "cat_ID": str(one.resource.id),
                "digest": file.digest,
            }
        )
    columns = tuple(column if name == "URI" else name for name in _FILE_COLUMNS)
    return Table(columns, rows, title="Files", counted=False, meta=FILES_META)


def catalog_of(item: Item, resource: Resource, files: Sequence[StoredFile], location: str = "") -> Catalog:
    """The catalog document of *resource* of *item*; *location* is told in a metafield where it is asked for."""
    entries = [
        CatalogEntry(
            name=file.name,
            size_bytes=file.size_bytes,
            digest=file.digest,
            format=file.format,
            content=file.content,
            description=file.description,
            tags=(file.tags,) if file.tags else (),
            created_by=file.created_by,
            created_at=file.created,
            modified_by=file.modified_by,
            modified_at=file.modified,
            created_event=_event(file.created),
            modified_event=_event(file.modified),
        )
        for file in files
    ]
    meta = {"CATALOG_LOCATION": location} if location else {}
    meta |= {"PROJECT": item.project} | ({"AUDIT": _audit(files)} if entries else {})
    return Catalog(resource.catalog or resource.label or str(resource.id), entries, meta)


def _event(stamp: str) -> str:
    """The number of the request that stored files at *stamp*: its milliseconds since 1970."""
    return str(int(datetime.fromisoformat(stamp).timestamp() * 1000)) if stamp else ""


def _audit(files: Sequence[StoredFile]) -> str:
    """What each request did, as far as the files that are there now tell: ``17:Mon Jan 01 ... 2024=Added:2``."""
    done: dict[str, Counter[str]] = {}
    for file in files:
        for word, stamp in (("Added", file.created), ("Modified", file.modified)):
            if stamp:
                done.setdefault(stamp, Counter())[word] += 1
    return "|".join(
        f"{_event(stamp)}:{datetime.fromisoformat(stamp).astimezone():%a %b %d %H:%M:%S %Z %Y}="
        + ";".join(f"{word}:{number}" for word, number in sorted(counts.items()))
        for stamp, counts in sorted(done.items())
    )


def list_leftovers(archive: Archive, resource: Resource, user: str) -> None:
    """List files that lie in the folder of *resource* unlisted: a scan deleted without its files leaves such."""
    with archive.database.read() as connection:
        folder = _folder(connection, resource)
        listed = {file.name for file in resources.files_of(connection, [resource])}
    if folder is not None and any(name not in listed for name, _ in archive.blob_store.files(folder)):
        refresh(archive, resource, Refresh.APPEND | Refresh.CHECKSUM | Refresh.POPULATE_STATS, user)


class Refresh(Flag):
    """What a refresh does, by the names of ``DefaultCatalogService``."""

    APPEND = auto()
    DELETE = auto()
    CHECKSUM = auto()
    POPULATE_STATS = auto()


def refresh(archive: Archive, resource: Resource, acts: Refresh, user: str) -> None:
    """Make the rows of *resource* agree with its folder.

    ``APPEND`` adds unlisted files, ``DELETE`` drops missing files, ``CHECKSUM`` computes the
    digests again, ``POPULATE_STATS`` counts. A listed file whose size has changed on disk is listed with its new size.
    """
    with archive.file_store.holding(resource):
        while not _refreshed(archive, resource, acts, user):
            pass


def _refreshed(archive: Archive, resource: Resource, acts: Refresh, user: str) -> bool:
    """One pass; False if the folder was renamed meanwhile, so that the result is invalid."""
    with archive.database.read() as connection:
        folder = _folder(connection, resource)
        listed = {file.name: file for file in resources.files_of(connection, [resource])}
    if folder is None:
        return True
    there = dict(archive.blob_store.files(folder))
    try:
        changed = _changes(archive.blob_store.path(folder), listed, there, acts)
    except FileNotFoundError:
        return False
    changed = [replace(file, resource_id=resource.id, created_by=file.created_by or user) for file in changed]
    with archive.database.write() as connection:
        if _folder(connection, resource) != folder:
            return False
        if acts & Refresh.DELETE:
            gone = [(resource.id, name) for name in listed.keys() - there.keys()]
            connection.executemany("DELETE FROM files WHERE resource_id = ? AND name = ?", gone)
        _rewrite(connection, changed)
        if acts & Refresh.POPULATE_STATS:
            resources.count(connection, resource)
    return True


def _folder(connection: sqlite3.Connection, resource: Resource) -> str | None:
    """The current folder of *resource*; None if it was deleted."""
    found = resources.by_id(connection, resource.id)
    return None if found is None else resources.folder_of(objects.by_key(connection, found.item_key), found)


def _changes(folder: Path, listed: dict[str, StoredFile], there: dict[str, int], acts: Refresh) -> list[StoredFile]:
    """The rows to write: new files (of no resource yet), and listed ones whose size or digest is another now."""
    changed = []
    for name, size in there.items():
        if name.endswith("_catalog.xml"):
            continue
        before = listed.get(name)
        if before is None and not acts & Refresh.APPEND:
            continue
        file = before or StoredFile(0, name, size, "", created=resources.now())
        if file.size_bytes != size:
            file = replace(file, size_bytes=size, digest="", modified=resources.now())
        if acts & Refresh.CHECKSUM:
            file = replace(file, digest=digest_of_file(folder / name))
        if file != before:
            changed.append(file)
    return changed


def _rewrite(connection: sqlite3.Connection, changed: list[StoredFile]) -> None:
    for file in changed:
        connection.execute("DELETE FROM files WHERE resource_id = ? AND name = ?", (file.resource_id, file.name))
        resources.insert(connection, file)
