"""Receipts that pushes left in their projects (``push --record``), as the pages read them.

A receipt is a file like any other: whoever may edit the project may have written it. Pages show its content as
a statement of the push, not of the archive.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from dataclasses import dataclass, field
from threading import Lock
from typing import TYPE_CHECKING, Any, Final

from xnatferry.server import objects, resources
from xnatferry.server.objects import Level
from xnatferry.server.routes.downloads import open_listed

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from xnatferry.server.archive import Archive
    from xnatferry.server.objects import Item
    from xnatferry.server.resources import Resource, StoredFile

#: Label of the project resource that holds them (`xnatferry.transfer.receipt_upload`).
RESOURCE: Final = "XNATFERRY"
#: Larger receipts are offered for download and not read: that many bytes are some 100,000 files.
_LARGEST_BYTES: Final = 32 << 20
#: How many of a project's latest receipts are asked for the state of a file.
_ASKED: Final = 20


@dataclass(frozen=True, slots=True)
class Import:
    """A receipt on the server, not yet read.

    Attributes:
        project: The project.
        resource: The resource that holds it.
        file: The file.
    """

    project: Item
    resource: Resource
    file: StoredFile

    @property
    def run(self) -> str:
        """Name of the run."""
        return self.file.name.removesuffix(".json")


@dataclass(frozen=True, slots=True)
class Receipt:
    """Content of a receipt.

    Attributes:
        attributes: Words and values about the run.
        exit_code: How it ended; 0 is done and verified.
        outcomes: Number of steps by outcome.
        proofs: Number of files by result of verification.
        verdicts: Address of a file to proof, whether it is a good one, and the message.
        failures: Address, outcome and message of steps that failed.
    """

    attributes: Mapping[str, str]
    exit_code: int
    outcomes: Mapping[str, int]
    proofs: Mapping[str, int]
    verdicts: Mapping[str, tuple[str, bool, str]]
    failures: Sequence[tuple[str, str, str]]

    @property
    def good(self) -> bool:
        """Whether everything was done and verified."""
        return self.exit_code == 0 and all(good for _, good, _ in self.verdicts.values())


@dataclass(frozen=True, slots=True)
class State:
    """What is known about the bytes of a file.

    Attributes:
        kind: ``good``, ``warn``, ``bad`` or "", for the colour.
        words: ``digest matched`` ...
        run: Run whose receipt says so, or "".
    """

    kind: str
    words: str
    run: str = ""


_UNCOMPARED: Final = State("", "MD5 computed at upload")


@dataclass(slots=True)
class Proofs:
    """Verification of files by the latest receipts of a project."""

    read: list[tuple[Import, Receipt]] = field(default_factory=list)

    def state(self, address: str, file: StoredFile) -> State:
        """The state of *file*, which receipts call *address*: the latest receipt that names it decides."""
        for one, receipt in self.read:
            verdict = receipt.verdicts.get(address)
            if verdict is None:
                continue
            proof, good, _ = verdict
            if max(file.created, file.modified) > one.file.created:
                return State("warn", "changed since the receipt", one.run)
            kind = ("good" if proof == "digest matched" else "warn") if good else "bad"
            return State(kind, proof, one.run)
        return _UNCOMPARED if file.digest else State("warn", "no MD5")


_CACHE: OrderedDict[tuple[int, str, str, int], Receipt | None] = OrderedDict()
#: So many bytes of receipts are kept as they were read; in memory they are twice as many.
_CACHED_BYTES: Final = 64 << 20
#: A larger number is no count of anything.
_LARGEST: Final = 1 << 53
_LOCK: Final = Lock()


def imports_of(connection: sqlite3.Connection, projects: Sequence[str], *, limit: int, start: int = 0) -> list[Import]:
    """Receipts in *projects* (IDs), the latest first."""
    marks = ", ".join("?" * len(projects))
    rows = connection.execute(
        "SELECT items.key, resources.id, files.name"  # noqa: S608  question marks
        " FROM files JOIN resources ON resources.id = files.resource_id"
        f" JOIN items ON items.key = resources.item_key WHERE items.level = '{Level.PROJECT}' AND items.id IN ({marks})"
        f" AND resources.label = '{RESOURCE}' AND files.name LIKE '%.json'"
        " ORDER BY files.created DESC, files.name DESC LIMIT ? OFFSET ?",
        (*projects, limit, start),
    ).fetchall()
    found = []
    for key, number, name in rows:
        resource = resources.by_id(connection, number)
        file = resources.file_named(connection, resource, name) if resource else None
        if resource is not None and file is not None:
            found.append(Import(objects.by_key(connection, key), resource, file))
    return found


def proofs_in(archive: Archive, connection: sqlite3.Connection, project: Item) -> Proofs:
    """What the latest receipts of *project* say."""
    found = Proofs()
    for one in imports_of(connection, [project.id], limit=_ASKED):
        receipt = read_receipt(archive, one)
        if receipt is not None:
            found.read.append((one, receipt))
    return found


def read_receipt(archive: Archive, one: Import) -> Receipt | None:
    """What a receipt says; None when it is none that can be read, or too large."""
    key = (one.resource.id, one.file.name, one.file.digest, one.file.size_bytes)
    with _LOCK:
        if key in _CACHE:
            _CACHE.move_to_end(key)
            return _CACHE[key]
    found = _receipt(_bytes(archive, one))
    with _LOCK:
        _CACHE[key] = found
        while len(_CACHE) > 1 and sum(size for *_, size in _CACHE) > _CACHED_BYTES:
            _CACHE.popitem(last=False)
    return found


def _bytes(archive: Archive, one: Import) -> bytes:
    if one.file.size_bytes > _LARGEST_BYTES:
        return b""
    opened = open_listed(archive, one.resource, one.file.name)
    if opened is None:
        return b""
    with os.fdopen(opened[0], "rb") as file:
        return file.read(_LARGEST_BYTES)


def _receipt(data: bytes) -> Receipt | None:
    try:
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("xnatferry_receipt") != 1:
            return None
        lists = {name: [dict(row) for row in document.get(name, [])] for name in ("receipts", "verdicts")}
        return Receipt(
            {name: value for name, value in document.items() if isinstance(value, str)},
            _number(document.get("exit_code", 0)),
            _counts(document.get("outcomes")),
            _counts(document.get("proofs")),
            {str(row.get("address")): _verdict(row) for row in lists["verdicts"]},
            [
                (str(row.get("address")), str(row.get("outcome")), str(row.get("message", "")))
                for row in lists["receipts"]
                if row.get("outcome") in {"failed", "stopped"}
            ],
        )
    except (ValueError, TypeError, RecursionError):
        return None


def _number(value: object) -> int:
    if not isinstance(value, int) or abs(value) > _LARGEST:
        raise ValueError(f"{value!r} is no count")
    return value


def _verdict(row: Mapping[str, Any]) -> tuple[str, bool, str]:
    return str(row.get("proof")), bool(row.get("good")), str(row.get("message") or "")


def _counts(value: object) -> dict[str, int]:
    return {str(name): _number(number) for name, number in value.items()} if isinstance(value, dict) else {}
