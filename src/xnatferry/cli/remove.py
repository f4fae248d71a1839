"""``remove``: shows what is deleted, asks, deletes, checks the result."""

from __future__ import annotations

import click

from xnatferry.cli.connection import connected
from xnatferry.cli.options import output_options, screen_from, server_options
from xnatferry.errors import UsageError, VerifyError


@click.command("remove")
@click.argument("address")
@click.option(
    "--remove-files/--keep-files", default=None, help="Delete the files on the disk of the server, or keep them."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@server_options
@output_options
def remove_command(address: str, *, remove_files: bool | None, **options: object) -> int:
    """Delete an object of a server, after showing what is in it.

    --remove-files or --keep-files is required: it decides about the files on the disk of the server.
    """
    from xnatferry.console.tree_view import tree_lines, tree_records
    from xnatferry.results.removal import leftovers, removal_summary
    from xnatferry.wording import counted, human_bytes
    from xnatferry.xnat.model import Address, Level

    screen = screen_from(options)
    target = Address.parse(address)
    if remove_files is None:
        raise UsageError(
            "--remove-files or --keep-files is required: it decides about the files on the disk of the server"
        )
    if target.level is Level.RESOURCE and not remove_files:
        raise UsageError(
            "--keep-files cannot be used for a resource: XNAT always removes its files; use --remove-files"
        )
    with connected(options, screen) as remote:
        summary = removal_summary(remote, target)
        if not screen.quiet:
            screen.lines(tree_lines(summary.nodes))
        if target.level is Level.PROJECT:
            screen.lines([f"{target}: this server never accepts the ID of a deleted project again."])
        if summary.shared:
            shared = counted(len(summary.shared), "session")
            screen.lines([f"{shared} shared from other projects: only the share is removed, the files are kept."])
        files = f"{counted(summary.files, 'file')} ({human_bytes(summary.size_bytes)})"
        action = f"and its {files}" if remove_files else f"and keep its {files} on the disk of the server"
        screen.confirm(f"Remove {target.level} {target} {action} from {remote.connection.url}?")
        remote.remove(target, remove_files=remove_files)
        left = leftovers(remote, target)
    screen.records(tree_records(summary.nodes))
    code = VerifyError.exit_code if left else 0
    screen.records(
        [{"record": "removed", "address": str(target), "files": summary.files, "left": left, "exit_code": code}]
    )
    if left:
        screen.error(f"{target}: not removed; the server still lists {', '.join(left)}")
        return code
    screen.lines([f"Removed {target}: {files}{'' if remove_files else ' kept on the disk of the server'}"])
    return 0
