"""``check``, ``list`` and ``whoami``: they look and change nothing."""

from __future__ import annotations

from pathlib import Path

import click

from xnatferry.cli.connection import connected
from xnatferry.cli.options import (
    DEEP,
    DEPTH,
    SOURCE,
    output_options,
    read_source,
    screen_from,
    server_options,
    source_options,
)
from xnatferry.cli.report_files import check_page_name, freesurfer_report, write_page
from xnatferry.errors import DataError

__all__ = ["check_command", "list_command", "whoami_command"]


@click.command("check")
@SOURCE
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write a page about FreeSurfer subjects: checks, pictures, numbers. FILE.html, or FILE.pdf.",
)
@source_options
@DEEP
@output_options
def check_command(source: Path, *, report: Path | None, **options: object) -> int:
    """Read and validate SOURCE; no network."""
    from xnatferry.console.findings_view import discovery_record, finding_lines, source_lines, source_records
    from xnatferry.sources.model import Severity

    screen = screen_from(options)
    if report is not None:
        check_page_name(report)
    discovery = read_source(source, options, screen)
    if report is not None:
        write_page(freesurfer_report(discovery, screen).html(), report)
        screen.note(f"report: {report}")
    if not screen.quiet:
        screen.lines(source_lines(discovery))
    screen.lines(finding_lines(discovery.all_findings, everything=screen.verbose))
    bad = any(finding.severity is Severity.ERROR for finding in discovery.all_findings)
    code = DataError.exit_code if bad else 0
    if not bad:
        screen.lines(["checked: nothing stands in the way of a push"])
    screen.records(source_records(discovery))
    screen.records([discovery_record(discovery, code)])
    return code


@click.command("list")
@click.argument("address", required=False)
@DEPTH
@server_options
@output_options
def list_command(address: str | None, *, depth: int | None, **options: object) -> int:
    """Show what is on the server, as a tree.

    ADDRESS is PROJECT[/SUBJECT[/SESSION[/scans/ID | /resources/LABEL ...]]]; without it, the projects.

    Files are counted in projects of up to 200 subjects and sessions; in larger ones with -v, or with a --depth below
    the sessions.
    """
    from xnatferry.console.tree_view import tree_lines, tree_records
    from xnatferry.console.wording import counted
    from xnatferry.results.remote_tree import CHEAP, read_tree
    from xnatferry.xnat.model import Address

    screen = screen_from(options)
    with connected(options, screen) as remote:
        where = Address.parse(address) if address else None
        nodes = read_tree(remote, where, depth=depth, counted=True if screen.verbose else None)
    screen.lines(tree_lines(nodes, folded=not screen.verbose))
    screen.records(tree_records(nodes))
    if len(nodes) > CHEAP and nodes[0].files is None and where is not None:
        screen.note(f"files are not counted here, as that takes {counted(len(nodes), 'request')}; -v counts them")
    return 0


@click.command("whoami")
@server_options
@output_options
def whoami_command(**options: object) -> int:
    """Show server, version, account, credentials.

    The credentials are told by where they come from, never by what they are.
    """
    screen = screen_from(options)
    with connected(options, screen) as remote:
        site = remote.check()
    attributes = {
        "server": site.url,
        "user": site.user,
        "version": site.version,
        "credentials": remote.connection.source,
    }
    screen.lines(f"{name:<12} {value}" for name, value in attributes.items())
    screen.records([{"record": "whoami", **attributes}])
    return 0
