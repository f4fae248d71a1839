"""``selftest``: checks on a server, in a scratch project, that xnatferry works."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from xnatferry.cli.connection import connected
from xnatferry.cli.options import output_options, screen_from, server_options
from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from xnatferry.selftest.run import ProbeResult, SelfTest


@click.command("selftest")
@click.option("-p", "--project", required=True, metavar="ID", help="Scratch project; created if it does not exist.")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE.html",
    help="Write the results to this HTML page, and to FILE.json.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@server_options
@output_options
def selftest_command(project: str, report: Path | None, **options: object) -> int:
    """Check on a server, in a scratch project, that xnatferry works.

    Test data is stored under labels that begin with "selftest", and removed at the end. A project that the test created
    is removed too; XNAT never accepts its ID again.
    """
    from xnatferry.selftest.run import run_selftest
    from xnatferry.wording import counted
    from xnatferry.xnat.labels import label_problem

    screen = screen_from(options)
    if why := label_problem(project):
        raise UsageError(f"--project {project!r}: {why}")
    if report is not None and (report.suffix.lower() != ".html" or not report.parent.is_dir()):
        raise UsageError(f"--report {report}: must end with .html, in an existing folder")
    with connected(options, screen) as remote, TemporaryDirectory(prefix="xnatferry-selftest-") as folder:
        screen.confirm(f"Store test data in project {project} on {remote.connection.url}, and remove it at the end?")

        def show(result: ProbeResult) -> None:
            mark = "ok" if result.passed else "FAILED" if result.needed else "note"
            screen.lines([f"{mark:<7} {result.name}: {result.result}"])
            if result.consequence:
                screen.lines([f"        {result.consequence}"])

        test = run_selftest(remote, project, Path(folder), seen=show)
    screen.records([test.to_dict()])
    for left in test.not_removed:
        screen.error(f"Not removed: {left}")
    held = sum(result.passed for result in test.results)
    screen.lines([f"{held} of {counted(len(test.results), 'probe')} passed on {test.facts.get('server', project)}"])
    if report is not None:
        _write(test, report, project)
        screen.note(f"Report: {report}, {report.with_suffix('.json')}")
    return test.exit_code


def _write(test: SelfTest, report: Path, project: str) -> None:
    from xnatferry import __version__
    from xnatferry.durable import replacing
    from xnatferry.reports.page import render

    title = f"Self-test of {test.facts.get('server', 'a server')}"
    page = render("selftest.html", title=title, test=test, project=project, version=__version__)
    data = json.dumps(test.to_dict(), indent=1, ensure_ascii=False)
    for path, text in ((report, page), (report.with_suffix(".json"), data)):
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8")
