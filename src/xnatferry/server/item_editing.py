"""Making, changing, renaming and deleting rows of items, and moving or trashing their folders with them.

Rows and folders change together: an intent is committed first, then one transaction changes rows and folder and drops
the intent. `Archive` repairs what a killed process leaves, at the next start.
"""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from xnatferry.server import objects, redo_log
from xnatferry.server.objects import Level
from xnatferry.server.request_scope import Refusal
from xnatferry.xnat.datatypes import data_type, split_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from xnatferry.server.archive import Archive
    from xnatferry.server.objects import Item
    from xnatferry.server.request_scope import Query

_STATUS: Final = "setting:status"
_LABEL: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")


def now() -> str:
    """This moment as XNAT's listings show it: ``yyyy-MM-dd HH:mm:ss.SSS``, UTC."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def is_label(label: str) -> bool:
    """Whether XNAT takes *label* for a project ID, or the label of a subject, session or assessor."""
    return _LABEL.fullmatch(label) is not None


def refuse_label(label: str) -> None:
    """Refuse a bad label as XNAT does: 500 without a message (``BaseXnatSubjectdata.preSave``)."""
    if not is_label(label):
        raise Refusal(500)


def accession(connection: sqlite3.Connection, site: str, kind: str) -> str:
    """The next accession ID: ``XNAT_S00001`` for *kind* S (subjects), ``XNAT_E00001`` for E; never used twice."""
    row = connection.execute(
        "INSERT INTO counters VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value", (kind,)
    ).fetchone()
    prefix = re.sub(r"[ '\"^]", "", site).replace("-", "_")
    return f"{prefix}_{kind}{row['value']:05d}"


def insert_item(connection: sqlite3.Connection, item: Item, user: str) -> Item:
    """Put in a new row; ``key`` and the times of *item* are made here.

    Raises:
        Refusal: 409, its label is taken.
    """
    stamp = now()
    try:
        row = connection.execute(
            "INSERT INTO items (level, project, parent_key, id, label, xsi_type, folder, inserted, inserted_by,"
            " modified, fields) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                item.level,
                item.project,
                item.parent_key,
                item.id,
                item.label,
                item.xsi_type,
                item.folder,
                stamp,
                user,
                stamp,
                json.dumps({path: text for path, text in item.fields.items() if text}),
            ),
        )
    except sqlite3.IntegrityError as error:
        raise Refusal(409, f"Conflict: Duplicate {item.level} label") from error
    return replace(
        item, key=row.lastrowid or 0, inserted=stamp, inserted_by=user, modified=stamp, fields=dict(item.fields)
    )


def update_item(
    connection: sqlite3.Connection,
    item: Item,
    changes: Mapping[str, str],
    *,
    parent: Item | None = None,
    only: bool = False,
) -> Item:
    """Merge *changes* into the fields of *item* (an empty value takes a field away), and move it below *parent*.

    With *only*, fields that *changes* does not name go. A change of the item's own fields keeps the earlier form in its
    history, as XNAT does.
    """
    merged = {} if only else dict(item.fields)
    merged |= changes
    merged = {path: text for path, text in merged.items() if text}  # what was there keeps its place in lists
    moved = parent is not None and parent.key != item.parent_key
    if merged == item.fields and not moved:
        return item
    stamp = now()
    if moved or own_fields(item.xsi_type, merged) != own_fields(item.xsi_type, item.fields):
        above = objects.by_key(connection, item.parent_key).id if item.parent_key else ""
        connection.execute(
            "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?)",
            (item.key, item.label, above, json.dumps(own_fields(item.xsi_type, item.fields)), item.modified, stamp),
        )
    parent_key = parent.key if parent is not None else item.parent_key
    connection.execute(
        "UPDATE items SET fields = ?, parent_key = ?, modified = ? WHERE key = ?",
        (json.dumps(merged), parent_key, stamp, item.key),
    )
    return replace(item, fields=merged, parent_key=parent_key, modified=stamp)


def status_of(item: Item) -> str:
    """``active`` or ``quarantine``."""
    return item.fields.get(_STATUS, "active")


def status_changes(query: Query) -> dict[str, str]:
    """What ``quarantine=true`` or ``activate=true`` changes about an item, which stays open to all."""
    if query.is_true("activate"):
        return {_STATUS: ""}
    return {_STATUS: "quarantine"} if query.is_true("quarantine") else {}


def own_fields(xsi_type: str, fields: Mapping[str, str]) -> dict[str, str]:
    """Those of *fields* that are in the item itself, not in a nested element (demographics, fields)."""
    of_type = data_type(xsi_type)
    inner = {node.name for node in of_type.nodes if node.many or node.type_name} if of_type else set()
    lists = {f"{node.name}/{one.name}" for node in (of_type.nodes if of_type else ()) for one in node.nodes if one.many}
    found = {}
    for path, text in fields.items():
        names = [name for name, _ in split_path(path)]
        if names and names[0] not in inner and "/".join(names[:2]) not in lists:
            found[path] = text
    return found


def rename(archive: Archive, item: Item, label: str, user: str) -> None:
    """Give *item* another label, and its folder another name; its history says that *user* did.

    Raises:
        Refusal: 409, the label is in use or files of something else are in the way; 500, it is no label. XNAT looks at
            the label of a new item only, so a strict archive takes any that can name a folder.
        UnsafeNameError: It cannot.
    """
    if not archive.settings.strict or "/" in label:
        refuse_label(label)
    with archive.file_store.exclusive():
        item = _present(archive, [item])[0]
        _relocate(archive, replace(item, label=label, folder=f"{item.folder.rpartition('/')[0]}/{label}"), item, user)


def change_project(archive: Archive, item: Item, project: Item, label: str, user: str) -> Item:
    """Make *project* the owner of a subject or session, under *label*; its files move there, its share there ends.

    A session takes its scans, assessors and reconstructions along and stays with its subject; the sessions of a subject
    stay in their project (``BaseXnatSubjectdata.moveToProject``).

    Raises:
        Refusal: As for `rename`; 404, one of them was deleted meanwhile.
    """
    refuse_label(label)
    with archive.file_store.exclusive():
        item, project = _present(archive, [item, project])
        of_subject = item.level is Level.SUBJECT
        moved = replace(
            item,
            project=project.id,
            label=label,
            folder=f"{project.folder}/{'subjects' if of_subject else 'arc001'}/{label}",
            parent_key=project.key if of_subject else item.parent_key,
        )
        _relocate(archive, moved, item, user, action="Modified project")
        return moved


def _relocate(archive: Archive, moved: Item, item: Item, user: str, *, action: str = "Renamed") -> None:
    """Make *item*, and what is below its folder, what *moved* says: project, label, parent and folder."""
    if moved.folder == item.folder:
        return
    taken = Refusal(
        409, f"The folder of an earlier {moved.label} still contains files; rename it, or choose another label."
    )
    if archive.blob_store.occupied(moved.folder):
        raise taken
    # Without files nothing is to be moved, or to be taken back by the next start.
    steps = [(item.key, item.folder, moved.folder)] if archive.blob_store.exists(item.folder) else []
    try:
        with _intended(archive, "move", steps) as connection:
            _refuse_taken_labels(connection, moved, item)
            below = (item.folder, len(item.folder) + 1)
            connection.execute(
                "UPDATE items SET project = ?, label = ?, folder = ?, parent_key = ?, modified = ? WHERE key = ?",
                (moved.project, moved.label, moved.folder, moved.parent_key, now(), item.key),
            )
            connection.execute(
                "UPDATE items SET project = ?3, folder = ?4 || substr(folder, ?2)"
                " WHERE substr(folder, 1, ?2) = ?1 || '/'",
                (*below, moved.project, moved.folder),
            )
            connection.execute(
                "INSERT INTO renames (item_key, login, renamed, action) VALUES (?, ?, ?, ?)",
                (item.key, user, now(), action),
            )
            archive.blob_store.move(item.folder, moved.folder)
    except sqlite3.IntegrityError as error:
        raise Refusal(409, "Specified label is already in use.") from error
    except FileExistsError as error:
        raise taken from error


def _refuse_taken_labels(connection: sqlite3.Connection, moved: Item, item: Item) -> None:
    """Refuse to bring labels into a project that shares have there; end the shares of what comes to own them."""
    keys = [item.key]
    if moved.project != item.project and item.level is not Level.SUBJECT:
        keys += [one.key for one in objects.children(connection, item, Level.ASSESSOR)]
    for key in keys:
        connection.execute("DELETE FROM shares WHERE item_key = ? AND project = ?", (key, moved.project))
        label = moved.label if key == item.key else objects.by_key(connection, key).label
        kinds = (Level.SUBJECT,) if item.level is Level.SUBJECT else (Level.EXPERIMENT, Level.ASSESSOR)
        clash = connection.execute(
            "SELECT 1 FROM shares JOIN items ON items.key = shares.item_key"
            " WHERE shares.project = ? AND shares.label = ? AND items.level IN (?, ?)",
            (moved.project, label, kinds[0], kinds[-1]),
        ).fetchone()
        if clash:
            raise Refusal(409, "Specified label is already in use.")


def delete_items(archive: Archive, items: Sequence[Item], *, remove_files: bool) -> None:
    """Delete *items* and what is below them; without *remove_files* their files stay on disk, as on a real XNAT.

    Raises:
        Refusal: 404, one of them was deleted meanwhile; 409, a session below them was added meanwhile.
    """
    with archive.file_store.exclusive():
        items = _present(archive, items)
        steps = [(item.key, item.folder, "") for item in items] if remove_files else []
        with _intended(archive, "delete", steps) as connection:
            known = {item.key for item in items}
            for item in items:
                if item.level in {Level.PROJECT, Level.SUBJECT}:
                    if item.level is Level.SUBJECT:
                        sessions = objects.children(connection, item, Level.EXPERIMENT)
                    else:
                        sessions = objects.sessions_apart(connection, item)
                    if not known.issuperset(session.key for session in sessions):
                        raise Refusal(409, "A session was added meanwhile; nothing was deleted. Try again.")
            connection.executemany("DELETE FROM items WHERE key = ?", [(key,) for key in known])
            for _, folder, _ in steps:
                archive.blob_store.trash(folder)


def _present(archive: Archive, items: Sequence[Item]) -> list[Item]:
    """*items* as they are now: another request may have renamed or deleted them since they were read."""
    try:
        with archive.database.read() as connection:
            return [objects.by_key(connection, item.key) for item in items]
    except LookupError as error:
        raise Refusal(404) from error


@contextmanager
def _intended(archive: Archive, act: str, steps: Sequence[tuple[int, str, str]]) -> Iterator[sqlite3.Connection]:
    """Commit what is to be done to folders, then give the transaction that does it; a failure takes the intent back.

    Without *steps* there is only the transaction.
    """
    if not steps:
        with archive.database.write() as connection:
            yield connection
        return
    with archive.database.write() as connection:
        keys = [
            connection.execute(
                "INSERT INTO intents (act, item_key, old, new) VALUES (?, ?, ?, ?)", (act, *step)
            ).lastrowid
            for step in steps
        ]
    marks = [(key,) for key in keys]
    try:
        with archive.database.write() as connection:
            yield connection
            connection.executemany("DELETE FROM intents WHERE key = ?", marks)
            for _, old, new in steps:
                # A removal that is long done, but still noted, must not strike what now has its place.
                redo_log.forget_removals_below(connection, new or old)
    except BaseException:
        for _, old, new in steps:
            if act == "move" and archive.blob_store.exists(new) and not archive.blob_store.exists(old):
                archive.blob_store.move(new, old)
        with archive.database.write() as connection:
            connection.executemany("DELETE FROM intents WHERE key = ?", marks)
        raise
