"""``completion``: scripts for shells, and the values that they complete."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from click.shell_completion import CompletionItem

_VARIABLE = "_XNATFERRY_COMPLETE"
#: Newest runs whose project is read: completion must be fast.
_NEWEST_RUNS = 50


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> int:
    """Print the completion script of a shell.

    bash reads it from ~/.local/share/bash-completion/completions/xnatferry, zsh from a file _xnatferry in a folder of
    its fpath, fish from ~/.config/fish/completions/xnatferry.fish.
    """
    from click.shell_completion import get_completion_class

    from xnatferry.cli.commands import cli

    found = get_completion_class(shell)
    assert found is not None  # noqa: S101  # the choices above are click's
    source = found(cli, {}, "xnatferry", _VARIABLE)
    # click would run bash to check its version; printing the script must not need a bash.
    click.echo(source.source_template % source.source_vars())
    return 0


def completes(
    names: Callable[[], list[tuple[str, str]]], *, files: bool = False
) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Complete a parameter with *names* (values with a help text) and *files*; errors complete nothing."""

    def complete(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        from xnatferry.errors import XnatferryError

        try:
            found = [CompletionItem(name, help=word) for name, word in names() if name.startswith(begun)]
        except (XnatferryError, OSError):
            found = []
        return [*found, CompletionItem(begun, type="file")] if files else found

    return complete


def profile_names() -> list[tuple[str, str]]:
    """Profiles and their servers."""
    from xnatferry.cli.profiles import Profiles

    return [(one.name, one.server) for one in Profiles().all().values()]


def run_names() -> list[tuple[str, str]]:
    """Past runs, newest first. Their names are those of their folders, so none is opened."""
    return [(folder.name, "") for folder in _run_folders()]


def project_names() -> list[tuple[str, str]]:
    """Projects of the newest runs. No server is asked."""
    found: dict[str, str] = {}
    for folder in _run_folders()[:_NEWEST_RUNS]:
        try:
            attributes = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            found.setdefault(
                str(attributes["project"]),
                "the local archive" if attributes.get("local") else str(attributes["server"]),
            )
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return sorted(found.items())


def _run_folders() -> list[Path]:
    from xnatferry.cli.runs import runs_folder

    runs = runs_folder()
    return sorted((folder for folder in runs.iterdir() if folder.is_dir()), reverse=True) if runs.is_dir() else []
