"""``check``: reads and validates local data."""

from __future__ import annotations

from pathlib import Path

import click

from xnatferry.cli.help_sections import SectionedCommand
from xnatferry.cli.options import DEEP, SOURCE, output_options, read_source, screen_from, source_options
from xnatferry.cli.report_files import check_page_name, freesurfer_report, write_page
from xnatferry.errors import DataError


@click.command("check", cls=SectionedCommand)
@SOURCE
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a report about FreeSurfer subjects: checks, images, numbers. FILE.html or FILE.pdf.",
)
@source_options
@DEEP
@output_options
def check_command(source: Path, *, report: Path | None, **options: object) -> int:
    """Read and validate local data; uses no network."""
    from xnatferry.console.findings_view import discovery_record, finding_lines, source_lines, source_records
    from xnatferry.sources.model import Severity

    screen = screen_from(options)
    if report is not None:
        check_page_name(report)
    discovery = read_source(source, options, screen)
    if report is not None:
        write_page(freesurfer_report(discovery, screen).html(), report)
        screen.note(f"Report: {report}")
    if not screen.quiet:
        screen.lines(source_lines(discovery))
    screen.lines(finding_lines(discovery.all_findings, everything=screen.verbose))
    bad = any(finding.severity is Severity.ERROR for finding in discovery.all_findings)
    code = DataError.exit_code if bad else 0
    if not bad:
        screen.lines(["No errors found. Ready to push."])
    screen.records(source_records(discovery))
    screen.records([discovery_record(discovery, code)])
    return code
