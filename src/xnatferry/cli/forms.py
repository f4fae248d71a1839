"""``forms``: makes a custom form from the sidecar of a BIDS table, and installs it."""

from __future__ import annotations

import json
from pathlib import Path

import click

from xnatferry.cli.connection import connected
from xnatferry.cli.options import output_options, screen_from, server_options


@click.command("forms")
@click.argument("project")
@click.argument("sidecar", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--apply", is_flag=True, help="Install the form in the project; without it, the form is only printed.")
@click.option("--title", default="", help="Title of the form. Default: BIDS and the name of the file.")
@click.option(
    "--type", "data_type", default="xnat:subjectData", show_default=True, help="Data type whose pages show the form."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@server_options
@output_options
def forms_command(project: str, sidecar: Path, *, apply: bool, title: str, data_type: str, **options: object) -> int:
    """Make a custom form, so that XNAT's pages show custom fields.

    SIDECAR is participants.json, or the JSON file of another BIDS table. Each of its columns without an XNAT field
    becomes a component: a select for Levels, a number for Units, else a text. XNAT 1.8.8 or later is needed.

    After --apply, push with --custom-fields --update-fields: it stores the values where the form shows them.
    """
    from xnatferry.sources.bids.custom_forms import read_form
    from xnatferry.wording import counted

    screen = screen_from(options)
    form = read_form(sidecar, title)
    if not screen.json and not apply:
        click.echo(json.dumps(form, indent=2, ensure_ascii=False))
    if not apply:
        screen.records([{"record": "form", "project": project, "data_type": data_type, "form": form}])
        return 0
    with connected(options, screen) as remote:
        parts = counted(len(form["components"]), "component")
        screen.confirm(f"Install the form {form['title']!r} with {parts} in {project} on {remote.connection.url}?")
        uuid, outcome = remote.custom_fields.install_form(project, data_type, form)
    screen.records([{"record": "form", "project": project, "data_type": data_type, "uuid": uuid, "outcome": outcome}])
    screen.lines([f"Form {form['title']!r} of {project}: {outcome} ({uuid})"])
    return 0
