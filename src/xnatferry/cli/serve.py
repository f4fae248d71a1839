"""``serve``: the local archive in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

from xnatferry.cli.connecting import admin_password, archive_root
from xnatferry.cli.options import output_options, screen_from

__all__ = ["serve_command"]


@click.command("serve")
@click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the archive.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 picks a free one."
)
@output_options
def serve_command(root: Path | None, host: str, port: int, **options: object) -> int:
    """Run the local archive until Ctrl-C.

    The first start creates the account `admin` with the password in XNATFERRY_ADMIN_PASSWORD, else with a random
    one that is shown once.
    """
    from xnatferry.server.archive import RunningArchive, serve
    from xnatferry.server.settings import ServerSettings

    screen = screen_from(options)
    given = admin_password()

    def ready(running: RunningArchive) -> None:
        # A password that the user chose is not repeated; a random one is shown this once.
        shown = running.admin_password if given is None else None
        screen.lines([f"archive {running.root} is served at {running.url}; Ctrl-C stops it"])
        if shown is not None:
            screen.lines([f"account admin, password {shown} (shown this once)"])
        screen.records([{"record": "serving", "url": running.url, "root": str(running.root), "password": shown}])

    settings = ServerSettings(root=root if root is not None else archive_root(), host=host, port=port)
    serve(settings, admin_password=given, on_ready=ready)
    screen.lines(["stopped"])
    return 0
