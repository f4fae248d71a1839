"""Saves the old content of files that a push replaces."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xnatferry.durable import flush_folders
from xnatferry.errors import VerifyError
from xnatferry.planning.plan import Decision, Plan, Step

if TYPE_CHECKING:
    from xnatferry.transfer.destination import Destination
    from xnatferry.transfer.journal import Journal


def back_up(plan: Plan, destination: Destination, journal: Journal, *, everything: bool = True) -> int:
    """Fetch files that *plan* replaces into the journal's folder, before anything is sent; returns how many.

    Args:
        plan: The plan.
        destination: The server.
        journal: Where they are saved.
        everything: Whether the user's files are saved too, or only files that xnatferry itself writes and replaces.

    Raises:
        RemoteError: One cannot be fetched: then nothing has been replaced.
    """
    folder = journal.folder / "backup"
    steps = [step for step in plan.files if step.decision is Decision.UPDATE and (everything or _is_ours(step))]
    for number, step in enumerate(steps, start=1):
        target = folder / str(number)
        try:
            destination.get_file(step.address, target)
        except VerifyError:
            # The listed digest may be older than the bytes: two equal downloads are what the server holds.
            destination.get_file(step.address, target, digest=destination.read_digest(step.address))
        journal.note({"record": "backup", "address": str(step.address), "path": f"backup/{number}"})
    if steps:
        flush_folders([folder, journal.folder])
    return len(steps)


def _is_ours(step: Step) -> bool:
    return step.payload is not None and step.payload.local.data is not None
