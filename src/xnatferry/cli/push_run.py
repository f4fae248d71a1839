"""Carries out a plan for ``push``: asks, sends with a journal, prints the result, writes the report."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.errors import ConflictError, VerifyError, XnatferryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from distributed import Client

    from xnatferry.client.remote import Remote
    from xnatferry.cluster.clusters import ClusterSpec
    from xnatferry.console.screen import Screen
    from xnatferry.planning.plan import Plan
    from xnatferry.planning.shards import Shard
    from xnatferry.transfer.events import Listener, PushResult, Verdict
    from xnatferry.transfer.rate_limit import RateLimit


def exit_of_plan(plan: Plan) -> int:
    """Exit code of ``plan``, and of a push that sends nothing: first the one that would stop a push."""
    from xnatferry.planning.plan import OnConflict

    if not plan.blocked and plan.conflicts and plan.on_conflict is OnConflict.FAIL:
        return ConflictError.exit_code
    return max((refusal.exit_code for refusal in (*plan.refusals, *plan.blocked)), default=0)


@dataclass(frozen=True, slots=True)
class PushOptions:
    """Options of a push that do not change its plan.

    Attributes:
        workers: How many resources are sent at the same time.
        source: Path of the data; without it, no journal is written.
        backup: Whether the old content of replaced files is saved.
        record: Whether the receipt is uploaded to the project.
        rate_limit: The limit on bytes a second.
        shard: The part of a plan that this run carries out.
        max_body: The most bytes of files in one request.
        cluster: The cluster whose workers send; without it, this process does.
        report: File of the report about the run.
        command: The command line of the run, without secrets, as it can be typed again.
    """

    workers: int = 4
    source: Path | None = None
    backup: bool = False
    record: bool = False
    rate_limit: RateLimit | None = None
    shard: Shard | None = None
    max_body: int | None = None
    cluster: ClusterSpec | None = None
    report: Path | None = None
    command: str = ""


def push_plan(plan: Plan, remote: Remote, screen: Screen, options: PushOptions) -> int:
    """Ask, carry out *plan* with a journal, and print the result; returns the exit code.

    Raises:
        ConflictError: Files differ on the server and the policy is to fail.
        DataError: Sources have no clear place, or none is left.
    """
    from xnatferry.console.result_view import push_lines, push_record
    from xnatferry.planning.plan import Decision
    from xnatferry.transfer.engine import check_sendable
    from xnatferry.wording import counted, human_bytes

    try:
        check_sendable(plan)
    except XnatferryError:
        _write_report(options, screen, plan)
        raise
    if plan.nothing_to_do:
        return _nothing_to_do(plan, remote, screen, options)
    sent = sum(step.sends for step in plan.files)
    replaced = sum(step.decision is Decision.UPDATE for step in plan.files)
    if replaced and not options.backup:
        screen.note(f"{counted(replaced, 'file')} will be replaced. To be able to undo this, add --backup.")
    screen.confirm(f"Push {counted(sent, 'file')}, {human_bytes(plan.sends_bytes)}, to {_where(plan)}?")
    started = time.monotonic()
    with ExitStack() as afterwards:
        run, result = _carry_out(plan, remote, screen, options, afterwards)
        seconds = time.monotonic() - started
    code = result.exit_code or exit_of_plan(plan)
    screen.lines(push_lines(result, seconds))
    _show_refused(plan, screen)
    if run:
        but = f" (except {counted(replaced, 'replaced file')})" if replaced and not options.backup else ""
        screen.note(f"Run {run}. To undo it{but}: xnatferry undo {run}")
    screen.records([push_record(result, seconds, code, run)])
    return code


def _carry_out(
    plan: Plan, remote: Remote, screen: Screen, options: PushOptions, afterwards: ExitStack
) -> tuple[str, PushResult]:
    """Returns name and result of the run; the report is written *afterwards*, also after an error."""
    from xnatferry.cli.report_files import report_of_run
    from xnatferry.cli.runs import runs_folder
    from xnatferry.console.progress import JsonProgress, PushProgress
    from xnatferry.transfer.backup import back_up
    from xnatferry.transfer.engine import carry_out
    from xnatferry.transfer.journal import Journal
    from xnatferry.transfer.receipt_upload import record_on_server
    from xnatferry.transfer.sharded_runs import shard_facts

    with ExitStack() as stack:
        client = stack.enter_context(_workers(plan, screen, options)) if options.cluster is not None else None
        show: JsonProgress | PushProgress
        show = JsonProgress() if screen.json else PushProgress(screen.err, plan, quiet=screen.quiet)
        stack.enter_context(show)
        if options.source is None:
            return "", carry_out(
                plan,
                remote,
                workers=options.workers,
                rate_limit=options.rate_limit,
                max_body=options.max_body,
                listener=show,
            )
        about = {"server": remote.connection.url, "local": plan.local, "project": plan.project}
        attributes = {**about, "user": remote.connection.user, "source": str(options.source.absolute())}
        if options.command:
            attributes["command"] = options.command
        if options.shard is not None:
            where = "local" if plan.local else remote.connection.url
            attributes |= shard_facts(options.shard, server=where, project=plan.project, source=options.source)
        with Journal.begin(runs_folder(), "push", attributes, plan=plan) as journal:
            if options.report is not None:
                afterwards.callback(report_of_run, journal.name, options.report, screen)
            try:
                back_up(plan, remote, journal, everything=options.backup)
                result = _send(plan, remote, options, client, show=show, journal=journal)
                if options.record and not result.stopped:
                    attributes["source"] = options.source.name  # the receipt must not contain paths of this computer
                    attributes.pop("command", None)
                    record_on_server(result, attributes, plan.project, remote, journal)
            except XnatferryError as error:
                journal.end(error.exit_code, error=str(error))
                raise
            query = {} if client is not None else {"requests": remote.requests}
            journal.end(result.exit_code or exit_of_plan(plan), refused=len(plan.refusals), **query)
        return journal.name, result


def _send(
    plan: Plan, remote: Remote, options: PushOptions, client: Client | None, *, show: Listener, journal: Listener
) -> PushResult:
    from xnatferry.transfer.engine import carry_out

    if client is None:
        return carry_out(
            plan,
            remote,
            workers=options.workers,
            rate_limit=options.rate_limit,
            max_body=options.max_body,
            listener=show,
            journal=journal,
        )
    from xnatferry.cluster.dispatch import push_on_cluster

    rate = None if options.rate_limit is None else options.rate_limit.bytes_per_s
    return push_on_cluster(
        plan,
        remote,
        client,
        workers=options.workers,
        listener=show,
        journal=journal,
        bytes_per_s=rate,
        max_body=options.max_body,
    )


@contextmanager
def _workers(plan: Plan, screen: Screen, options: PushOptions) -> Iterator[Client]:
    """The cluster of *options*, whose workers can carry out *plan*."""
    from xnatferry.cluster.clusters import check_workers, open_cluster

    assert options.cluster is not None  # noqa: S101  # the only caller asks
    with open_cluster(options.cluster, workers=options.workers, notify=screen.note) as client:
        check_workers(client, plan)
        yield client


def _nothing_to_do(plan: Plan, remote: Remote, screen: Screen, options: PushOptions) -> int:
    from xnatferry.console.result_view import nothing_record, verdict_counts, verdict_lines
    from xnatferry.pipeline import verify_source
    from xnatferry.wording import counted

    verdicts = verify_source(plan, remote)
    left = {step.address for step in plan.conflicts}
    bad = [verdict for verdict in verdicts if not verdict.proof.good and verdict.address not in left]
    screen.lines(verdict_lines(bad))
    same = len(plan.files) - len(left)
    where = f"in {_where(plan)}" if plan.local else f"on {_where(plan)}"
    if left:
        screen.lines([f"Nothing to send: {counted(same, 'file', 'are')} {where}"])
        screen.lines([f"{counted(len(left), 'file', 'differ')} on the server; not changed"])
    else:
        screen.lines([f"Up to date: all {counted(same, 'file', 'are')} {where}"])
    screen.lines([verdict_counts([verdict for verdict in verdicts if verdict.address not in left])])
    _show_refused(plan, screen)
    _write_report(options, screen, plan, verdicts)
    code = VerifyError.exit_code if bad else exit_of_plan(plan)
    screen.records([nothing_record(verdicts, left, code)])
    return code


def _where(plan: Plan) -> str:
    return "the local archive" if plan.local else plan.server


def _show_refused(plan: Plan, screen: Screen) -> None:
    from xnatferry.wording import counted

    if plan.refusals:
        screen.lines([f"{counted(len(plan.refusals), 'source')} refused and not uploaded (reasons above)"])


def _write_report(options: PushOptions, screen: Screen, plan: Plan, verdicts: Sequence[Verdict] | None = None) -> None:
    """Write the report about a push without a run: it was stopped, or there was nothing to send."""
    from xnatferry.cli.report_files import write_import
    from xnatferry.reports.import_report import Import

    if options.report is not None:
        about_run = Import(plan) if verdicts is None else Import.unneeded(plan, verdicts, options.command)
        write_import(about_run, options.report, screen)
