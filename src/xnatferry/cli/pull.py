"""``pull``: download files of a server."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xnatferry.cli.connection import connected
from xnatferry.cli.help_sections import DownloadCommand
from xnatferry.cli.options import WORKERS, output_options, screen_from, server_options, workers_from

if TYPE_CHECKING:
    from xnatferry.client.remote import Remote
    from xnatferry.console.screen import Screen
    from xnatferry.results.pull_plan import PullPlan
    from xnatferry.results.pull_run import PullResult
    from xnatferry.xnat.model import Address


@click.command("pull", cls=DownloadCommand)
@click.argument("address")
@click.argument("dest", type=click.Path(path_type=Path))
@click.option(
    "--as",
    "form",
    type=click.Choice(["files", "bids"]),
    default="files",
    help="Folder layout: by XNAT address, or as a BIDS dataset  [files]",
)
@click.option(
    "--on-conflict",
    type=click.Choice(["fail", "skip", "overwrite"]),
    default="fail",
    show_default=True,
    help="What to do with local files that differ from the server.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and stop.")
@server_options
@WORKERS
@output_options
def pull_command(address: str, dest: Path, **options: object) -> int:
    """Download a project, subject, session or resource, and verify it.

    ADDRESS is PROJECT[/SUBJECT[/SESSION[/scans/ID | /resources/LABEL ...]]]. The path of a file in the folder DEST
    is its address: SUBJECT/SESSION/scans/ID/resources/LABEL/files/PATH. Files that exist in DEST are not downloaded
    again.

    --as bids restores a pushed BIDS dataset with its original paths. Of data from other sources it takes the files
    with BIDS names.
    """
    from xnatferry.console.pull_view import pull_plan_lines, pull_plan_records
    from xnatferry.xnat.model import Address

    screen = screen_from(options)
    dry_run = bool(options.pop("dry_run"))
    with connected(options, screen) as remote:
        plan = _plan(remote, Address.parse(address), dest, options, screen)
        if not screen.quiet:
            screen.lines(pull_plan_lines(plan, everything=screen.verbose))
        screen.records(pull_plan_records(plan))
        if dry_run:
            return plan.refused
        return _pull(plan, remote, screen, workers=workers_from(options), local=bool(options["local"]))


def _plan(remote: Remote, address: Address, dest: Path, options: dict[str, object], screen: Screen) -> PullPlan:
    from xnatferry.planning.plan import OnConflict
    from xnatferry.results.operations import plan_pull

    with screen.waiting("Comparing the server with the local disk"):
        return plan_pull(
            address,
            dest,
            remote,
            form="bids" if options["form"] == "bids" else "files",
            on_conflict=OnConflict(str(options["on_conflict"])),
            workers=max(workers_from(options), 8),
        )


def _pull(plan: PullPlan, remote: Remote, screen: Screen, *, workers: int, local: bool) -> int:
    from xnatferry.console.pull_view import pull_lines, pull_record
    from xnatferry.results.pull_plan import check_pullable

    check_pullable(plan)
    started = time.monotonic()
    run, result = _fetched(plan, remote, screen, workers=workers, local=local)
    seconds = time.monotonic() - started
    if plan.fetched:
        screen.lines(pull_lines(result, plan, seconds))
        screen.note(f"Run {run}")
    else:
        _nothing_to_do(plan, result, screen)
    screen.records([pull_record(result, plan, seconds, run)])
    return result.exit_code


def _fetched(plan: PullPlan, remote: Remote, screen: Screen, *, workers: int, local: bool) -> tuple[str, PullResult]:
    from xnatferry.cli.runs import runs_folder
    from xnatferry.console.progress import JsonProgress
    from xnatferry.console.pull_view import PullProgress
    from xnatferry.results.pull_run import fetch_all
    from xnatferry.transfer.journal import Journal

    if not plan.fetched:
        return "", fetch_all(plan, remote, workers=1)
    about = {
        "server": remote.connection.url,
        "local": local,
        "project": plan.address.project,
        "source": str(plan.address),
        "folder": str(plan.folder.absolute()),
    }
    with (
        JsonProgress() if screen.json else PullProgress(screen.err, plan) as show,
        Journal.begin(runs_folder(), "pull", about) as journal,
    ):
        result = fetch_all(plan, remote, workers=workers, listener=show, journal=journal)
        journal.end(result.exit_code, refused=len(plan.refusals))
    return journal.name, result


def _nothing_to_do(plan: PullPlan, result: PullResult, screen: Screen) -> None:
    from xnatferry.console.pull_view import unchanged_lines
    from xnatferry.console.result_view import verdict_counts
    from xnatferry.wording import counted

    if not plan.files and not plan.refusals:
        screen.lines([f"{plan.address}: contains no files"])
        return
    here = sum(verdict.proof.good for verdict in result.verdicts)
    if here == len(plan.files):
        screen.lines([f"Up to date: all {counted(here, 'file', 'are')} in {plan.folder}"])
    else:
        screen.lines([f"Nothing to fetch: {here:,} of {counted(len(plan.files), 'file', 'are')} in {plan.folder}"])
    left = {file.address for file in plan.conflicts}
    kept = [verdict for verdict in result.verdicts if verdict.address not in left]
    screen.lines([verdict_counts(kept, where=""), *unchanged_lines(plan)])
