"""Pull, copy, undo and stats as functions, and the folder of their runs."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path, user_state_path

from xnatferry.errors import joint_exit_code
from xnatferry.planning.custom_field_findings import custom_field_findings
from xnatferry.planning.plan import OnConflict
from xnatferry.planning.session_types import type_findings
from xnatferry.results.bids_export import plan_bids_pull
from xnatferry.results.contents import add_digests, read_contents, read_same
from xnatferry.results.copy_plan import plan_copy as decide_copy
from xnatferry.results.local_stats import local_stats
from xnatferry.results.pull_plan import PullPlan, check_pullable
from xnatferry.results.pull_plan import plan_pull as decide_pull
from xnatferry.results.pull_run import PullResult, fetch_all
from xnatferry.results.remote_files import list_files_below
from xnatferry.results.remote_stats import remote_stats
from xnatferry.results.stats_cache import StatsCache
from xnatferry.transfer.digest_ladder import DigestLadder
from xnatferry.transfer.earlier_runs import EarlierRuns
from xnatferry.transfer.engine import carry_out, check_sendable
from xnatferry.transfer.journal import Journal
from xnatferry.transfer.sharded_runs import find_run as find_run_in
from xnatferry.transfer.undo_run import plan_of
from xnatferry.transfer.undo_run import undo as carry_out_undo
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    import os
    from typing import Literal

    from xnatferry.client.remote import Remote
    from xnatferry.client.remote_reader import RemoteReader
    from xnatferry.planning.plan import Plan
    from xnatferry.planning.undo_plan import UndoPlan
    from xnatferry.results.stats_table import StatsTable
    from xnatferry.transfer.events import Listener, PushResult, Receipt
    from xnatferry.transfer.runs import Run

__all__ = [
    "PullPlan",
    "PullResult",
    "begin_run",
    "copy",
    "earlier_runs",
    "find_run",
    "plan_copy",
    "plan_pull",
    "plan_undo",
    "pull",
    "stats",
    "undo",
]


def _ignore(_event: object) -> None:
    """A listener that ignores all events."""


def plan_pull(
    address: Address | str,
    dest: str | os.PathLike[str],
    remote: Remote,
    *,
    form: Literal["files", "bids"] = "files",
    on_conflict: OnConflict = OnConflict.FAIL,
    workers: int = 8,
) -> PullPlan:
    """Compare *address* on the server with the folder *dest*. Nothing is written.

    Args:
        address: Project, subject, session, scan or resource.
        dest: Folder; need not exist.
        remote: The server.
        form: ``files`` uses addresses as paths, ``bids`` restores a pushed dataset.
        on_conflict: What to do with local files that differ.
        workers: How many sessions are read at the same time.

    Raises:
        UsageError: *address* is not valid.
        ValueError: *on_conflict* is no `OnConflict`.
        NotFoundError: *address* does not exist.
        RemoteError: The server cannot be read.
    """
    place = Address.parse(address) if isinstance(address, str) else address
    policy = OnConflict(on_conflict)
    if form == "bids":
        return plan_bids_pull(remote, place, Path(dest), on_conflict=policy, workers=workers)
    return decide_pull(
        list_files_below(remote, place, workers=workers),
        Path(dest),
        server=remote.connection.url,
        address=place,
        on_conflict=policy,
        workers=workers,
        digests=partial(DigestLadder(remote).digests, compute=False),
    )


def pull(
    address: Address | str,
    dest: str | os.PathLike[str],
    remote: Remote,
    *,
    form: Literal["files", "bids"] = "files",
    on_conflict: OnConflict = OnConflict.FAIL,
    workers: int = 4,
    listener: Listener = _ignore,
) -> PullResult:
    """Download *address* to the folder *dest*, and verify every file. Existing files are not downloaded again.

    Args:
        address: As for `plan_pull`.
        dest: As for `plan_pull`.
        remote: The server.
        form: As for `plan_pull`.
        on_conflict: As for `plan_pull`.
        workers: How many files are downloaded at the same time.
        listener: Called with every event, from several threads; see `xnatferry.progress`.

    Raises:
        ConflictError: Local files differ and the policy is to fail.
        NotFoundError: *address* does not exist.
        RemoteError: The server cannot be read.
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
    """Compare *address* on one server with another server. `push` carries out the plan there.

    Args:
        address: Project, subject or session on *remote*.
        remote: The source server.
        target: The target server.
        project: Project ID on the target; None for the same.
        on_conflict: What to do with files that differ on *target*.
        update_fields: Whether fields that differ are changed.
        workers: How many sessions are read at the same time.

    Raises:
        NotFoundError: *address* does not exist.
        RemoteError: A server cannot be read.
    """
    place = Address.parse(address) if isinstance(address, str) else address
    there = project or place.project
    contents = read_contents(remote, place, workers=workers).in_project(there)
    held = read_same(target, contents, there, workers=workers)
    add_digests(contents, held, remote, place.project, compute=False)
    add_digests(held, contents, target, there)
    plan = decide_copy(
        contents,
        held,
        from_project=place.project,
        project=there,
        relay=remote.relay,
        on_conflict=OnConflict(on_conflict),
        update_fields=update_fields,
    )
    more = (*type_findings(plan, target.set_up_types), *custom_field_findings(plan, target.custom_fields.places))
    return replace(plan, findings=(*plan.findings, *more))


