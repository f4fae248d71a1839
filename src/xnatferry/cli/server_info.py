"""``list`` and ``whoami``: show what is on a server, and which account is used."""

from __future__ import annotations

import click

from xnatferry.cli.connection import connected
from xnatferry.cli.options import DEPTH, output_options, screen_from, server_options


@click.command("list")
@click.argument("address", required=False)
@DEPTH
@server_options
@output_options
def list_command(address: str | None, *, depth: int | None, **options: object) -> int:
    """List projects, subjects, sessions and files of a server.

    ADDRESS is PROJECT[/SUBJECT[/SESSION[/scans/ID | /resources/LABEL ...]]]. Without ADDRESS, projects are listed.

    With -v, a subject or session is listed with its custom fields.

    In projects with more than 200 subjects and sessions, files are counted only with -v or with a larger --depth.
    """
    from xnatferry.console.tree_view import tree_lines, tree_records
    from xnatferry.results.remote_tree import CHEAP, read_tree, with_custom_fields
    from xnatferry.wording import counted
    from xnatferry.xnat.model import Address

    screen = screen_from(options)
    with connected(options, screen) as remote:
        where = Address.parse(address) if address else None
        nodes = read_tree(remote, where, depth=depth, counted=True if screen.verbose else None)
        if screen.verbose and where is not None and where.subject is not None:
            nodes = with_custom_fields(remote, nodes)
    screen.lines(tree_lines(nodes, folded=not screen.verbose))
    screen.records(tree_records(nodes))
    if len(nodes) > CHEAP and nodes[0].files is None and where is not None:
        screen.note(f"Files are not counted (this takes {counted(len(nodes), 'request')}); -v counts them")
    return 0


@click.command("whoami")
@server_options
@output_options
def whoami_command(**options: object) -> int:
    """Show server, version, account and where the credentials come from.

    Passwords and tokens are not shown.
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
