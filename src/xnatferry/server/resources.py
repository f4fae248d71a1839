"""Resources and the files in them, as database rows. This module does not access files.

A resource belongs to an item; its files are in one folder below the folder of that item, as on a real XNAT's disk:

    project         P/resources/LABEL
    subject         P/subjects/SUBJECT/LABEL
    experiment      P/arc001/SESSION/RESOURCES/LABEL
    scan            P/arc001/SESSION/SCANS/ID/LABEL
    assessor        P/arc001/SESSION/ASSESSORS/ASSESSOR/{in,out}/LABEL
    reconstruction  P/arc001/SESSION/PROCESSED/ID/{in,out}/LABEL

Only the part below the item is kept, so that a rename of the item needs no change here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from xnatferry.server.database import in_groups
from xnatferry.server.objects import Level
from xnatferry.server.request_scope import Refusal
from xnatferry.xnat.labels import resource_label_problem

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Sequence

    from xnatferry.server.objects import Item
    from xnatferry.server.request_scope import Query


@dataclass(frozen=True, slots=True)
class Described:
    """Properties that an upload or the creation of a resource gives; None leaves the stored value.

    Attributes:
        format: ``NIFTI``, ``DICOM`` ...
        content: ``RAW``, ``T1w`` ...
        description: Free text.
        tags: Tags, joined with commas.
    """

    format: str | None = None
    content: str | None = None
    description: str | None = None
    tags: str | None = None


def described_by(query: Query) -> Described:
    """What *query* says about an upload; empty values say nothing."""
    return Described(
        format=query.get("format") or None,
        content=query.get("content") or None,
        description=query.get("description") or None,
        tags=",".join(tag for tag in query.all("tags") if tag) or None,
    )


@dataclass(frozen=True, slots=True)
class Resource:
    """One row of ``resources``.

    Attributes:
        id: ``xnat_abstractresource_id``.
        item_key: Its item.
        direction: ``in`` or ``out`` at assessors and reconstructions, else "".
        label: Label; "" where it was made without one.
        subfolder: Folder below the folder of its item.
        format: Format.
        content: Content.
        description: Free text.
        tags: Tags, joined with commas.
        file_count: Number of files when it was last counted; None before.
        file_size: Bytes of all files when they were last counted; None before.
        catalog: Name of its catalog, where that is not its label.
    """

    id: int
    item_key: int
    direction: str
    label: str
    subfolder: str
    format: str
    content: str
    description: str
    tags: str
    file_count: int | None
    file_size: int | None
    catalog: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One row of ``files``.

    Attributes:
        resource_id: Resource it is in.
        name: Path below the folder of the resource, with ``/``.
        size_bytes: Length.
        digest: MD5, or "" where it was never computed.
        format: Format.
        content: Content.
        description: Free text.
        tags: Tags, joined with commas.
        created: When it was stored first, ``2024-01-02T03:04:05.678``.
        created_by: By whom.
        modified: When it was replaced last, or "".
        modified_by: By whom, or "".
    """

    resource_id: int
    name: str
    size_bytes: int
    digest: str
    format: str = ""
    content: str = ""
    description: str = ""
    tags: str = ""
    created: str = ""
    created_by: str = ""
    modified: str = ""
    modified_by: str = ""


_RESOURCE_COLUMNS: Final = ", ".join(f"resources.{name}" for name in Resource.__dataclass_fields__)
_FILE_COLUMNS: Final = ", ".join(StoredFile.__dataclass_fields__)


def now() -> str:
    """This moment as catalogs write it: local time with milliseconds."""
    return datetime.now(UTC).astimezone().replace(tzinfo=None).isoformat(timespec="milliseconds")


def folder_of(item: Item, resource: Resource) -> str:
    """Folder of *resource* of *item*, relative to the archive folder."""
    return f"{item.folder}/{resource.subfolder}"


def direction_of(item: Item, direction: str = "") -> str:
    """The direction that an address means: ``out`` at assessors and reconstructions that do not say it."""
    if item.level in {Level.ASSESSOR, Level.RECONSTRUCTION}:
        return direction or "out"
    return ""


def refuse_label(label: str) -> None:
    """Refuse a label that XNAT would lose, or read as something else.

    XNAT takes digits for an id (403), and answers 200 to some other labels without doing anything; those are 400 here.

    Raises:
        Refusal: With the reason.
    """
    if label.isdecimal():
        raise Refusal(403, f"The user requested 1 resources by ID and was denied access or it is not there: {label}")
    # Percent escapes stay in a label as they were sent; XNAT takes them (recorded), so they count as letters here.
    problem = "it names another folder" if unquote(label) in {".", ".."} else None
    if problem := problem or resource_label_problem(label.replace("%", "_")):
        raise Refusal(400, f"Invalid resource label {label!r}: {problem}.")


def by_id(connection: sqlite3.Connection, number: int) -> Resource | None:
    """The resource with that number."""
    row = connection.execute(f"SELECT {_RESOURCE_COLUMNS} FROM resources WHERE id = ?", (number,)).fetchone()  # noqa: S608  our own words
    return None if row is None else Resource(*row)


