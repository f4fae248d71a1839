"""``runs`` and ``undo``: lists past runs, and undoes them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xnatferry.cli.completion import completes, run_names
from xnatferry.cli.connection import connected
from xnatferry.cli.options import REPORT, output_options, screen_from, server_options
from xnatferry.cli.report_files import check_page_name, report_of_run
from xnatferry.errors import UsageError, joint_exit_code

if TYPE_CHECKING:
    from xnatferry.client.remote import Remote
    from xnatferry.console.screen import Screen
    from xnatferry.planning.undo_plan import UndoPlan
    from xnatferry.transfer.runs import Run


def runs_folder() -> Path:
    """The folder of all runs: ``XNATFERRY_STATE``, else the user's state folder."""
    named = os.environ.get("XNATFERRY_STATE")
    if named:
        return Path(named) / "runs"
    from platformdirs import user_state_path

    return user_state_path("xnatferry", appauthor=False) / "runs"


@click.command("runs")
@click.argument("run", required=False, shell_complete=completes(run_names))
@REPORT
@output_options
def runs_command(run: str | None, *, report: Path | None, **options: object) -> int:
    """List past runs, or show one.

    Runs are listed newest first. RUN is a name from the list, or 'latest' for the newest push.
    """
    from xnatferry.console.runs_view import run_lines, run_record, runs_lines
    from xnatferry.transfer.runs import list_runs
    from xnatferry.transfer.sharded_runs import ShardedRun, find_run, together

    screen = screen_from(options)
    if report is not None:
        if run is None:
            raise UsageError("--report needs a run: name one, or 'latest' for the newest push")
        check_page_name(report)
    if run is None:
        found = together(list_runs(runs_folder()))
        screen.lines(runs_lines(found) if found else ["No runs yet"])
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
@click.option(
    "--remove-project",
    is_flag=True,
    help="Also remove the project if the run created it. XNAT never accepts the ID of a deleted project again.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@output_options
def undo_command(run: str, *, dry_run: bool, remove_project: bool, **options: object) -> int:
    """Remove what a run created.

    Removes objects and files that RUN created, unless they were changed since or contain data of others. Does not
    touch what existed before. RUN is a name from 'xnatferry runs', or 'latest'.
    """
    from xnatferry.console.runs_view import undo_lines, undo_records
    from xnatferry.transfer.sharded_runs import find_run
    from xnatferry.transfer.undo_run import plan_of
    from xnatferry.wording import counted

    screen = screen_from(options)
    one = find_run(runs_folder(), run)
    if not one.undoable:
        raise UsageError(f"{one.name} cannot be undone: it is not a push or a copy")
    same_server(one, options)
    with connected(options, screen) as remote:
        project = str(one.attributes["project"])
        plan = plan_of(one.effects(), remote, project, remove_project=remove_project)
        screen.lines(undo_lines(plan))
        screen.records(undo_records(plan))
        if dry_run:
            return 0
        if not plan.acts:
            screen.lines(["Nothing to undo: what this run created was removed or changed since"])
            return 0
        screen.confirm(f"Undo {counted(len(plan.acts), 'step')} on {remote.connection.url}?")
        return _undo(one, plan, remote, screen)


def same_server(run: Run, options: dict[str, object]) -> None:
    """Use the server of the run; the port of the local archive may have changed."""
    there = str(run.attributes.get("server", ""))
    if not run.attributes.get("local") and not options.get("server"):
        options["server"] = there
    elif run.attributes.get("local"):
        if options.get("server") not in {None, "local"}:
            raise UsageError(f"{run.name} is a run of the local archive, not of {options['server']}")
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
