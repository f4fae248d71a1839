"""The manual page and the reference say what the commands say."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tools.cli_reference import manual_page, markdown_page

DOCS = Path(__file__).resolve().parents[2] / "docs"
MAN = DOCS / "man" / "xnatferry.1"


def test_the_reference_is_up_to_date():
    assert (DOCS / "cli.md").read_text() == markdown_page(), "run `make reference`"
    assert MAN.read_text() == manual_page(), "run `make reference`"


def test_every_option_of_a_large_command_has_a_section():
    import click

    from xnatferry.cli.commands import cli
    from xnatferry.cli.help_sections import SectionedCommand, sections_of

    context = click.Context(cli)
    commands = [cli.get_command(context, name) for name in cli.list_commands(context)]
    for command in commands:
        titles = [title for title, _ in sections_of(click.Context(command))]
        assert ("Options" in titles) is not isinstance(command, SectionedCommand), command.name
        assert len(command.params) < 20 or isinstance(command, SectionedCommand), command.name


def test_an_option_without_a_section_is_an_error():
    import click

    from xnatferry.cli.help_sections import SectionedCommand

    command = SectionedCommand("new", params=[click.Option(["--unknown-thing"])])
    with pytest.raises(KeyError, match="unknown_thing"):
        command.get_help(click.Context(command))


def test_every_command_and_option_is_in_it():
    import click

    from xnatferry.cli.commands import cli

    context = click.Context(cli)
    page = markdown_page()
    for name in cli.list_commands(context):
        part = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        for parameter in cli.get_command(context, name).params:
            shown = parameter.opts if isinstance(parameter, click.Option) else [parameter.make_metavar(context)]
            assert all(option in part for option in shown), f"{name}: {shown}"


@pytest.mark.parametrize(
    "command", [["man", "--warnings", "-l"], ["mandoc", "-T", "lint", "-W", "warning"]], ids=lambda words: words[0]
)
def test_it_renders_without_warnings(command):
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(
        [*command, MAN], capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    if command[0] == "man":
        assert "xnatferry push" in done.stdout
        assert "130" in done.stdout
    else:
        assert done.stdout == ""
