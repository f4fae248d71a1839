"""``remove``: says what will go, asks, deletes, looks again."""

from __future__ import annotations

import click

from xnatferry.cli.connection import connected
from xnatferry.cli.options import output_options, screen_from, server_options
from xnatferry.errors import UsageError, VerifyError

__all__ = ["remove_command"]


@click.command("remove")
@click.argument("address")
@click.option("--remove-files/--keep-files", default=None, help="Whether the files on the server's disk go too.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@server_options
@output_options
def remove_command(address: str, *, remove_files: bool | None, **options: object) -> int:
    """Delete ADDRESS, after showing what it holds.

    Whether the files on the server's disk go too must be said: --remove-files or --keep-files.
    """
    from xnatferry.console.tree_view import tree_lines, tree_records
    from xnatferry.console.wording import counted, human_bytes
    from xnatferry.results.removal import leftovers, removal_summary
    from xnatferry.xnat.model import Address, Level

    screen = screen_from(options)
    target = Address.parse(address)
    if remove_files is None:
        raise UsageError("say what happens to the files on the server's disk: --remove-files or --keep-files")
    if target.level is Level.RESOURCE and not remove_files:
        raise UsageError("the files of a resource always go with it, into the server's own backup; say --remove-files")
    with connected(options, screen) as remote:
        going = removal_summary(remote, target)
        if not screen.quiet:
            screen.lines(tree_lines(going.nodes))
        files = f"{counted(going.files, 'file')} ({human_bytes(going.size_bytes)})"
        action = f"and its {files}" if remove_files else f"but leave its {files} on the server's disk"
        screen.confirm(f"Remove {target.level} {target} {action} from {remote.connection.url}?")
        remote.remove(target, remove_files=remove_files)
        left = leftovers(remote, target)
    screen.records(tree_records(going.nodes))
    code = VerifyError.exit_code if left else 0
    screen.records(
        [{"record": "removed", "address": str(target), "files": going.files, "left": left, "exit_code": code}]
    )
    if left:
        screen.error(f"the server still lists: {', '.join(left)}")
        return code
    screen.lines([f"removed {target}, {files}{'' if remove_files else ' left on disk'}; the server lists it no more"])
    return 0
