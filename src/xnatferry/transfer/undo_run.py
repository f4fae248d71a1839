"""Undoes a run: reads the server, and carries out an undo plan step by step."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError, NotFoundError, TransferError, VerifyError, XnatferryError
from xnatferry.planning.plan import Decision, Payload, Step
from xnatferry.planning.remote_state import Fingerprint
from xnatferry.planning.undo_plan import Inventory, RunEffects, UndoPlan, UndoStep, plan_undo
from xnatferry.sources.model import LocalFile
from xnatferry.transfer.digest_ladder import NO_DIGEST, DigestLadder, held_file
from xnatferry.transfer.events import Began, Listener, Outcome, Proof, Receipt, emitter
from xnatferry.transfer.resource_sender import ResourceSender
from xnatferry.transfer.run_context import RunContext
from xnatferry.transfer.verify import Verifier
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from xnatferry.planning.remote_state import HeldFile
    from xnatferry.transfer.destination import Destination
    from xnatferry.xnat.records import Attributes, RemoteFile


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
    ladder = DigestLadder(destination)
    for above in _containers(touched, objects):
        more, held = _own(destination, ladder, above)
        objects |= more
        files.update(held)
    sessions = {Address(a.project, a.subject, a.session) for a in touched if a.session is not None}
    for session in sorted(sessions & objects):
        more, held = _session(destination, ladder, session)
        objects |= more
        files |= held
    sent = {**effects.stored, **effects.replaced}
    # Of a file compressed on the way, the size also depends on the compressor; see `_recognised`.
    ours = [a for a in sent if a in files and (sent[a].content or files[a].size_bytes == sent[a].size_bytes)]
    ladder.climb(files, ours, fetch=NO_DIGEST)
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


def _same_size(one: HeldFile, other: HeldFile | None) -> bool:
    return other is not None and one.size_bytes == other.size_bytes


def _same_text(one: str, other: str) -> bool:
    """Whether two values are the same to XNAT, which writes ``2000.0`` for ``2000``."""
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False


def _containers(touched: Iterable[Address], objects: set[Address]) -> list[Address]:
    """Projects and subjects that the run created or stored files in."""
    return sorted({a.container for a in touched if a.container.level in {Level.PROJECT, Level.SUBJECT}} & objects)


def _own(
    destination: Destination, ladder: DigestLadder, container: Address
) -> tuple[set[Address], dict[Address, HeldFile]]:
    """The resources of one object, and their files."""
    objects = {container.child(Level.RESOURCE, row["label"]) for row in destination.list_resources(container)}
    return objects, ladder.listed(container) if objects else {}


def _fields(destination: Destination, address: Address) -> dict[str, str]:
    """All fields of an object by path, and by path with its data type as prefix."""
    attributes = destination.attributes(address)
    if attributes is None:
        return {}
    return {
        **attributes.fields,
        **{f"{attributes.xsi_type}/{path}": value for path, value in attributes.fields.items()},
    }


def _session(
    destination: Destination, ladder: DigestLadder, session: Address
) -> tuple[set[Address], dict[Address, HeldFile]]:
    files: dict[Address, HeldFile] = {}
    scans = [session.child(Level.SCAN, row["ID"]) for row in destination.list_scans(session)]
    assessors = [session.child(Level.ASSESSOR, row["label"]) for row in destination.list_assessors(session)]
    objects = {*scans, *assessors, *_resources(destination, session)}
    for container in assessors:
        resources, held_there = _own(destination, ladder, container)
        objects |= resources
        files |= held_there
    if scans:
        files |= ladder.listed(session, all_scans=True)
    if any(address.level is Level.RESOURCE and address.parent == session for address in objects):
        files |= ladder.listed(session)
    objects |= {replace(address, file=None) for address in files}
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


def undo(
    plan: UndoPlan,
    destination: Destination,
    *,
    listener: Listener = lambda _: None,
    journal: Listener = lambda _: None,
) -> list[Receipt]:
    """Carry out an undo plan; a step that fails does not stop the others.

    Before each step the server is read again; nothing is done if the object changed since the plan was made. A restored
    file is downloaded again and compared.
    """
    receipts: list[Receipt] = []
    undoing = _Undoing(destination)
    emit = emitter(journal, listener)
    for step in plan.acts:
        journal(Began((step.address,)))
        try:
            receipt = undoing.act(step)
        except XnatferryError as error:
            receipt = Receipt.failed(step.address, error)
        emit(receipt)
        receipts.append(receipt)
    return receipts


class _Undoing:
    """Carries out the steps of one undo.

    Args:
        destination: The server.
    """

    def __init__(self, destination: Destination) -> None:
        self._destination = destination
        self._ladder = DigestLadder(destination)
        self._verifier = Verifier(destination, deep=True)

    def act(self, step: UndoStep) -> Receipt:
        """Carry out one step.

        Raises:
            ConflictError: Something was added or changed since the plan was made.
            VerifyError: The server does not hold what was restored.
            RemoteError: The server refused the request, or cannot be reached.
        """
        address = step.address
        if step.fields:
            self._restore_fields(step)
            return Receipt(address, Outcome.RESTORED)
        if step.backup is not None:
            return self._restore_file(step, step.backup)
        if address.level is Level.RESOURCE:
            self._check_files(step, self._destination.list_files(address))
        elif address.level is not Level.FILE:
            self._check_empty(step)
        check = partial(self._check_files, step) if address.level is Level.FILE else None
        try:
            self._destination.remove(address, remove_files=True, check=check)
        except NotFoundError:
            return Receipt(address, Outcome.FOUND)  # already removed
        return Receipt(address, Outcome.REMOVED)

    def _restore_fields(self, step: UndoStep) -> None:
        self._check_fields(step, step.current, "was changed meanwhile, so it is not restored", ConflictError)
        self._destination.set_fields(step.address, step.fields)
        self._check_fields(step, step.fields, "differs from the restored value", VerifyError)

    def _check_fields(self, step: UndoStep, expected: Mapping[str, str], why: str, kind: type[XnatferryError]) -> None:
        held = _fields(self._destination, step.address)
        for path, value in expected.items():
            if not _same_text(held.get(path, ""), value):
                raise kind(f"{step.address}: {path} {why}")

    def _restore_file(self, step: UndoStep, backup: Path) -> Receipt:
        resource = replace(step.address, file=None)
        rows = self._destination.list_files(resource)
        self._check_files(step, rows)
        listed = next({"format": row.format, "content": row.content} for row in rows if row.name == step.address.file)
        try:
            status = backup.stat()
        except OSError as error:
            raise TransferError(f"{backup}: the saved content cannot be read ({error.strerror})") from None
        local = LocalFile(backup, backup.name, status.st_size, status.st_mtime_ns)
        file = Step(step.address, Decision.UPDATE, fields=listed, payload=Payload(local))
        sender = ResourceSender(self._destination, Step(resource, Decision.SAME), [file], lambda _: None, RunContext())
        (receipt,) = sender.send()
        if receipt.exit_code:
            return receipt
        session = Address(resource.project, resource.subject, resource.session)
        (verdict,) = self._verifier.session(session, [file], {step.address: receipt})
        if verdict.proof is not Proof.DIGEST:
            raise VerifyError(f"{step.address}: differs from the saved content ({verdict.proof}: {verdict.message})")
        return replace(receipt, outcome=Outcome.RESTORED)

    def _check_files(self, step: UndoStep, rows: Sequence[RemoteFile]) -> None:
        """Compare a file or resource with a new listing before it is removed or replaced.

        Raises:
            ConflictError: A file was added, removed or changed since the plan was made.
        """
        resource = replace(step.address, file=None)
        held = {resource.child(Level.FILE, row.name): held_file(row) for row in rows}
        if step.address.file is not None:
            held = {step.address: held[step.address]} if step.address in held else {}
        self._ladder.climb(
            held, [a for a, now in held.items() if _same_size(now, step.holds.get(a.file or ""))], fetch=NO_DIGEST
        )
        for address, now in held.items():
            if step.holds.get(address.file or "") != now:
                raise ConflictError(f"{step.address}: not removed; {address.file} was added or changed meanwhile")
        if step.backup is not None and not held:
            raise ConflictError(f"{step.address}: was removed meanwhile, so its saved content is not restored")

    def _check_empty(self, step: UndoStep) -> None:
        """Check an object again before it is removed.

        Raises:
            ConflictError: Something was added to it since the plan was made.
        """
        address, destination = step.address, self._destination
        inside: list[str] = []
        if address.level is Level.PROJECT:
            inside = [row["label"] for row in destination.read_project(address.project, details=()).subjects]
        elif address.level is Level.SUBJECT:
            listed = destination.read_project(address.project, details=())
            inside = [row["label"] for row in listed.sessions_of(address.subject)]
        elif address.level is Level.SESSION:
            inside = [row["ID"] for row in destination.list_scans(address) if row["ID"] not in step.holds]
            inside += [file.name for file in destination.list_files(address, all_scans=True)]
            inside += [row["label"] for row in destination.list_assessors(address)]
        all_scans = address.level is Level.SESSION  # also those of reconstructions
        inside += [row["label"] for row in destination.list_resources(address, all_scans=all_scans)]
        if inside:
            raise ConflictError(f"{address}: not removed; {inside[0]} was added meanwhile")
