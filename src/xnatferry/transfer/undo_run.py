"""Undoes a run: reads the server, and carries out an undo plan step by step."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError, NotFoundError, XnatferryError
from xnatferry.planning.remote_state import Fingerprint, HeldFile
from xnatferry.planning.undo_plan import Inventory, RunEffects, UndoPlan, UndoStep, plan_undo
from xnatferry.transfer.events import Began, Listener, Outcome, Receipt
from xnatferry.transfer.payload import file_pieces
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from xnatferry.transfer.destination import Destination
    from xnatferry.xnat.records import Attributes

__all__ = ["plan_of", "take_inventory", "undo"]


def take_inventory(destination: Destination, project: str, effects: RunEffects) -> Inventory:
    """The current state of the objects that a run touched.

    Raises:
        RemoteError: The server cannot be read.
    """
    if not destination.project_exists(project):
        return Inventory()
    touched = {*effects.created, *effects.stored, *effects.replaced, *effects.changed, *effects.uncertain}
    objects: set[Address] = {Address(project)}
    files: dict[Address, HeldFile] = {}
    listed = destination.read_project(project, details=())
    objects |= {Address(project, row["label"]) for row in listed.subjects}
    objects |= {Address(project, row["subject_label"], row["label"]) for row in listed.sessions}
    for above in _containers(touched, objects):
        more, held = _own(destination, above)
        objects |= more
        files |= held
    sessions = {Address(a.project, a.subject, a.session) for a in touched if a.session is not None}
    for session in sorted(sessions & objects):
        more, held = _session(destination, session)
        objects |= more
        files |= held
    fields = {address: _fields(destination, address) for address in effects.changed if address.container in objects}
    return Inventory(frozenset(objects), files, fields, _edited(destination, effects, objects))


#: Fields that people edit in the pages of XNAT; a server fills other fields of new objects automatically.
_BY_HAND = frozenset(
    [
        "note",
        "date",
        "gender",
        "yob",
        "dob",
        "age",
        "handedness",
        "education",
        "race",
        "ethnicity",
        "group",
        "quality",
        "type",
        "series_description",
        "description",
        "keywords",
        "operator",
        "field",
    ]
)


def _edited(destination: Destination, effects: RunEffects, objects: set[Address]) -> dict[Address, str]:
    """Objects that the run created and whose fields were edited since: one request each, none for scans."""
    edited: dict[Address, str] = {}
    for address in effects.created:
        if address not in objects or address.level in {Level.SCAN, Level.RESOURCE}:
            continue
        attributes = destination.attributes(address)
        if attributes is None:
            continue
        made = {address: attributes}
        made |= {address.child(Level.SCAN, scan): found for scan, found in attributes.scans.items()}
        for one, found in made.items():
            if one in effects.created and (names := _edits(effects.created[one], found)):
                edited[one] = ", ".join(names)
    return edited


def _edits(given: Mapping[str, str], attributes: Attributes) -> list[str]:
    """Names of fields that differ from the values of the run, or that were filled in since."""
    given_values = {
        path.removeprefix(f"{attributes.xsi_type}/").rpartition("/")[2]: value for path, value in given.items()
    }
    names = []
    for path, value in attributes.fields.items():
        name = path.rpartition("/")[2]
        if name in _BY_HAND and value and not _same_text(given_values.get(name, ""), value):
            names.append(name)
    return sorted(names)


def _same_text(one: str, other: str) -> bool:
    """Whether two values are the same to XNAT, which writes ``2000.0`` for ``2000``."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _containers(touched: Iterable[Address], objects: set[Address]) -> list[Address]:
    """Projects and subjects that the run created or stored files in."""
    return sorted({a.container for a in touched if a.container.level in {Level.PROJECT, Level.SUBJECT}} & objects)


def _own(destination: Destination, container: Address) -> tuple[set[Address], dict[Address, HeldFile]]:
    """The resources of one object, and their files."""
    objects = {container.child(Level.RESOURCE, row["label"]) for row in destination.list_resources(container)}
    files = {
        container.child(Level.RESOURCE, file.resource).child(Level.FILE, file.name): HeldFile(
            file.size_bytes, file.digest
        )
        for file in (destination.list_files(container) if objects else ())
    }
    return objects, files


def _fields(destination: Destination, address: Address) -> dict[str, str]:
    """All fields of an object by path, and by path with its data type as prefix."""
    attributes = destination.attributes(address)
    if attributes is None:
        return {}
    return {
        **attributes.fields,
        **{f"{attributes.xsi_type}/{path}": value for path, value in attributes.fields.items()},
    }


def _session(destination: Destination, session: Address) -> tuple[set[Address], dict[Address, HeldFile]]:
    files: dict[Address, HeldFile] = {}
    scans = [session.child(Level.SCAN, row["ID"]) for row in destination.list_scans(session)]
    assessors = [session.child(Level.ASSESSOR, row["label"]) for row in destination.list_assessors(session)]
    objects = {*scans, *assessors, *_resources(destination, session)}
    for container in assessors:
        resources, held_there = _own(destination, container)
        objects |= resources
        files |= held_there
    held = destination.list_files(session, all_scans=True) if scans else []
    own = any(address.level is Level.RESOURCE and address.parent == session for address in objects)
    held += destination.list_files(session) if own else []
    for file in held:
        resource = session.child(Level.SCAN, file.scan).child(Level.RESOURCE, file.resource)
        objects.add(resource)
        files[resource.child(Level.FILE, file.name)] = HeldFile(file.size_bytes, file.digest)
    return objects, files


