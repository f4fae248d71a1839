"""``stats``: collects FreeSurfer measurements in one table, from a server or from local folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xnatferry.cli.connection import connected
from xnatferry.cli.options import WORKERS, output_options, screen_from, server_options, workers_from
from xnatferry.errors import NotFoundError

if TYPE_CHECKING:
    from xnatferry.console.screen import Screen
    from xnatferry.results.stats_table import StatsTable

#: As `xnatferry.freesurfer.measurements.TABLES`, which is not imported for ``--help``.
_TABLES = ("aseg", "aparc", "aparc.a2009s", "aparc.DKTatlas", "wmparc", "hippo", "amyg", "brainstem", "thalamus")


@click.command("stats")
@click.argument("table", type=click.Choice(_TABLES), metavar="TABLE")
@click.argument("source", metavar="ADDRESS|FOLDER")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Table to write: .csv, .tsv, .xlsx or .parquet  [CSV on stdout]",
)
@click.option("--long/--wide", default=True, help="One row per number (the default), or one row per session.")
@click.option(
    "--measure",
    "measures",
    multiple=True,
    metavar="NAME",
    help="Use only these measurements: volume, thickness, area, mean, ... May be repeated.",
)
@click.option("--resource", metavar="LABEL", help="Resource to read  [the newest with the table]")
@server_options
@WORKERS
@output_options
def stats_command(table: str, source: str, **options: object) -> int:
    """Collect FreeSurfer measurements in one table.

    TABLE is aseg, aparc, aparc.a2009s, aparc.DKTatlas, wmparc, hippo, amyg, brainstem or thalamus. ADDRESS is a
    project, subject, session or resource on a server; FOLDER is a SUBJECTS_DIR or one subject on the local disk.
    """
    from xnatferry.results.tables import check_writable

    screen = screen_from(options)
    output = options["output"]
    if isinstance(output, Path):
        check_writable(output)
    made = _collected(table, source, options, screen)
    chosen = options["measures"]
    made = made.only(chosen if isinstance(chosen, tuple) else ())
    return _show(made, output if isinstance(output, Path) else None, screen, wide=not options["long"])


def _collected(table: str, source: str, options: dict[str, object], screen: Screen) -> StatsTable:
    from xnatferry import api

    workers = workers_from(options)
    if options["server"] is None and (Path(source).exists() or source.startswith((".", "/", "~"))):
        screen.note(f"Reading the local folder {source} (no server)")
        with screen.waiting(f"Reading {source}"):
            return api.stats(table, Path(source).expanduser(), workers=workers)
    resource = options["resource"]
    with connected(options, screen) as remote, screen.waiting(f"Reading {source}"):
        return api.stats(
            table,
            source,
            remote,
            resource=str(resource) if resource else None,
            workers=workers,
            cache=cache_folder(),
        )


def _show(table: StatsTable, output: Path | None, screen: Screen, *, wide: bool) -> int:
    from xnatferry.console.stats_view import remark_lines, remark_records, row_records, stats_line, stats_record
    from xnatferry.results.tables import write_csv

    grid = table.grid(wide=wide)
    code = NotFoundError.exit_code if not grid.height else 1 if table.lacking else 0
    shown = table.remarks if not screen.quiet else table.lacking
    for line in remark_lines(shown, everything=screen.verbose):
        screen.err.print(line)
    if not grid.height:
        screen.error(f"no {table.name} table found; nothing was written")
    elif output is not None:
        with screen.waiting(f"Writing {output}"):
            table.write(output, wide=wide)
        screen.lines([stats_line(table, grid, str(output))])
    elif screen.json:
        screen.records(row_records(grid))
    else:
        write_csv(sys.stdout, grid)
        screen.note(stats_line(table, grid, "stdout"))
    screen.records(remark_records(table.remarks))
    written = str(output) if output is not None and grid.height else None
    screen.records([stats_record(table, grid, written, code)])
    return code


def cache_folder() -> Path:
    """Where fetched statistics are kept: ``XNATFERRY_CACHE``, else the user's cache folder."""
    named = os.environ.get("XNATFERRY_CACHE")
    if named:
        return Path(named) / "stats"
    from platformdirs import user_cache_path

    return user_cache_path("xnatferry", appauthor=False) / "stats"
