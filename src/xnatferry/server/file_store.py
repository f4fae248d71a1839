"""Storing and removing files of the archive, safe against a killed process.

Bytes wait in ``incoming``, whole and durable. One transaction then writes their rows *and* an intent in the redo log;
only then are the files renamed into place. A process killed before the commit leaves the old state, one killed after
it leaves intents that are carried out at the next start. Removal works the same way: rows are removed first. Between
a commit and its renames no folder of an item is moved or removed (`FileStore.exclusive`), so an intent always means
the folder that it names.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xnatferry.server import objects, resources
from xnatferry.server.blob_store import UnsafeNameError
from xnatferry.server.locks import Locks, SharedLock
from xnatferry.server.objects import Level
from xnatferry.server.redo_log import RedoLog, forget, forget_target, intend
from xnatferry.server.request_scope import Refusal
from xnatferry.server.resources import Described

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from xnatferry.server.blob_store import BlobStore, StagedFile
    from xnatferry.server.database import Database
    from xnatferry.server.objects import Item
    from xnatferry.server.resources import Resource, StoredFile

_BUSY: Final = "java.util.ConcurrentModificationException: the catalog was changed by another request"


@dataclass(frozen=True, slots=True)
class Target:
    """Destination of an upload.

    Attributes:
        item: The item of the resource.
        direction: ``in``, ``out`` or "".
        resource: Label or number of the resource, created if missing; None takes the first one of the item, or makes
            one without a label (``FileList``).
    """

    item: Item
    direction: str
    resource: str | None


@dataclass(frozen=True, slots=True)
class IncomingFile:
    """A received file.

    Attributes:
        name: Its path in the resource.
        staged: Its bytes.
    """

    name: str
    staged: StagedFile


@dataclass(slots=True)
class _Change:
    """Changes of one transaction that are then carried out on disk, or undone."""

    resource: Resource
    folder: str
    created: bool
    pairs: list[tuple[StagedFile, str]] = field(default_factory=list)
    before: list[StoredFile | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    unwanted: list[StagedFile] = field(default_factory=list)
    intents: list[int] = field(default_factory=list)


class FileStore:
    """Stores and removes files of one archive. May be used from any thread.

    *strict* refuses a writer that meets another one in the same resource, where it would wait otherwise.
    """

    def __init__(self, database: Database, blob_store: BlobStore, *, strict: bool = False) -> None:
        self._strict = strict
        self._database = database
        self._blob_store = blob_store
        self._locks = Locks()
        self._gate = SharedLock()
        #: What is committed and perhaps not yet on disk.
        self.redo = RedoLog(database, blob_store)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Block storing and removing of files for the block: every committed change is on disk.

        Callers that move or remove folders of items hold it around rows and folders. It must not be taken within a
        transaction.
        """
        with self._gate.exclusive():
            # A folder that has moved can no longer be flushed under the name it had.
            self.redo.flush()
            yield

    @contextmanager
    def holding(self, resource: Resource) -> Iterator[None]:
        """Keep others from changing *resource*: rows and bytes seen inside belong together."""
        with self._locks.hold(_key_of(resource)):
            yield

    @contextmanager
    def reading(self, resource: Resource, name: str) -> Iterator[None]:
        """Keep the file *name* of *resource* and all folders of items as they are for the block; it must be short."""
        key = _key_of(resource)
        with self._locks.share(key), self._locks.hold((*key, name)), self._gate.shared():
            yield

    @contextmanager
    def _catalog(self, key: tuple[int, str, str]) -> Iterator[None]:
        """Be one of the writers of a resource, or in a strict archive the only one.

        Raises:
            Refusal: 500, as XNAT fails with its ConcurrentModificationException.
        """
        if not self._strict:
            yield
            return
        with self._locks.attempt(("catalog", *key)) as exclusive:
            if not exclusive:
                raise Refusal(500, _BUSY)
            yield

    def store(
        self,
        target: Target,
        incoming: Sequence[IncomingFile],
        described: Described,
        user: str,
        *,
        overwrite: bool = False,
        update_stats: bool = True,
    ) -> list[str]:
        """Store *incoming*, all or none; returns the names that were there already and are kept as they are.

        A name exists when it is on disk in the folder of the resource, listed or not (xnat-rest.md 8.4). Staged files
        are placed or gone afterwards, also after an error.

        Raises:
            Refusal: 404, what the resource hangs on has gone meanwhile; 500, see `_catalog`.
            UnsafeNameError: A name is refused, or is a folder.
            StorageFullError: The disk is full.
        """
        try:
            with (
                self._catalog(self._lock_key(target)),
                self._lock_for_store(target, incoming),
                self._gate.shared(),
            ):
                with self.redo.writing() as connection:
                    change = self._resource_for(connection, target, described, user)
                    self._split_duplicates(connection, change, incoming, overwrite=overwrite)
                    if change.pairs:
                        resources.describe(connection, change.resource, described)
                        self._write_rows(connection, change, described, user)
                    if update_stats or change.created:
                        resources.count(connection, change.resource)
                self._place(change)
        except BaseException:
            self._blob_store.discard(file.staged for file in incoming)
            raise
        self._blob_store.discard(change.unwanted)
        return change.duplicates

    def leave(self, target: Target, name: str, staged: StagedFile, user: str) -> None:
        """Put the bytes of an upload that broke off in its place, unlisted; a file that is there is kept."""
        try:
            with self._locks.hold(self._lock_key(target)), self._gate.shared():
                with self.redo.writing() as connection:
                    change = self._resource_for(connection, target, Described(), user)
                relative = f"{change.folder}/{name}"
                if not self._blob_store.exists(relative):
                    self._blob_store.place(staged, relative)
        finally:
            self._blob_store.discard(staged)

    def create(self, item: Item, direction: str, label: str, described: Described, user: str) -> int:
        """Make a resource without files; returns its number.

        Raises:
            Refusal: 409, there is one with that label; 404, *item* was deleted meanwhile.
        """
        target = Target(item, direction, label)
        key = self._lock_key(target)
        with self._catalog(key), self._locks.hold(key), self.redo.writing() as connection:
            if label and _existing(connection, target) is not None:
                raise Refusal(409, "Specified resource already exists.")
            # Made by itself, the catalog of a scan's resource is called as the scan (recorded).
            catalog = item.id if item.level in {Level.SCAN, Level.RECONSTRUCTION} else ""
            return self._make(connection, target, described, user, catalog).resource.id

    def remove_files(self, item: Item, found: Sequence[StoredFile], *, keep_bytes: bool = False) -> None:
        """Remove files from their resources; *keep_bytes* leaves them on disk, unlisted."""
        with self._database.read() as connection:
            owners = {file.resource_id: resources.by_id(connection, file.resource_id) for file in found}
        held = [resource for resource in owners.values() if resource is not None]
        with ExitStack() as stack:
            for resource in sorted(held, key=lambda one: one.id):
                stack.enter_context(self._catalog(_key_of(resource)))
                stack.enter_context(self.holding(resource))
            stack.enter_context(self._gate.shared())
            with self.redo.writing() as connection:
                folder = {one.id: resources.folder_of(_item(connection, item), one) for one in held}
                gone = [f"{folder[file.resource_id]}/{file.name}" for file in found if file.resource_id in folder]
                connection.executemany(
                    "DELETE FROM files WHERE resource_id = ? AND name = ?",
                    [(file.resource_id, file.name) for file in found],
                )
                for resource in held:
                    resources.count(connection, resource)
                intents = [] if keep_bytes else [intend(connection, path) for path in gone]
            if not keep_bytes:
                self._trash(gone, intents)

    def remove_resource(self, item: Item, resource: Resource) -> None:
        """Take a resource away; its folder goes to the trash."""
        with self._catalog(_key_of(resource)), self.holding(resource), self._gate.shared():
            with self.redo.writing() as connection:
                folder = resources.folder_of(_item(connection, item), resource)
                connection.execute("DELETE FROM resources WHERE id = ?", (resource.id,))
                intents = [intend(connection, folder)]
            self._trash([folder], intents)

    @contextmanager
    def _lock_for_store(self, target: Target, incoming: Sequence[IncomingFile]) -> Iterator[None]:
        """What a store holds: of a resource that is there one name only, so that many wait for one flush together."""
        key = self._lock_key(target)
        if len(incoming) == 1:
            with self._database.read() as connection:
                is_there = _existing(connection, target) is not None
            if is_there:
                with self._locks.share(key), self._locks.hold((*key, incoming[0].name)):
                    yield
                return
        with self._locks.hold(key):
            yield

    def _lock_key(self, target: Target) -> tuple[int, str, str]:
        """What to hold while writing to *target*: by label where there is one, as `holding` does."""
        direction = resources.direction_of(target.item, target.direction)
        label = target.resource or ""
        if not label or label.isdecimal():
            with self._database.read() as connection:
                found = _existing(connection, target)
            if found is not None:
                label = found.label or str(found.id)
        return target.item.key, direction, label

    def _resource_for(self, connection: sqlite3.Connection, target: Target, described: Described, user: str) -> _Change:
        found = _existing(connection, target)
        if found is None:
            if target.resource:
                resources.refuse_label(target.resource)
            return self._make(connection, target, described, user)
        return _Change(found, resources.folder_of(_item(connection, target.item), found), created=False)

    def _make(
        self, connection: sqlite3.Connection, target: Target, described: Described, user: str, catalog: str = ""
    ) -> _Change:
        item, label = _item(connection, target.item), target.resource or ""
        made = resources.create(
            connection, item, target.direction, label, described=described, user=user, catalog=catalog
        )
        folder = resources.folder_of(item, made)
        forget_target(connection, folder)
        return _Change(made, folder, created=True)

    def _split_duplicates(
        self, connection: sqlite3.Connection, change: _Change, incoming: Sequence[IncomingFile], *, overwrite: bool
    ) -> None:
        """Decide for every received file whether it is placed or is a duplicate."""
        is_there = self._blob_store.exists(change.folder)
        placed: dict[str, int] = {}
        for file in incoming:
            relative = f"{change.folder}/{file.name}"
            path = self._blob_store.path(relative)
            if file.name in placed and overwrite:
                number = placed[file.name]
                change.unwanted.append(change.pairs[number][0])
                change.pairs[number] = (file.staged, relative)
                continue
            before = None if change.created else resources.file_named(connection, change.resource, file.name)
            exists = before is not None or file.name in placed or (is_there and path.exists())
            if exists and file.name.endswith("_catalog.xml"):
                raise Refusal(500, f"XNAT cannot catalog {file.name.rpartition('/')[2]}")
            if exists and not overwrite:
                change.duplicates.append(file.name)
                change.unwanted.append(file.staged)
                continue
            if is_there and path.is_dir():
                raise UnsafeNameError(f"{file.name} is a folder of this resource; a file cannot have this name")
            placed[file.name] = len(change.pairs)
            change.pairs.append((file.staged, relative))
            change.before.append(before)
            change.names.append(file.name)

    def _write_rows(self, connection: sqlite3.Connection, change: _Change, described: Described, user: str) -> None:
        stamp = resources.now()
        connection.executemany(
            "INSERT INTO files (resource_id, name, size_bytes, digest, format, content, description, tags, created,"
            " created_by)"
            " VALUES (?1, ?2, ?3, ?4, ifnull(?5, ''), ifnull(?6, ''), ifnull(?7, ''), ifnull(?8, ''), ?9, ?10)"
            " ON CONFLICT DO UPDATE SET size_bytes = excluded.size_bytes, digest = excluded.digest,"
            " format = ifnull(?5, format), content = ifnull(?6, content), description = ifnull(?7, description),"
            " tags = ifnull(?8, tags), modified = ?9, modified_by = ?10",
            [
                (
                    change.resource.id,
                    name,
                    staged.size_bytes,
                    staged.digest,
                    described.format,
                    described.content,
                    described.description,
                    described.tags,
                    stamp,
                    user,
                )
                for name, (staged, _) in zip(change.names, change.pairs, strict=True)
            ],
        )
        for name, (staged, relative) in zip(change.names, change.pairs, strict=True):
            waiting = staged.path.relative_to(self._blob_store.archive.parent).as_posix()
            change.intents.append(intend(connection, relative, waiting, change.resource.id, name))

    def _place(self, change: _Change) -> None:
        """Move committed files to their folder; if that fails, undo the commit."""
        try:
            folders = self._blob_store.place_all(change.pairs, flush=False)
        except BaseException:
            self._take_back(change)
            raise
        self.redo.placed(change.intents, folders)

    def _take_back(self, change: _Change) -> None:
        with self._database.write() as connection:
            forget(connection, change.intents)
            for name, before in zip(change.names, change.before, strict=True):
                connection.execute("DELETE FROM files WHERE resource_id = ? AND name = ?", (change.resource.id, name))
                if before is not None:
                    resources.insert(connection, before)
            resources.count(connection, change.resource)
            if change.created:
                connection.execute("DELETE FROM resources WHERE id = ? AND held_files = 0", (change.resource.id,))

    def _trash(self, targets: Sequence[str], intents: Sequence[int]) -> None:
        """Carry out a removal; its intent goes with the next transaction, before anything can take the place."""
        for target in targets:
            self._blob_store.trash(target)
        self.redo.done(intents)


def _key_of(resource: Resource) -> tuple[int, str, str]:
    return resource.item_key, resource.direction, resource.label or str(resource.id)


def _item(connection: sqlite3.Connection, item: Item) -> Item:
    """*item* as it is now."""
    try:
        return objects.by_key(connection, item.key)
    except LookupError as error:
        raise Refusal(404) from error


def _existing(connection: sqlite3.Connection, target: Target) -> Resource | None:
    if target.resource is not None:
        return resources.named(connection, target.item, target.direction, target.resource)
    direction = resources.direction_of(target.item, target.direction)
    return next(iter(resources.resources_of(connection, [target.item.key], direction)), None)
