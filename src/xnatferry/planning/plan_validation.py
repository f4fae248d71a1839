"""Checks that a stored plan is still valid for the current state of the server."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError
from xnatferry.planning.file_comparison import FileComparer
from xnatferry.planning.plan import Decision, Payload, Plan, Step
from xnatferry.planning.reconcile import same_value
from xnatferry.planning.snapshot_steps import RECORD_NAME
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xnatferry.planning.file_comparison import FingerprintOf, ReadContent
    from xnatferry.planning.remote_state import HeldFile, RemoteState
    from xnatferry.sources.model import LocalFile

_SHOWN = 10


def validate_plan(
    plan: Plan,
    now: RemoteState,
    *,
    fingerprint: FingerprintOf,
    read_content: ReadContent,
    moved_sources: Sequence[str] = (),
) -> Plan:
    """Return *plan* with existing objects marked as SAME: an earlier push of it may have been interrupted.

    Args:
        plan: A stored plan.
        now: What the server holds of its sessions.
        fingerprint: See `FileComparer`.
        read_content: See `FileComparer`.
        moved_sources: What changed on the local disk.

    Raises:
        ConflictError: Source or server changed since the plan; the message names what.
    """
    moved = list(moved_sources)
    steps = []
    comparer = FileComparer(fingerprint, read_content)
    records = {s.address: s.payload.local for s in plan.files if s.payload and s.address.file == RECORD_NAME}
    for step in plan.steps:
        if step.payload is not None and step.payload.local.made is not None:
            current, why = _compare_picture(step, now, records.get(replace(step.address, file=RECORD_NAME)))
        else:
            current, why = _compare(step, now, comparer)
        steps.append(current)
        if why:
            moved.append(f"{step.address}: {why}")
    if moved:
        more = f" (and {len(moved) - _SHOWN} more)" if len(moved) > _SHOWN else ""
        raise ConflictError(
            "the plan is outdated, nothing was sent: " + "; ".join(moved[:_SHOWN]) + more + "; create the plan again"
        )
    return replace(plan, steps=tuple(steps))


def _compare(step: Step, now: RemoteState, comparer: FileComparer) -> tuple[Step, str]:
    if step.payload is not None:
        return _compare_file(step, step.payload, now.held_file(step.address), comparer)
    there = _is_there(step.address, now)
    if there is None:
        return step, ""
    if step.decision is Decision.CREATE and there:
        return replace(step, decision=Decision.SAME), _wrong_subject(step.address, now)
    if step.decision is not Decision.CREATE and not there:
        return step, "was removed since the plan was made"
    if step.decision is Decision.UPDATE:
        return _compare_fields(step, now.fields_of(step.address))
    return step, _wrong_subject(step.address, now)


def _compare_fields(step: Step, held: Mapping[str, str]) -> tuple[Step, str]:
    """Compare an update of fields; an earlier push of the plan may have made some of the changes."""
    open_changes = {}
    for path, (before, after) in step.changes.items():
        current = held.get(path.removeprefix("xnat:subjectData/"), "")
        if same_value(step.xsi_type, path, current, after):
            continue
        if not same_value(step.xsi_type, path, current, before):
            return step, f"{path} was changed to {current!r} since the plan was made"
        open_changes[path] = (before, after)
    decision = Decision.UPDATE if open_changes else Decision.SAME
    return replace(step, decision=decision, changes=open_changes), ""


def _wrong_subject(address: Address, now: RemoteState) -> str:
    session = now.sessions.get(address.session or "")
    if address.level is Level.SESSION and session is not None and session.subject not in {"", address.subject}:
        return f"was moved to subject {session.subject} since the plan was made"
    return ""


def _compare_file(step: Step, payload: Payload, held: HeldFile | None, comparer: FileComparer) -> tuple[Step, str]:
    if step.decision is Decision.CREATE and held is None:
        return step, ""
    if held is None:
        return step, "was removed since the plan was made"
    if step.decision is not Decision.CREATE and held.digest == payload.held_digest:
        return step, ""
    if step.decision is not Decision.DIFFERS and (found := comparer.compare(payload, held, step.address)).same:
        payload = replace(payload, held_digest=held.digest)
        return replace(step, decision=Decision.SAME, reason=found.message, payload=payload), ""
    if step.decision is Decision.CREATE:
        return step, "a file of this name was added since the plan was made"
    return step, "content changed since the plan was made"


def _compare_picture(step: Step, now: RemoteState, record: LocalFile | None) -> tuple[Step, str]:
    """A snapshot is complete if its record exists, which is sent last; otherwise a push was interrupted."""
    if now.held_file(step.address) is None:
        gone = "" if step.decision is Decision.CREATE else "was removed since the plan was made"
        return step, gone
    there = now.held_file(replace(step.address, file=RECORD_NAME))
    recorded = (
        there is not None
        and record is not None
        and there.size_bytes == record.size_bytes
        and there.digest in {None, record.digest}
    )
    return replace(step, decision=Decision.SAME if recorded else Decision.UPDATE), ""


def _is_there(address: Address, now: RemoteState) -> bool | None:
    """Whether an object exists; None when the remote state does not tell (resources without files)."""
    session = now.sessions.get(address.session or "")
    if address.level is Level.PROJECT:
        return now.project_exists
    if address.level is Level.SUBJECT:
        return address.subject in now.subjects
    if address.level is Level.SESSION:
        return session is not None
    if address.level is Level.SCAN:
        return session is not None and address.scan in session.scans
    return True if address.level is Level.RESOURCE and now.held_in(address) else None