def copy(
    address: Address | str,
    remote: Remote,
    target: Remote,
    *,
    project: str | None = None,
    on_conflict: OnConflict = OnConflict.FAIL,
    update_fields: bool = False,
    workers: int = 4,
    listener: Listener = _ignore,
) -> PushResult:
    """Copy *address* to another server; files stream through this computer and are not stored on its disk.

    Arguments are as for `plan_copy`; *listener* is called with every event, from several threads.

    Raises:
        ConflictError: Files differ and the policy is to fail.
        RemoteError: A server cannot be read.
    """
    plan = plan_copy(address, remote, target, project=project, on_conflict=on_conflict, update_fields=update_fields)
    check_sendable(plan)
    return carry_out(plan, target, workers=workers, listener=listener)


def begin_run(
    plan: Plan, remote: Remote, *, source: str = "", verb: str = "push", folder: Path | None = None
) -> Journal:
    """A journal for `push`, so that the run can be verified and undone, also with ``xnatferry verify`` and ``undo``.

    with xnatferry.begin_run(plan, xnat.remote) as run:
        result = xnatferry.push(plan, xnat.remote, journal=run)
        run.end(result.exit_code)

    Args:
        plan: The plan of the push.
        remote: The server.
        source: Name of the source, for lists of runs.
        verb: ``push`` or ``copy``.
        folder: The folder of all runs; None uses the one of the command line.

    Raises:
        JournalError: It cannot be written.
    """
    about = {"server": remote.connection.url, "local": plan.local, "project": plan.project, "source": source}
    return Journal.begin(folder or _runs(), verb, {**about, "user": remote.connection.user}, plan=plan)


def earlier_runs(remote: Remote, project: str, *, folder: Path | None = None) -> EarlierRuns:
    """Earlier runs to a project, for `plan`: a push finishes uploads that they did not finish.

    Args:
        remote: The server.
        project: Project ID.
        folder: The folder of all runs; None for that of the command line.
    """
    return EarlierRuns(folder or _runs(), remote.connection.url, project)


def find_run(name: str = "latest", *, folder: Path | None = None) -> Run:
    """A past run by its name; ``latest`` is the newest push or copy.

    Raises:
        UsageError: It does not exist.
    """
    return find_run_in(folder or _runs(), name)


def plan_undo(run: Run, remote: Remote, *, remove_project: bool = False) -> UndoPlan:
    """What `undo` would remove, and what it would not change, with reasons.

    Args:
        run: A push or copy.
        remote: Its server.
        remove_project: Whether to remove a project that the run created; XNAT never accepts its ID again.

    Raises:
        RemoteError: The server cannot be read.
    """
    return plan_of(run.effects(), remote, str(run.attributes["project"]), remove_project=remove_project)


def undo(run: Run, remote: Remote, *, remove_project: bool = False, listener: Listener = _ignore) -> list[Receipt]:
    """Remove what *run* created; the undo is also recorded as a run. Arguments are those of `plan_undo`.

    Raises:
        RemoteError: The server cannot be read.
        JournalError: The journal cannot be written.
    """
    plan = plan_undo(run, remote, remove_project=remove_project)
    about = {name: run.attributes.get(name) for name in ("server", "local", "project")}
    with Journal.begin(run.folder.parent, "undo", {**about, "undoes": run.name}) as journal:
        receipts = carry_out_undo(plan, remote, listener=listener, journal=journal)
        code = joint_exit_code(receipt.exit_code for receipt in receipts)
        journal.end(code, removed=sum(receipt.exit_code == 0 for receipt in receipts), stayed=len(plan.stays))
    return receipts


def _runs() -> Path:
    return user_state_path("xnatferry", appauthor=False) / "runs"


def stats(
    table: str,
    where: Address | str | Path,
    remote: RemoteReader | None = None,
    *,
    resource: str | None = None,
    workers: int = 4,
    cache: Path | None = None,
) -> StatsTable:
    """Collect one kind of FreeSurfer measurements.

    table = xnatferry.stats("aseg", "BRAIN", client.remote)
    table.write(Path("aseg.csv"))
    table.to_pandas(wide=True)

    What is missing is in ``table.remarks``; it raises no error.

    Args:
        table: ``aseg``, ``aparc``, ``aparc.a2009s``, ``aparc.DKTatlas``, ``wmparc``, ``hippo``, ``amyg``,
            ``brainstem`` or ``thalamus``.
        where: Project, subject, session or resource on *remote*; without one, a SUBJECTS_DIR, a subject folder or an
            archive of one.
        remote: The server.
        resource: Label of the resource to read; None uses the newest one with the table.
        workers: How many sessions or folders are read at the same time.
        cache: Folder of cached files; None uses the user's cache folder.

    Raises:
        UsageError: The table is unknown, or *where* is not an address.
        NotFoundError: *where* does not exist.
        RemoteError: The server cannot be read.
    """
    if remote is None:
        return local_stats(table, Path(str(where)), workers=workers)
    address = where if isinstance(where, Address) else Address.parse(str(where))
    folder = cache if cache is not None else user_cache_path("xnatferry", appauthor=False) / "stats"
    with closing(StatsCache(folder)) as kept:
        return remote_stats(table, remote, address, cache=kept, resource=resource, workers=workers)
