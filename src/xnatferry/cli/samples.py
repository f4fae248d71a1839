"""``samples``: writes sample data."""

from __future__ import annotations

from pathlib import Path

import click

from xnatferry.cli.help_sections import SectionedCommand
from xnatferry.cli.options import output_options, screen_from


@click.command("samples", cls=SectionedCommand)
@click.argument("folder", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False))
@output_options
def samples_command(folder: Path, **options: object) -> int:
    """Write sample data to try xnatferry with.

    Creates FOLDER/nifti (images), FOLDER/freesurfer (a part of a FreeSurfer subject) and FOLDER/tiny_bids (a BIDS
    dataset), with their sources and licences. Existing samples are not replaced.
    """
    from xnatferry.samples import DATASETS, write_to

    screen = screen_from(options)
    write_to(folder)
    screen.lines(f"{folder / name}: {what}" for name, what in DATASETS.items())
    screen.records([{"record": "sample", "name": name, "path": str(folder / name)} for name in DATASETS])
    return 0
