"""The verbs that bring back, carry over and take back, each as one call; and where their runs are kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_state_path

from xnatferry.errors import joint_exit_code
from xnatferry.planning.plan import OnConflict
from xnatferry.results.bids_export import plan_bids_pull
from xnatferry.results.contents import read_contents, read_same
from xnatferry.results.copy_plan import plan_copy as decide_copy
from xnatferry.results.pull_plan import PullPlan, check_pullable
from xnatferry.results.pull_plan import plan_pull as decide_pull
from xnatferry.results.pull_run import PullResult, fetch_all
from xnatferry.results.remote_files import list_files_below
from xnatferry.transfer.engine import PushResult, carry_out, check_sendable
from xnatferry.transfer.journal import Journal
from xnatferry.transfer.sharded_runs import find_run as find_run_in
from xnatferry.transfer.undo_run import plan_of
from xnatferry.transfer.undo_run import undo as carry_out_undo
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    import os
    from typing import Literal

    from xnatferry.client.remote import Remote
    from xnatferry.planning.plan import Plan
    from xnatferry.planning.undo_plan import UndoPlan
    from xnatferry.transfer.events import Listener, Receipt
    from xnatferry.transfer.runs import Run

__all__ = [
    "PullPlan",
    "PullResult",
    "begin_run",
    "copy",
    "find_run",
    "plan_copy",
    "plan_pull",
    "plan_undo",
    "pull",
    "undo",
]


def _silent(_event: object) -> None:
    """A listener that nobody hears."""


def plan_pull(
    address: Address | str,
    dest: str | os.PathLike[str],
    remote: Remote,
    *,
    form: Literal["files", "bids"] = "files",
    on_conflict: OnConflict = OnConflict.FAIL,
    workers: int = 8,
) -> PullPlan:
    """Compare what the server holds at *address* with the folder *dest*. Nothing is written.

    Args:
        address: Project, subject, session, scan or resource.
        dest: Folder; need not exist.
        remote: The server.
        form: ``files`` lays files out by their addresses, ``bids`` makes the dataset again that was pushed.
        on_conflict: What to do with local files that differ.
        workers: How many sessions are asked about at the same time.

    Raises:
        UsageError: *address* is none.
        NotFoundError: Nothing is there.
        RemoteError: The server cannot be asked.
    """
    place = Address.parse(address) if isinstance(address, str) else address
    if form == "bids":
        return plan_bids_pull(remote, place, Path(dest), on_conflict=on_conflict, workers=workers)
    held = list_files_below(remote, place, workers=workers)
    url = remote.connection.url
    return decide_pull(held, Path(dest), server=url, address=place, on_conflict=on_conflict, workers=workers)


def pull(
    address: Address | str,
    dest: str | os.PathLike[str],
    remote: Remote,
    *,
    form: Literal["files", "bids"] = "files",
    on_conflict: OnConflict = OnConflict.FAIL,
    workers: int = 4,
    listener: Listener = _silent,
) -> PullResult:
    """Bring what is at *address* to the folder *dest*; every file ends with a verdict. What is there is not fetched.

    Args:
        address: As of `plan_pull`.
        dest: As of `plan_pull`.
        remote: The server.
        form: As of `plan_pull`.
        on_conflict: As of `plan_pull`.
        workers: How many files are fetched at the same time.
        listener: Is called with every event, from several threads; see `xnatferry.progress`.

    Raises:
        ConflictError: Local files differ and the policy is to fail.
        NotFoundError: Nothing is there.
        RemoteError: The server cannot be asked.
    """
    plan = plan_pull(address, dest, remote, form=form, on_conflict=on_conflict)
    check_pullable(plan)
    return fetch_all(plan, remote, workers=workers, listener=listener)


def plan_copy(
    address: Address | str,
    remote: Remote,
    target: Remote,
    *,
    project: str | None = None,
    on_conflict: OnConflict = OnConflict.FAIL,
    update_fields: bool = False,
    workers: int = 8,
) -> Plan:
    """Compare *address* on one server with another server. `push` carries the plan out there; so does `copy`.

    Args:
        address: Project, subject or session on *remote*.
        remote: Where it is.
        target: Where it goes.
        project: Project there; None for the same.
        on_conflict: What to do with files that *target* holds with other bytes.
        update_fields: Whether attributes that differ are changed.
        workers: How many sessions are asked about at the same time.

    Raises:
        NotFoundError: Nothing is there.
        RemoteError: A server cannot be asked.
    """
    place = Address.parse(address) if isinstance(address, str) else address
    there = project or place.project
    contents = read_contents(remote, place, workers=workers).in_project(there)
    return decide_copy(
        contents,
        read_same(target, contents, there, workers=workers),
        from_project=place.project,
        project=there,
        relay=remote.relay,
        on_conflict=on_conflict,
        update_fields=update_fields,
    )


def copy(
    address: Address | str,
    remote: Remote,
    target: Remote,
    *,
    project: str | None = None,
    on_conflict: OnConflict = OnConflict.FAIL,
    update_fields: bool = False,
    workers: int = 4,
    listener: Listener = _silent,
) -> PushResult:
    """Carry *address* over to another server; bytes stream through this computer and touch no disk.

    Arguments are those of `plan_copy`; *listener* is called with every event, from several threads.

    Raises:
        ConflictError: Files differ and the policy is to fail.
        RemoteError: A server cannot be asked.
    """
    plan = plan_copy(address, remote, target, project=project, on_conflict=on_conflict, update_fields=update_fields)
    check_sendable(plan)
    return carry_out(plan, target, workers=workers, listener=listener)


def begin_run(
    plan: Plan, remote: Remote, *, source: str = "", verb: str = "push", folder: Path | None = None
) -> Journal:
    """A journal for `push`, so that it can be undone and proven again; also by ``xnatferry undo`` and ``verify``.

    with xnatferry.begin_run(plan, xnat.remote) as run:
        result = xnatferry.push(plan, xnat.remote, journal=run)
        run.end(result.exit_code)

    Args:
        plan: What will be pushed.
        remote: Where to.
        source: What people should read as its source.
        verb: ``push`` or ``copy``.
        folder: The folder of all runs; None for that of the command line.

    Raises:
        JournalError: It cannot be written.
    """
    about = {"server": remote.connection.url, "local": plan.local, "project": plan.project, "source": source}
    return Journal.begin(folder or _runs(), verb, {**about, "user": remote.connection.user}, plan=plan)


def find_run(name: str = "latest", *, folder: Path | None = None) -> Run:
    """A past run by its name; ``latest`` is the newest push or copy.

    Raises:
        UsageError: There is none.
    """
    return find_run_in(folder or _runs(), name)


def plan_undo(run: Run, remote: Remote) -> UndoPlan:
    """What `undo` would remove, and what stays because it was there before, or changed since.

    Raises:
        RemoteError: The server cannot be asked.
    """
    return plan_of(run.effects(), remote, str(run.attributes["project"]))


def undo(run: Run, remote: Remote, *, listener: Listener = _silent) -> list[Receipt]:
    """Take back what *run* created; the undo is a run of its own, beside it.

    Raises:
        RemoteError: The server cannot be asked.
        JournalError: The journal cannot be written.
    """
    plan = plan_undo(run, remote)
    about = {name: run.attributes.get(name) for name in ("server", "local", "project")}
    with Journal.begin(run.folder.parent, "undo", {**about, "undoes": run.name}) as journal:
        receipts = carry_out_undo(plan, remote, listener=listener, journal=journal)
        code = joint_exit_code(receipt.exit_code for receipt in receipts)
        journal.end(code, removed=sum(receipt.exit_code == 0 for receipt in receipts), stayed=len(plan.stays))
    return receipts


def _runs() -> Path:
    return user_state_path("xnatferry", appauthor=False) / "runs"
