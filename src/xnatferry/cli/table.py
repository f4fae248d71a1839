"""``table``: writes a mapping table to edit and push."""

from __future__ import annotations

from pathlib import Path

import click

from xnatferry.cli.help_sections import SectionedCommand
from xnatferry.cli.options import SOURCE, output_options, read_source, screen_from, source_options
from xnatferry.errors import DataError, UsageError


@click.command("table", cls=SectionedCommand)
@SOURCE
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="Table to write: .csv, .tsv or .xlsx.",
)
@source_options
@output_options
def table_command(source: Path, output: Path, **options: object) -> int:
    """Write a mapping table of a folder, to edit and push.

    The table has one row for each image or FreeSurfer subject in SOURCE. An existing table is updated and keeps your
    edits.
    """
    from xnatferry.results.draft_table import draft_of
    from xnatferry.results.tables import check_writable, write_grid
    from xnatferry.sources.discovery import recognise
    from xnatferry.sources.model import Kind
    from xnatferry.wording import counted

    screen = screen_from(options)
    check_writable(output)
    if output.suffix.lower() == ".parquet":
        raise UsageError(f"{output}: Parquet files cannot be edited; write .csv, .tsv or .xlsx")
    if not options.get("kind") and source.exists() and recognise(source) is Kind.BIDS:
        options["kind"] = Kind.NIFTI.value  # a row for each image; BIDS itself needs no table
    discovery = read_source(source, options, screen)
    if discovery.kind is Kind.TABLE:
        raise UsageError(f"{source}: is already a table; name the folder of the images")
    draft = draft_of(discovery, output)
    if not draft.rows:
        raise DataError(f"{source}: contains no image")
    write_grid(output, draft.grid, name="images")
    given = [counted(len(draft.rows), "row"), f"{draft.doubtful:,} to check (column 'check')"]
    if draft.kept:
        given.append(f"edits of {counted(draft.kept, 'row')} kept")
    if draft.gone:
        given.append(f"{counted(draft.gone, 'file')} no longer found")
    screen.lines(f"{count:,} of {counted(len(draft.rows), 'file')}: {what}" for what, count in draft.shared.items())
    screen.lines([f"{output}: {', '.join(given)}"])
    counts = {"rows": len(draft.rows), "doubtful": draft.doubtful, "kept": draft.kept, "gone": draft.gone}
    screen.records([{"record": "draft", "file": str(output), **counts}])
    return 0
