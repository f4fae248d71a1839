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

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command("serve")
@click.option("--root", type=click.Path(path_type=Path), metavar="DIR", help="Folder of the archive.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Port; 0 uses a free one.")
@click.option("--certfile", type=_FILE, help="Certificate chain (PEM) for HTTPS.")
@click.option("--keyfile", type=_FILE, help="Private key of the certificate (PEM), if it is not in --certfile.")
@click.option(
    "--forwarded-allow-ips",
    default="127.0.0.1",
    show_default=True,
    metavar="ADDRESSES",
    help="Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, with commas.",
)
@click.option("--strict", is_flag=True, help="Fail where a stock XNAT 1.8.11 fails, to test programs against it.")
@click.option("--check", is_flag=True, help="Compare the database with the files and stop; exit code 8 if they differ.")
@click.option("--deep", is_flag=True, help="With --check: hash every file too.")
@click.option("--backup", type=click.Path(path_type=Path), metavar="DIR", help="Copy the archive to DIR, verify, stop.")
@click.option("--empty-trash", is_flag=True, help="Delete the files in the trash and stop.")
@output_options
def serve_command(
    *,
    root: Path | None,
    host: str,
    port: int,
    certfile: Path | None,
    keyfile: Path | None,
    forwarded_allow_ips: str,
    strict: bool,
    check: bool,
    deep: bool,
    backup: Path | None,
    empty_trash: bool,
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
    if check + empty_trash + (backup is not None) > 1:
        raise UsageError("use only one of --check, --backup and --empty-trash")
    if check:
        return _check(folder, screen, deep=deep)
    if backup is not None:
        return _back_up(folder, backup, screen)
    if empty_trash:
        return _empty_trash(folder, screen)
    given = admin_password()

    def ready(running: RunningArchive) -> None:
        shown = running.admin_password if given is None else None  # a chosen one is not printed
        _announce(screen, running.url, running.root, shown, running.repairs.sentence())

    settings = ServerSettings(
        root=folder,
        host=host,
        port=port,
        certfile=certfile,
        keyfile=keyfile,
        forwarded_allow_ips=forwarded_allow_ips,
        strict=strict,
    )
    if settings.exposed:
        screen.warn(
            f"{host} is reachable from other computers, and HTTP is not encrypted: others can read passwords and data. "
            "Use --certfile and --keyfile, or listen on 127.0.0.1 behind an HTTPS proxy."
        )
    serve(settings, admin_password=given, on_ready=ready)
    screen.lines(["Stopped"])
    return 0


def _announce(screen: Screen, url: str, root: Path, password: str | None, repairs: str) -> None:
    if repairs:
        screen.note(repairs, style="yellow")
    screen.lines([f"Archive {root} is served at {url} (stop with Ctrl-C)", f"Web pages: {url}/"])
    if password is not None:
        screen.lines([f"Account admin, password {password} (printed only once)"])
    screen.records([{"record": "serving", "url": url, "root": str(root), "password": password}])


def _check(root: Path, screen: Screen, *, deep: bool) -> int:
    from xnatferry.server.audit import audit
    from xnatferry.wording import counted, human_bytes

    with screen.waiting("Checking"):
        found = audit(root, deep=deep)
    screen.lines(f"{finding.kind:<10} {finding.place}: {finding.words}" for finding in found.findings)
    how = "MD5 compared" if deep else "sizes compared"
    verdict = "Database and files agree" if found.clean else "Database and files differ"
    if found.unfinished:
        left = counted(found.unfinished, "unfinished change")
        screen.warn(f"The archive was not shut down cleanly: {left}; the next start completes or undoes them.")
    size = f"{counted(found.files, 'file')}, {human_bytes(found.size_bytes)}"
    screen.lines([f"{verdict}: {size} ({how}), {counted(len(found.findings), 'finding')}"])
    code = 0 if found.clean else VerifyError.exit_code
    screen.records(
        {"record": "finding", "kind": one.kind, "place": one.place, "words": one.words} for one in found.findings
    )
    totals = {"files": found.files, "size_bytes": found.size_bytes, "deep": deep, "findings": len(found.findings)}
    screen.records([{"record": "result", "exit_code": code, **totals}])
    return code


def _back_up(root: Path, target: Path, screen: Screen) -> int:
    from xnatferry.server.backup import back_up
    from xnatferry.wording import counted, human_bytes

    with screen.waiting("Copying"):
        found = back_up(root, target)
    size = f"{counted(found.files, 'file')}, {human_bytes(found.size_bytes)}"
    screen.lines([f"Backup of {root} in {target}: {size}, verified"])
    screen.records([{"record": "result", "exit_code": 0, "files": found.files, "size_bytes": found.size_bytes}])
    return 0


def _empty_trash(root: Path, screen: Screen) -> int:
    from xnatferry.errors import ArchiveError
    from xnatferry.server.blob_store import BlobStore
    from xnatferry.server.root_lock import RootLock
    from xnatferry.wording import counted

    if not (root / "metadata.sqlite").exists():
        raise ArchiveError(f"no archive in {root}; give its folder with --root")
    lock = RootLock(root)
    lock.claim()
    try:
        number = BlobStore(root).empty_trash(older_than_days=0)
    finally:
        lock.release()
    screen.lines([f"Trash emptied: {counted(number, 'deletion')} removed for good"])
    screen.records([{"record": "result", "exit_code": 0, "deletions": number}])
    return 0