def _resources(destination: Destination, session: Address) -> Iterator[Address]:
    """The resources of a session and of its scans; those of a reconstruction as one of the session, with its ID."""
    for row in destination.list_resources(session, all_scans=True):
        if row["category"] == "scans":
            yield session.child(Level.SCAN, row["cat_id"]).child(Level.RESOURCE, row["label"])
        elif row["category"] in {"resources", ""}:
            yield session.child(Level.RESOURCE, row["label"])
        elif row["category"] != "assessors":
            yield session.child(Level.RESOURCE, f"{row['label']} of {row['category']} {row['cat_id']}")


def undo(
    plan: UndoPlan,
    destination: Destination,
    *,
    listener: Listener = lambda _: None,
    journal: Listener = lambda _: None,
) -> list[Receipt]:
    """Carry out an undo plan; a step that fails does not stop the others.

    Before an object or resource is removed, it is read again; it is not removed if it changed since the plan was made.
    """
    receipts: list[Receipt] = []
    for step in plan.acts:
        journal(Began((step.address,)))
        try:
            receipt = Receipt(step.address, _act(step, destination))
        except XnatferryError as error:
            receipt = Receipt.failed(step.address, error)
        journal(receipt)
        listener(receipt)
        receipts.append(receipt)
    return receipts


def _act(step: UndoStep, destination: Destination) -> Outcome:
    if step.fields:
        destination.set_fields(step.address, step.fields)
        return Outcome.RESTORED
    if step.backup is not None:
        body = partial(file_pieces, step.backup)
        destination.send_file(step.address, body, step.backup.stat().st_size, overwrite=True)
        return Outcome.RESTORED
    if step.address.level is Level.RESOURCE:
        _check_files(step, destination)
    elif step.address.level is not Level.FILE:
        _check_empty(step, destination)
    try:
        destination.remove(step.address, remove_files=True)
    except NotFoundError:
        return Outcome.FOUND  # already removed
    return Outcome.REMOVED


def _check_files(step: UndoStep, destination: Destination) -> None:
    """Check a resource again before it is removed.

    Raises:
        ConflictError: A file was added or changed since the plan was made.
    """
    for file in destination.list_files(step.address):
        if step.holds.get(file.name) != HeldFile(file.size_bytes, file.digest):
            raise ConflictError(f"{step.address}: not removed; {file.name} was added or changed meanwhile")


def _check_empty(step: UndoStep, destination: Destination) -> None:
    """Check an object again before it is removed.

    Raises:
        ConflictError: Something was added to it since the plan was made.
    """
    address = step.address
    inside: list[str] = []
    if address.level is Level.PROJECT:
        inside = [row["label"] for row in destination.read_project(address.project, details=()).subjects]
    elif address.level is Level.SUBJECT:
        inside = [
            row["label"] for row in destination.read_project(address.project, details=()).sessions_of(address.subject)
        ]
    elif address.level is Level.SESSION:
        inside = [row["ID"] for row in destination.list_scans(address) if row["ID"] not in step.holds]
        inside += [file.name for file in destination.list_files(address, all_scans=True)]
        inside += [row["label"] for row in destination.list_assessors(address)]
    inside += [row["label"] for row in destination.list_resources(address, all_scans=address.level is Level.SESSION)]
    if inside:
        raise ConflictError(f"{address}: not removed; {inside[0]} was added meanwhile")


def plan_of(effects: RunEffects, destination: Destination, project: str, *, remove_project: bool = False) -> UndoPlan:
    """Read the server and decide what an undo of *effects* would do."""
    now = take_inventory(destination, project, effects)
    stored, replaced = (_recognised(files, now, destination) for files in (effects.stored, effects.replaced))
    effects = replace(effects, stored=stored, replaced=replaced)
    return plan_undo(effects, now, remove_project=remove_project)


def _recognised(
    files: Mapping[Address, Fingerprint], now: Inventory, destination: Destination
) -> dict[Address, Fingerprint]:
    """*files* of a killed run; those compressed on the way as they are there, where that has the content that was sent.

    Only receipts know as what they were sent, and a killed run does not have all: the compressor may be another since.
    """

    def as_held(address: Address, sent: Fingerprint) -> Fingerprint:
        held = now.files.get(address)
        if sent.content is None or held is None or (held.size_bytes, held.digest) == (sent.size_bytes, sent.digest):
            return sent
        same = destination.read_content(address, held.size_bytes, False) == sent.content  # noqa: FBT003  # not deep
        return Fingerprint(held.size_bytes, held.digest or sent.digest) if same else sent

    return {address: as_held(address, sent) for address, sent in files.items()}