def named(connection: sqlite3.Connection, item: Item, direction: str, label: str) -> Resource | None:
    """The resource of *item* with exactly that label or, when the label is all digits, that number."""
    column = "id" if label.isdecimal() else "label"
    row = connection.execute(
        f"SELECT {_RESOURCE_COLUMNS} FROM resources WHERE item_key = ? AND direction = ? AND {column} = ?",  # noqa: S608  our own words
        (item.key, direction_of(item, direction), label),
    ).fetchone()
    return None if row is None else Resource(*row)


def resources_of(connection: sqlite3.Connection, item_keys: Iterable[int], direction: str = "") -> list[Resource]:
    """All resources of some items, item by item in the order given; *direction* keeps those of one direction."""
    found: dict[int, list[Resource]] = {key: [] for key in item_keys}
    for group, marks in in_groups(found):
        rows = connection.execute(
            f"SELECT {_RESOURCE_COLUMNS} FROM resources WHERE item_key IN ({marks}) ORDER BY id",  # noqa: S608  our own words
            group,
        )
        for row in rows:
            resource = Resource(*row)
            if not direction or resource.direction in {"", direction}:
                found[resource.item_key].append(resource)
    return [resource for resources in found.values() for resource in resources]


def chosen(resources: Sequence[Resource], names: str) -> list[Resource]:
    """Those of *resources* that a path segment names: labels and numbers, separated by commas."""
    wanted = set(names.split(","))
    return [resource for resource in resources if resource.label in wanted or str(resource.id) in wanted]


def create(
    connection: sqlite3.Connection,
    item: Item,
    direction: str,
    label: str,
    *,
    described: Described,
    user: str,
    catalog: str = "",
) -> Resource:
    """Make a resource; an empty *label* makes one that is known by its number only.

    The first resource of a typed scan gets the content ``RAW`` when none is said (``insertScanResourceCatalog``).
    """
    direction = direction_of(item, direction)
    content = described.content or ""
    if not content and item.level is Level.SCAN and item.fields.get("type"):
        taken = connection.execute("SELECT 1 FROM resources WHERE item_key = ?", (item.key,)).fetchone()
        content = "" if taken else "RAW"
    stamp = now()
    folder = label or datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")
    subfolder = f"{_PLACES.get(item.level, '')}{f'{direction}/' if direction else ''}{folder}"
    row = connection.execute(
        "INSERT INTO resources (item_key, direction, label, subfolder, format, content, description, tags, inserted,"
        " inserted_by, catalog) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            item.key,
            direction,
            label,
            subfolder,
            described.format or "",
            content,
            described.description or "",
            described.tags or "",
            stamp,
            user,
            catalog,
        ),
    )
    made = by_id(connection, row.lastrowid or 0)
    assert made is not None  # noqa: S101  it was inserted in this transaction
    return made


_PLACES: Final = {Level.PROJECT: "resources/", Level.EXPERIMENT: "RESOURCES/"}


def describe(connection: sqlite3.Connection, resource: Resource, described: Described) -> None:
    """Overwrite what is known about *resource* with what *described* says (``CatalogUtils.configureResource``).

    Tags add up.
    """
    tags = described.tags
    if tags and resource.tags:
        tags = ",".join(dict.fromkeys((*resource.tags.split(","), *tags.split(","))))
    connection.execute(
        "UPDATE resources SET format = ifnull(?, format), content = ifnull(?, content),"
        " description = ifnull(?, description), tags = ifnull(?, tags) WHERE id = ?",
        (described.format, described.content, described.description, tags, resource.id),
    )


def count(connection: sqlite3.Connection, resource: Resource) -> None:
    """Set the listed file count and size to what the resource holds now."""
    connection.execute(
        "UPDATE resources SET file_count = held_files, file_size = held_bytes WHERE id = ?", (resource.id,)
    )


def files_of(connection: sqlite3.Connection, resources: Iterable[Resource]) -> Iterator[StoredFile]:
    """All files of *resources*, resource by resource in the order given, by name."""
    for resource in resources:
        rows = connection.execute(
            f"SELECT {_FILE_COLUMNS} FROM files WHERE resource_id = ? ORDER BY name",  # noqa: S608  our own words
            (resource.id,),
        )
        for row in rows:
            yield StoredFile(*row)


def file_named(connection: sqlite3.Connection, resource: Resource, name: str) -> StoredFile | None:
    """The file of *resource* with exactly that name."""
    row = connection.execute(
        f"SELECT {_FILE_COLUMNS} FROM files WHERE resource_id = ? AND name = ?",  # noqa: S608  our own words
        (resource.id, name),
    ).fetchone()
    return None if row is None else StoredFile(*row)


def insert(connection: sqlite3.Connection, file: StoredFile) -> None:
    """Put in a row as it is."""
    values = [getattr(file, name) for name in StoredFile.__dataclass_fields__]
    connection.execute(f"INSERT INTO files ({_FILE_COLUMNS}) VALUES ({_marks(values)})", values)  # noqa: S608  our own words


def _marks(group: Sequence[object]) -> str:
    return ", ".join("?" * len(group))
