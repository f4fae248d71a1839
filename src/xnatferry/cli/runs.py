"""``runs`` and ``undo``: past runs, and the way back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from xnatferry.cli.completion import completes, run_names
from xnatferry.cli.connection import connected
from xnatferry.cli.options import REPORT, output_options, screen_from, server_options
from xnatferry.cli.report_files import check_page_name, report_of_run
from xnatferry.cli.state import runs_folder
from xnatferry.errors import UsageError, joint_exit_code

if TYPE_CHECKING:
    from pathlib import Path

    from xnatferry.client.remote import Remote
    from xnatferry.console.screen import Screen
    from xnatferry.planning.undo_plan import UndoPlan
    from xnatferry.transfer.runs import Run

__all__ = ["runs_command", "same_server", "undo_command"]


@click.command("runs")
@click.argument("run", required=False, shell_complete=completes(run_names))
@REPORT
@output_options
def runs_command(run: str | None, *, report: Path | None, **options: object) -> int:
    """Past runs, newest first, or one of them.

    RUN is a name from the list, or 'latest' for the newest push.
    """
    from xnatferry.console.runs_view import run_lines, run_record, runs_lines
    from xnatferry.transfer.runs import list_runs
    from xnatferry.transfer.sharded_runs import ShardedRun, find_run, together

    screen = screen_from(options)
    if report is not None:
        if run is None:
            raise UsageError("a report is about one run; name it, or 'latest' for the newest push")
        check_page_name(report)
    if run is None:
        found = together(list_runs(runs_folder()))
        screen.lines(runs_lines(found) if found else ["no runs yet"])
        screen.records(run_record(one) for one in found)
        return 0
    one = find_run(runs_folder(), run)
    screen.lines(run_lines(one, everything=screen.verbose))
    if isinstance(one, ShardedRun):
        screen.lines(runs_lines(one.parts))
    screen.records([run_record(one)])
    screen.records(one.records())
    if report is not None:
        report_of_run(one.name, report, screen)
    return 0


@click.command("undo")
@click.argument("run", shell_complete=completes(run_names))
@server_options
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would go and what stays.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@output_options
def undo_command(run: str, *, dry_run: bool, **options: object) -> int:
    """Take back what a run created.

    Removes what RUN created where it is still as the run left it; what was there before, was changed since or is
    used by others stays. RUN is a name from 'xnatferry runs', or 'latest'.
    """
    from xnatferry.console.runs_view import undo_lines, undo_records
    from xnatferry.transfer.sharded_runs import find_run
    from xnatferry.transfer.undo_run import plan_of

    screen = screen_from(options)
    one = find_run(runs_folder(), run)
    if not one.undoable:
        raise UsageError(f"{one.name} is no push and no copy; only these can be taken back")
    same_server(one, options)
    with connected(options, screen) as remote:
        plan = plan_of(one.effects(), remote, str(one.attributes["project"]))
        screen.lines(undo_lines(plan))
        screen.records(undo_records(plan))
        if dry_run:
            return 0
        if not plan.acts:
            screen.lines(["nothing to undo: nothing of this run is left as it made it"])
            return 0
        screen.confirm(f"Take back {len(plan.acts)} of them from {remote.connection.url}?")
        return _undo(one, plan, remote, screen)


def same_server(run: Run, options: dict[str, object]) -> None:
    """An undo goes to the server of its run; the local archive may have another port today."""
    there = str(run.attributes.get("server", ""))
    if not run.attributes.get("local") and not options.get("server"):
        options["server"] = there
    elif run.attributes.get("local"):
        if options.get("server") not in {None, "local"}:
            raise UsageError(f"{run.name} went to the local archive, not to {options['server']}")
        options["server"] = "local"


def _undo(run: Run, plan: UndoPlan, remote: Remote, screen: Screen) -> int:
    from xnatferry.console.runs_view import undo_result_lines, undone_record
    from xnatferry.transfer.journal import Journal, event_to_dict
    from xnatferry.transfer.undo_run import undo

    about = {name: run.attributes.get(name) for name in ("server", "local", "project")}
    with Journal.begin(runs_folder(), "undo", {**about, "undoes": run.name}) as journal:
        receipts = undo(plan, remote, journal=journal)
        screen.records(event_to_dict(receipt) for receipt in receipts)
        code = joint_exit_code(receipt.exit_code for receipt in receipts)
        journal.end(code, removed=sum(receipt.exit_code == 0 for receipt in receipts), stayed=len(plan.stays))
    screen.lines(undo_result_lines(receipts, plan))
    screen.records([undone_record(journal.name, receipts, plan, code)])
    return code
