"""Plans an undo from the journal of a run and the current state of the server.

Only what the run created is removed, and only if it is unchanged. What existed before, what others added and what
changed since is not touched, nor the objects that contain it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from xnatferry.planning.remote_state import Fingerprint, HeldFile


class UndoAction(StrEnum):
    """What an undo does with one address; the value is the sign in the printed plan."""

    REMOVE = "-"
    RESTORE = "~"
    STAY = "="
    GONE = " "


@dataclass(frozen=True, slots=True)
class RunEffects:
    """The effects of a run, from its journal.

    Attributes:
        created: Created objects with their fields.
        stored: New files with size and MD5 as they were sent.
        replaced: Replaced files with size and MD5 as they were sent.
        changed: Objects with changed fields: XNAT path to (before, after).
        backups: Saved content of replaced files.
        uncertain: Files that were being sent when the run was killed, and whose local file has changed since.
    """

    created: Mapping[Address, Mapping[str, str]] = field(default_factory=dict)
    stored: Mapping[Address, Fingerprint] = field(default_factory=dict)
    replaced: Mapping[Address, Fingerprint] = field(default_factory=dict)
    changed: Mapping[Address, Mapping[str, tuple[str, str]]] = field(default_factory=dict)
    backups: Mapping[Address, Path] = field(default_factory=dict)
    uncertain: frozenset[Address] = frozenset()


@dataclass(frozen=True, slots=True)
class Inventory:
    """The current state of the objects that a run touched.

    Attributes:
        objects: Every subject, session, scan, assessor and resource at or below the objects that the run created.
        files: Every file in resources that it touched, or below objects that it created.
        fields: Fields of objects whose fields it changed.
        edited: Created objects that were edited since, with the names of the edited fields.
    """

    objects: frozenset[Address] = frozenset()
    files: Mapping[Address, HeldFile] = field(default_factory=dict)
    fields: Mapping[Address, Mapping[str, str]] = field(default_factory=dict)
    edited: Mapping[Address, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UndoStep:
    """What happens to one address.

    Attributes:
        address: The object or file.
        action: What happens to it.
        reason: Why it is not changed.
        fields: Values to restore, by XNAT path.
        current: Values of those fields when the plan was made.
        backup: Saved content of a file.
        holds: Allowed content when the step is done: a file, or the files of a resource, by name with size and MD5 of
            the plan; or scans of a session. With any other content nothing is done.
    """

    address: Address
    action: UndoAction
    reason: str = ""
    fields: Mapping[str, str] = field(default_factory=dict)
    current: Mapping[str, str] = field(default_factory=dict)
    backup: Path | None = None
    holds: Mapping[str, HeldFile | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UndoPlan:
    """All steps of an undo in their order: files before resources, resources before their containers."""

    steps: tuple[UndoStep, ...]

    @property
    def acts(self) -> tuple[UndoStep, ...]:
        """The steps that change something."""
        return tuple(step for step in self.steps if step.action in {UndoAction.REMOVE, UndoAction.RESTORE})

    @property
    def stays(self) -> tuple[UndoStep, ...]:
        """What the run created or replaced and the undo does not change, with reasons."""
        return tuple(step for step in self.steps if step.action is UndoAction.STAY)


_UNCERTAIN = "was on its way when the run was killed, and the local file has changed since, so it cannot be recognised"
_PROJECT = "is kept: XNAT never accepts the ID of a deleted project again; add --remove-project to remove it"
_UNKNOWN = "may have been changed by others: the server lists no digest, and the file cannot be downloaded"


def plan_undo(effects: RunEffects, now: Inventory, *, remove_project: bool = False) -> UndoPlan:
    """Decide about everything that a run created, replaced or changed.

    A project that it created is kept unless *remove_project*: XNAT never accepts a deleted project ID again (403).
    """
    files = {address: _file_action(address, sent, now) for address, sent in effects.stored.items()}
    _keep_neighbours(files, now)
    removable = {address for address, step in files.items() if step.action is UndoAction.REMOVE}
    children: dict[Address, set[Address]] = defaultdict(set)
    for address in (*now.objects, *now.files):
        if address.parent is not None:
            children[address.parent].add(address)
    objects: list[UndoStep] = []
    for address in sorted(effects.created, key=lambda made: (made.resource is not None, made), reverse=True):
        if address not in now.objects:
            objects.append(UndoStep(address, UndoAction.GONE, "no longer exists"))
            continue
        others = children[address] - removable
        if address in now.edited:
            objects.append(UndoStep(address, UndoAction.STAY, f"was edited since ({now.edited[address]})"))
        elif others:
            objects.append(
                UndoStep(address, UndoAction.STAY, f"contains {_named(others)}, which this undo does not remove")
            )
        elif address.level is Level.PROJECT and not remove_project:
            objects.append(UndoStep(address, UndoAction.STAY, _PROJECT))
        else:
            inside = {getattr(child, child.level.value): now.files.get(child) for child in children[address]}
            objects.append(UndoStep(address, UndoAction.REMOVE, holds=inside))
            removable.add(address)
    # A file is removed with its resource, a scan with its session, in one request after another check.
    # Longer names first; see `_keep_neighbours`.
    single = [step for address, step in sorted(files.items(), reverse=True) if not _goes_with(address, removable)]
    kept = [step for step in objects if not (step.action is UndoAction.REMOVE and _goes_with(step.address, removable))]
    doubtful = [
        UndoStep(address, UndoAction.STAY, _UNCERTAIN) for address in sorted(effects.uncertain) if address in now.files
    ]
    return UndoPlan((*_restored_files(effects, now), *_restored_fields(effects, now), *single, *doubtful, *kept))


def _goes_with(address: Address, removable: set[Address]) -> bool:
    """Whether *address* is removed together with its container."""
    carriers = {Level.FILE: Level.RESOURCE, Level.SCAN: Level.SESSION}
    level = carriers.get(address.level)
    if address.level is Level.RESOURCE:
        return False
    return level is not None and any(above.level is level and above in removable for above in address.ancestors())


def _named(others: set[Address]) -> str:
    first = min(others)
    more = f" and {len(others) - 1} more" if len(others) > 1 else ""
    return f"{first.level} {getattr(first, first.level.value)}{more}"


def _file_action(address: Address, sent: Fingerprint, now: Inventory) -> UndoStep:
    held = now.files.get(address)
    if held is None:
        return UndoStep(address, UndoAction.GONE, "no longer exists")
    if held.size_bytes != sent.size_bytes or held.digest not in {None, sent.digest}:
        return UndoStep(address, UndoAction.STAY, "was changed since")
    if held.digest is None:
        return UndoStep(address, UndoAction.STAY, _UNKNOWN)
    return UndoStep(address, UndoAction.REMOVE, holds={address.file or "": held})


def _keep_neighbours(files: dict[Address, UndoStep], now: Inventory) -> None:
    """Keep a file if its removal would also remove a file that stays.

    XNAT 1.8 removes with a file every other file whose name begins with its name
    (``CatalogUtils.findCatEntriesWithinPath``).
    """
    names: dict[Address | None, list[str]] = defaultdict(list)
    for address in sorted(now.files):
        names[address.parent].append(address.file or "")
    for address in sorted(files, reverse=True):  # longer names first: a kept file may keep others
        name, there = address.file or "", names[address.parent]
        for other in there[bisect_right(there, name) :]:
            if not other.startswith(name):
                break
            longer = files.get(address.child(Level.FILE, other))
            if files[address].action is UndoAction.REMOVE and (
                longer is None or longer.action is not UndoAction.REMOVE
            ):
                why = f"not removed: XNAT 1.8 would also remove {other}, whose name begins with this name"
                files[address] = UndoStep(address, UndoAction.STAY, why)


def _restored_files(effects: RunEffects, now: Inventory) -> list[UndoStep]:
    steps = []
    for address, sent in sorted(effects.replaced.items()):
        found = _file_action(address, sent, now)
        backup = effects.backups.get(address)
        if found.action is not UndoAction.REMOVE:
            steps.append(UndoStep(address, UndoAction.STAY, found.reason))
        elif backup is None:
            steps.append(
                UndoStep(address, UndoAction.STAY, "was replaced, and its old content was not saved (see --backup)")
            )
        else:
            steps.append(UndoStep(address, UndoAction.RESTORE, backup=backup, holds=found.holds))
    return steps


def _restored_fields(effects: RunEffects, now: Inventory) -> list[UndoStep]:
    steps = []
    for address, changes in sorted(effects.changed.items()):
        held = now.fields.get(address, {})
        back = {path: before for path, (before, after) in changes.items() if held.get(path) == after}
        if back:
            current = {path: changes[path][1] for path in back}
            steps.append(UndoStep(address, UndoAction.RESTORE, fields=back, current=current))
        if len(back) < len(changes):
            other = ", ".join(sorted(set(changes) - set(back)))
            steps.append(UndoStep(address, UndoAction.STAY, f"{other} was changed since"))
    return steps
