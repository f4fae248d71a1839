"""``serve``: runs the local archive in the foreground, or checks it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from xnatferry.cli.connection import admin_password, archive_root
from xnatferry.cli.options import output_options, screen_from
from xnatferry.errors import UsageError, VerifyError

if TYPE_CHECKING:
    from xnatferry.console.screen import Screen

__all__ = ["serve_command"]

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("serve")
@click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the archive.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 uses a free one.")
@click.option("--certfile", type=_FILE, help="Certificate chain (PEM) for HTTPS.")
@click.option("--keyfile", type=_FILE, help="Private key of the certificate (PEM), if it is not in --certfile.")
@click.option("--strict", is_flag=True, help="Fail where a stock XNAT 1.8.11 fails, to test programs against it.")
@click.option("--check", is_flag=True, help="Compare the database with the files and stop; exit code 8 if they differ.")
@click.option("--deep", is_flag=True, help="With --check: hash every file too.")
@output_options
def serve_command(
    *,
    root: Path | None,
    host: str,
    port: int,
    certfile: Path | None,
    keyfile: Path | None,
    strict: bool,
    check: bool,
    deep: bool,
    **options: object,
) -> int:
    """Run the local archive as a server until Ctrl-C.

    The first start creates the account `admin` with the password in XNATFERRY_ADMIN_PASSWORD (at least 8
    characters), or with a random password that is printed once.
    """
    from xnatferry.server.archive import RunningArchive, serve
    from xnatferry.server.settings import ServerSettings

    screen = screen_from(options)
    folder = root if root is not None else archive_root()
    if deep and not check:
        raise UsageError("--deep can only be used with --check")
    if keyfile is not None and certfile is None:
        raise UsageError("--keyfile can only be used with --certfile")
    if check:
        return _check(folder, screen, deep=deep)
    given = admin_password()

    def ready(running: RunningArchive) -> None:
        # A password that the user chose is not printed.
        shown = running.admin_password if given is None else None
        if sentence := running.repairs.sentence():
            screen.note(sentence, style="yellow")
        screen.lines([f"Archive {running.root} is served at {running.url} (stop with Ctrl-C)"])
        screen.lines([f"Web pages: {running.url}/"])
        if shown is not None:
            screen.lines([f"Account admin, password {shown} (printed only once)"])
        screen.records([{"record": "serving", "url": running.url, "root": str(running.root), "password": shown}])

    settings = ServerSettings(root=folder, host=host, port=port, certfile=certfile, keyfile=keyfile, strict=strict)
    if settings.exposed:
        screen.warn(
            f"{host} is reachable from other computers, and HTTP is not encrypted: others can read passwords and data. "
            "Use --certfile and --keyfile, or listen on 127.0.0.1 behind an HTTPS proxy."
        )
    serve(settings, admin_password=given, on_ready=ready)
    screen.lines(["Stopped"])
    return 0


def _check(root: Path, screen: Screen, *, deep: bool) -> int:
    from xnatferry.server.audit import audit
    from xnatferry.wording import counted, human_bytes

    with screen.waiting("Checking"):
        found = audit(root, deep=deep)
    screen.lines(f"{finding.kind:<10} {finding.place}: {finding.words}" for finding in found.findings)
    how = "MD5 compared" if deep else "sizes compared"
    verdict = "Database and files agree" if found.clean else "Database and files differ"
    size = f"{counted(found.files, 'file')}, {human_bytes(found.size_bytes)}"
    screen.lines([f"{verdict}: {size} ({how}), {counted(len(found.findings), 'finding')}"])
    code = 0 if found.clean else VerifyError.exit_code
    screen.records(
        {"record": "finding", "kind": one.kind, "place": one.place, "words": one.words} for one in found.findings
    )
    totals = {"files": found.files, "size_bytes": found.size_bytes, "deep": deep, "findings": len(found.findings)}
    screen.records([{"record": "result", "exit_code": code, **totals}])
    return code
