"""``copy``: a project, subject or session from one server to another."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xnatferry.cli.completion import completes, profile_names
from xnatferry.cli.connection import connected, connected_target
from xnatferry.cli.help_sections import DownloadCommand
from xnatferry.cli.options import (
    BWLIMIT,
    WORKERS,
    output_options,
    rate_limit_from,
    screen_from,
    server_options,
    workers_from,
)
from xnatferry.cli.push import show_plan
from xnatferry.cli.push_run import exit_of_plan
from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from xnatferry.client.remote import Remote
    from xnatferry.console.screen import Screen
    from xnatferry.planning.plan import Plan
    from xnatferry.transfer.events import PushResult
    from xnatferry.transfer.rate_limit import RateLimit
    from xnatferry.xnat.model import Address


@click.command("copy", cls=DownloadCommand)
@click.argument("address")
@click.option("--to-server", metavar="URL|local", help="Server to copy to; 'local' is the archive of this computer.")
@click.option(
    "--to-profile",
    metavar="NAME",
    shell_complete=completes(profile_names),
    help="Server and account to copy to, as saved by 'xnatferry login'.",
)
@click.option("--to-project", metavar="ID", help="Project ID on that server  [same ID]")
@click.option(
    "--to-user", metavar="NAME", help="User name on that server; the password is read from XNATFERRY_TO_PASS."
)
@click.option(
    "--to-config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="JSON file with server, user and password to copy to.",
)
@server_options
@click.option(
    "--on-conflict",
    type=click.Choice(["fail", "skip", "overwrite"]),
    default="fail",
    show_default=True,
    help="What to do with files that differ on the other server.",
)
@click.option("--update-fields", is_flag=True, help="Change fields that differ.")
@click.option("-n", "--dry-run", is_flag=True, help="Show the plan and stop.")
@WORKERS
@BWLIMIT
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@output_options
def copy_command(address: str, to_project: str | None, *, dry_run: bool, **options: object) -> int:
    """Copy a project, subject or session to another server.

    ADDRESS is PROJECT[/SUBJECT[/SESSION]]. Files stream through this computer and are not stored on its disk. Files
    that exist on the other server are not sent again. 'xnatferry undo' removes what a copy created.
    """
    from xnatferry.xnat.model import Address

    screen = screen_from(options)
    if options["to_server"] is None and options["to_profile"] is None:
        raise UsageError("no target server; use --to-server URL or --to-profile NAME")
    rate_limit = rate_limit_from(options)
    source = Address.parse(address)
    project = to_project or source.project
    with (
        connected(options, screen) as remote,
        connected_target(options, screen, remote.connection) as target,
    ):
        if target.connection.url == remote.connection.url and project == source.project:
            raise UsageError(f"{source}: source and target are the same; use --to-project to name another project")
        plan = _plan(remote, target, source, {**options, "project": project}, screen)
        if not screen.quiet:
            show_plan(plan, screen)
        if dry_run:
            return exit_of_plan(plan)
        origin = f"{remote.connection.url} {source}"
        return _copy(plan, target, screen, workers=workers_from(options), rate_limit=rate_limit, source=origin)


def _plan(remote: Remote, target: Remote, address: Address, options: dict[str, object], screen: Screen) -> Plan:
    from xnatferry.planning.plan import OnConflict
    from xnatferry.results.operations import plan_copy
    from xnatferry.xnat.labels import label_problem

    project = str(options["project"])
    if why := label_problem(project):
        raise UsageError(f"project {project!r} cannot be used: {why}")
    with screen.waiting("Comparing the two servers"):
        plan = plan_copy(
            address,
            remote,
            target,
            project=project,
            on_conflict=OnConflict(str(options["on_conflict"])),
            update_fields=bool(options["update_fields"]),
            workers=max(workers_from(options), 8),
        )
    return replace(plan, local=bool(options["to_local"]))


def _copy(
    plan: Plan, target: Remote, screen: Screen, *, workers: int, rate_limit: RateLimit | None, source: str
) -> int:
    from xnatferry.console.result_view import push_lines, push_record
    from xnatferry.transfer.engine import check_sendable
    from xnatferry.wording import counted, human_bytes

    check_sendable(plan)
    if plan.nothing_to_do:
        return _nothing_to_do(plan, screen)
    sent = sum(step.sends for step in plan.files)
    screen.confirm(f"Copy {counted(sent, 'file')}, {human_bytes(plan.sends_bytes)}, to {target.connection.url}?")
    started = time.monotonic()
    run, result = _carry_out(plan, target, screen, workers=workers, rate_limit=rate_limit, source=source)
    seconds = time.monotonic() - started
    code = result.exit_code or exit_of_plan(plan)
    screen.lines(push_lines(result, seconds))
    _show_refused(plan, screen)
    screen.note(f"Run {run}. To undo it: xnatferry undo {run}")
    screen.records([push_record(result, seconds, code, run)])
    return code


def _carry_out(
    plan: Plan, target: Remote, screen: Screen, *, workers: int, rate_limit: RateLimit | None, source: str
) -> tuple[str, PushResult]:
    from xnatferry.cli.runs import runs_folder
    from xnatferry.console.progress import JsonProgress, PushProgress
    from xnatferry.transfer.engine import carry_out
    from xnatferry.transfer.journal import Journal

    about = {"server": target.connection.url, "local": plan.local, "project": plan.project, "source": source}
    with (
        JsonProgress() if screen.json else PushProgress(screen.err, plan) as show,
        Journal.begin(runs_folder(), "copy", about, plan=plan) as journal,
    ):
        result = carry_out(plan, target, workers=workers, rate_limit=rate_limit, listener=show, journal=journal)
        journal.end(result.exit_code or exit_of_plan(plan), refused=len(plan.refusals))
    return journal.name, result


def _nothing_to_do(plan: Plan, screen: Screen) -> int:
    from xnatferry.console.result_view import verdict_counts
    from xnatferry.transfer.verify import verdicts_of
    from xnatferry.wording import counted

    verdicts = verdicts_of(plan)
    screen.lines(
        [f"Up to date: all {counted(len(verdicts), 'file', 'are')} on {plan.server}", verdict_counts(verdicts)]
    )
    _show_refused(plan, screen)
    code = exit_of_plan(plan)
    screen.records([{"record": "result", "exit_code": code, "sent_files": 0, "sent_bytes": 0, "files": len(verdicts)}])
    return code


def _show_refused(plan: Plan, screen: Screen) -> None:
    from xnatferry.wording import counted

    if plan.refusals:
        screen.lines([f"{counted(len(plan.refusals), 'object')} refused and not copied (reasons above)"])
