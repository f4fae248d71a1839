"""``table``: a draft of what goes where, to be edited and pushed."""

from __future__ import annotations

from pathlib import Path

import click

from xnatferry.cli.options import SOURCE, output_options, read_source, screen_from, source_options
from xnatferry.errors import DataError, UsageError

__all__ = ["table_command"]


@click.command("table")
@SOURCE
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", required=True, help=".csv, .tsv or .xlsx."
)
@source_options
@output_options
def table_command(source: Path, output: Path, **options: object) -> int:
    """Write a draft table of the images or FreeSurfer subjects in SOURCE.

    Edit it and push it. A draft that is there already is brought up to date and keeps your edits.
    """
    from xnatferry.console.wording import counted
    from xnatferry.results.draft_table import draft_of
    from xnatferry.results.tables import check_writable, write_grid
    from xnatferry.sources.discovery import recognise
    from xnatferry.sources.model import Kind

    screen = screen_from(options)
    check_writable(output)
    if output.suffix.lower() == ".parquet":
        raise UsageError(f"{output}: nobody edits Parquet; write .csv, .tsv or .xlsx")
    if not options.get("kind") and source.exists() and recognise(source) is Kind.BIDS:
        options["kind"] = Kind.NIFTI.value  # a row for each image; BIDS itself needs no table
    discovery = read_source(source, options, screen)
    if discovery.kind is Kind.TABLE:
        raise UsageError(f"{source}: is a table already; name the folder of the images")
    draft = draft_of(discovery, output)
    if not draft.rows:
        raise DataError(f"{source}: no image in it")
    write_grid(output, draft.grid, name="images")
    said = [counted(len(draft.rows), "row"), f"{draft.doubtful} to look at (column 'check')"]
    if draft.kept:
        said.append(f"your edits of {counted(draft.kept, 'row')} kept")
    if draft.gone:
        said.append(f"{counted(draft.gone, 'file')} not found any more")
    screen.lines(f"{count} of {len(draft.rows)} files: {what}" for what, count in draft.shared.items())
    screen.lines([f"{output}: {', '.join(said)}"])
    counts = {"rows": len(draft.rows), "doubtful": draft.doubtful, "kept": draft.kept, "gone": draft.gone}
    screen.records([{"record": "draft", "file": str(output), **counts}])
    return 0
