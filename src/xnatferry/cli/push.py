"""``plan`` and ``push``: the same steps; ``plan`` stops before anything is sent."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from xnatferry.cli.command_line import command_again
from xnatferry.cli.connection import connected
from xnatferry.cli.help_sections import SectionedCommand
from xnatferry.cli.options import (
    BWLIMIT,
    DEEP,
    DEPTH,
    MAX_BODY,
    MAX_SESSIONS,
    REPORT,
    SHARD,
    SOURCE,
    WORKERS,
    mapping_options,
    output_options,
    rate_limit_from,
    read_source,
    rules_from,
    screen_from,
    selection_from,
    selection_options,
    server_options,
    shard_from,
    size_from,
    source_options,
    together,
    workers_from,
)
from xnatferry.cli.push_run import PushOptions, exit_of_plan, push_plan
from xnatferry.cli.report_files import check_page_name, write_import
from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from xnatferry.client.remote import Remote
    from xnatferry.cluster.clusters import ClusterSpec
    from xnatferry.console.screen import Screen
    from xnatferry.planning.plan import Plan
    from xnatferry.planning.shards import Shard
    from xnatferry.sources.model import Discovery, LocalFile
    from xnatferry.transfer.earlier_runs import EarlierRuns

_CLUSTER = click.option(
    "--cluster",
    metavar="ADDRESS|local:N|slurm",
    help="Send from the workers of a Dask cluster; --workers limits the connections of all workers together.",
)
_ON_CONFLICT = click.option(
    "--on-conflict",
    type=click.Choice(["fail", "skip", "overwrite", "keep-both"]),
    default="fail",
    show_default=True,
    help="What to do with files that differ on the server.",
)
_SNAPSHOTS = click.option(
    "--snapshots", is_flag=True, help="Create snapshots of every scan, as the pages of XNAT show them."
)
_ATTACH_REPORT = click.option(
    "--attach-report", is_flag=True, help="Upload the report of each FreeSurfer subject as resource VALIDATION."
)
_UPDATE_FIELDS = click.option(
    "--update-fields", is_flag=True, help="Change fields of subjects, sessions and scans that differ."
)
_planning_options = together(
    source_options,
    DEEP,
    mapping_options,
    selection_options,
    MAX_SESSIONS,
    SHARD,
    server_options,
    _ON_CONFLICT,
    _UPDATE_FIELDS,
    _SNAPSHOTS,
    _ATTACH_REPORT,
    WORKERS,
)


@click.command("plan", cls=SectionedCommand)
@SOURCE
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the plan to a file, for a later push.",
)
@click.option(
    "--html", type=click.Path(path_type=Path), metavar="FILE", help="Write the plan as a report with images: FILE.html."
)
@DEPTH
@_planning_options
@output_options
def plan_command(source: Path, output: Path | None, html: Path | None, depth: int | None, **options: object) -> int:
    """Show what a push would do; sends nothing.

    + create   = same   ~ update   * differs   ! refused
    """
    from xnatferry.pipeline import with_digests
    from xnatferry.planning.plan_file import write_plan

    screen = screen_from(options)
    if output is not None and (output.is_dir() or not output.parent.is_dir()):
        raise UsageError(f"{output}: cannot be written; name a file in an existing folder")
    if html is not None:
        check_page_name(html)
    shard = shard_from(options)
    with connected(options, screen) as remote:
        plan = _limited(make_plan(source, options, screen, remote), options, shard)
        show_plan(plan, screen, depth=depth)
    if html is not None:
        from xnatferry.reports.import_report import Import

        again = command_again("push", plan, without=("output", "html", "depth"))
        write_import(Import(plan, command=again), html, screen)
    if output is not None:
        try:
            write_plan(with_digests(plan), output, made=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}")
        except OSError as error:
            raise UsageError(f"{output}: cannot be written ({error.strerror})") from None
        screen.note(f"Plan stored in {output}. To carry it out: xnatferry push {output}")
    return exit_of_plan(plan)


@click.command("push", cls=SectionedCommand)
@SOURCE
@_planning_options
@_CLUSTER
@BWLIMIT
@MAX_BODY
@click.option(
    "--backup", is_flag=True, help="Save the old content of files that are replaced, so that undo can restore them."
)
@click.option("--record", is_flag=True, help="Upload the receipt of the run to the project, as resource XNATFERRY.")
@REPORT
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@output_options
def push_command(source: Path, *, backup: bool, record: bool, report: Path | None, **options: object) -> int:
    """Upload data, and verify it.

    Checks SOURCE, compares it with the server, shows the plan, asks, sends, and compares the files on the server.

    SOURCE is a NIfTI file or folder, a BIDS dataset, a FreeSurfer SUBJECTS_DIR, one FreeSurfer subject (folder, zip or
    tar), results of another program, a table, or a plan written by 'xnatferry plan -o'.
    """
    from xnatferry.console.result_view import nothing_record
    from xnatferry.planning.plan_file import is_plan_file
    from xnatferry.xnat.model import Level

    screen = screen_from(options)
    if report is not None:
        check_page_name(report)
    cluster = _cluster_from(options, screen)
    rate_limit, shard, max_body = rate_limit_from(options), shard_from(options), size_from(options)
    push_options = PushOptions(
        workers_from(options),
        source,
        backup=backup,
        record=record,
        rate_limit=rate_limit,
        shard=shard,
        max_body=max_body,
        cluster=cluster,
        report=report,
    )
    with connected(options, screen) as remote:
        if cluster is not None and remote.connection.local and not cluster.on_this_computer:
            raise UsageError(
                f"workers on other computers cannot reach {remote.connection.url}: it is the archive of this computer"
            )
        if is_plan_file(source):
            plan = _limited(_stored_plan(source, options, screen, remote, shard), options)
        else:
            plan = _limited(make_plan(source, options, screen, remote), options, shard)
        if shard is not None and all(step.address.level is Level.PROJECT for step in plan.steps):
            screen.lines([f"Nothing to do: no subject is in part {shard}"])
            screen.records([nothing_record((), set(), exit_of_plan(plan))])
            return exit_of_plan(plan)
        if screen.quiet and not screen.json:
            show_refusals(plan, screen)
        else:
            show_plan(plan, screen)
        return push_plan(plan, remote, screen, replace(push_options, command=command_again("push", plan)))


def _cluster_from(options: dict[str, object], screen: Screen) -> ClusterSpec | None:
    """``--cluster``; None sends from this process."""
    text = options.pop("cluster", None)
    if text is None:
        return None
    from xnatferry.cluster.clusters import ClusterSpec

    cluster = ClusterSpec.parse(str(text))
    for warning in cluster.warnings:
        screen.note(f"warning: {warning}", style="yellow")
    return cluster


def make_plan(source: Path, options: dict[str, object], screen: Screen, remote: Remote) -> Plan:
    """Discover *source* and plan its push with the options of a command."""
    from xnatferry import pipeline
    from xnatferry.console.plan_view import compared_line
    from xnatferry.planning.plan import OnConflict

    discovery = read_source(source, options, screen)
    rules = rules_from(options)
    reports = _reports(discovery, screen) if options.pop("attach_report", False) else None
    policy = OnConflict(str(options.pop("on_conflict", "fail")))
    started = time.monotonic()
    with screen.waiting("Comparing with the server"):
        plan = pipeline.plan(
            discovery,
            remote,
            rules,
            on_conflict=policy,
            update_fields=bool(options.pop("update_fields", False)),
            selection=selection_from(options),
            workers=max(workers_from(options), 8),
            snapshots=bool(options.pop("snapshots", False)),
            reports=reports,
            earlier=_earlier(rules.project, options, remote),
        )
    screen.note(compared_line(plan, time.monotonic() - started))
    return replace(plan, local=bool(options["local"]))


def _earlier(project: str, options: dict[str, object], remote: Remote) -> EarlierRuns:
    from xnatferry.cli.runs import runs_folder
    from xnatferry.transfer.earlier_runs import EarlierRuns

    return EarlierRuns(runs_folder(), remote.connection.url, project, local=bool(options["local"]))


def _reports(discovery: Discovery, screen: Screen) -> dict[Path, tuple[LocalFile, ...]]:
    """``--attach-report``: a page and a record for every FreeSurfer subject, by its path."""
    from xnatferry.cli.report_files import freesurfer_report

    report = freesurfer_report(discovery, screen)
    return {one.source.path: report.files(one.source) for one in report.subjects if not one.source.refused}


def _limited(plan: Plan, options: dict[str, object], shard: Shard | None = None) -> Plan:
    """``--max-sessions`` of *shard*."""
    from xnatferry.planning.selection import first_sessions

    if shard is not None:
        plan = shard.of_plan(plan)
    most = options.get("max_sessions")
    return first_sessions(plan, most) if isinstance(most, int) else plan


def _stored_plan(path: Path, options: dict[str, object], screen: Screen, remote: Remote, shard: Shard | None) -> Plan:
    from xnatferry.pipeline import recheck
    from xnatferry.planning.plan_file import read_plan

    plan = read_plan(path)
    if ignored := _ignored_options():
        raise UsageError(f"{path}: a stored plan cannot be changed; use {', '.join(ignored)} with 'xnatferry plan'")
    if plan.server != remote.connection.url and not (plan.local and options["local"]):
        raise UsageError(f"{path}: the plan is for {plan.server}, but the server is {remote.connection.url}")
    if shard is not None:
        plan = shard.of_plan(plan)  # subjects of other parts may change meanwhile
    with screen.waiting("Checking that the plan is still valid"):
        return recheck(plan, remote, earlier=_earlier(plan.project, options, remote))


def _ignored_options() -> list[str]:
    """Options on the command line that change a plan, which a stored plan ignores."""
    context = click.get_current_context()
    shaping = together(
        source_options,
        DEEP,
        mapping_options,
        selection_options,
        _ON_CONFLICT,
        _UPDATE_FIELDS,
        _SNAPSHOTS,
        _ATTACH_REPORT,
    )

    def probe() -> None:
        """Takes the options."""

    names = {option.name for option in getattr(shaping(probe), "__click_params__", ())}
    given = {p.name: p.opts[-1] for p in context.command.params if p.name in names}
    return sorted(
        option
        for name, option in given.items()
        if context.get_parameter_source(name or "") is ParameterSource.COMMANDLINE
    )


def show_plan(plan: Plan, screen: Screen, *, depth: int | None = None) -> None:
    """Print findings, tree down to *depth* levels below the project, refusals and counts of a plan."""
    from xnatferry.console.findings_view import finding_lines
    from xnatferry.console.plan_view import plan_counts, plan_lines, plan_records

    screen.lines(finding_lines(plan.findings, everything=screen.verbose))
    screen.lines(plan_lines(plan, everything=screen.verbose, depth=depth))
    show_refusals(plan, screen)
    screen.lines([plan_counts(plan)])
    screen.records(plan_records(plan))


def show_refusals(plan: Plan, screen: Screen) -> None:
    """Print sources that are not uploaded, and why."""
    from xnatferry.console.plan_view import refusal_lines

    screen.lines(refusal_lines((*plan.blocked, *plan.refusals), everything=screen.verbose))
