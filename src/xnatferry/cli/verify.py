"""``verify``: compares the server with local data, or with what a run sent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xnatferry.cli.completion import completes, run_names
from xnatferry.cli.connection import connected
from xnatferry.cli.help_sections import SectionedCommand
from xnatferry.cli.options import (
    WORKERS,
    mapping_options,
    output_options,
    screen_from,
    selection_options,
    server_options,
    source_options,
    workers_from,
)
from xnatferry.cli.push import make_plan, show_refusals
from xnatferry.cli.runs import runs_folder, same_server
from xnatferry.errors import DataError, UsageError, VerifyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xnatferry.console.screen import Screen
    from xnatferry.transfer.events import Verdict


@click.command("verify", cls=SectionedCommand)
@click.argument("source", metavar="RUN|SOURCE", shell_complete=completes(run_names, files=True))
@click.option("--deep", is_flag=True, help="Download every file and compute its MD5; nothing is stored.")
@source_options
@mapping_options
@selection_options
@server_options
@WORKERS
@output_options
def verify_command(source: str, *, deep: bool, **options: object) -> int:
    """Compare data or a past run with the server, by MD5.

    Sends nothing. If the server lists no MD5, it is asked to compute them. RUN is a name from 'xnatferry runs', or
    'latest'. SOURCE is anything that can be pushed.
    """
    screen = screen_from(options)
    if not Path(source).exists() and options.get("project") is None:
        return _verify_run(source, options, screen, deep=deep)
    from xnatferry.pipeline import verify_source

    with connected(options, screen) as remote:
        plan = make_plan(Path(source), options, screen, remote)
        with screen.waiting("Verifying"):
            verdicts = verify_source(plan, remote, workers=workers_from(options), deep=deep)
    show_refusals(plan, screen)
    return _show(verdicts, screen, refused=len(plan.refusals) + len(plan.blocked))


def _verify_run(name: str, options: dict[str, object], screen: Screen, *, deep: bool) -> int:
    from xnatferry.pipeline import verify_run
    from xnatferry.transfer.sharded_runs import find_run

    run = find_run(runs_folder(), name)
    if not run.has_plan:
        raise UsageError(f"{run.name}: nothing to verify; the run has no plan")
    same_server(run, options)
    with connected(options, screen) as remote, screen.waiting("Verifying"):
        verdicts = verify_run(run, remote, workers=workers_from(options), deep=deep)
    return _show(verdicts, screen, refused=0)


def _show(verdicts: Sequence[Verdict], screen: Screen, *, refused: int) -> int:
    from xnatferry.console.result_view import verdict_counts, verdict_lines
    from xnatferry.transfer.journal import event_to_dict

    bad = [verdict for verdict in verdicts if not verdict.proof.good]
    screen.lines(verdict_lines(verdicts if screen.verbose else bad, everything=screen.verbose))
    screen.lines([verdict_counts(verdicts)])
    code = VerifyError.exit_code if bad else DataError.exit_code if refused else 0
    screen.records(event_to_dict(verdict) for verdict in verdicts)
    screen.records([{"record": "result", "exit_code": code, "files": len(verdicts), "unproven": len(bad)}])
    return code
