"""Finds the server of a command: options, environment, config file, netrc, else this computer's own archive.

The only module that reads the environment.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xnatferry.cli.options import take

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection
    from xnatferry.console.screen import Screen

__all__ = ["admin_password", "archive_root", "connected"]


@contextmanager
def connected(options: dict[str, object], screen: Screen) -> Iterator[Remote]:
    """Log in where the options of a command lead; the local archive runs as long as the command does.

    Afterwards ``options["local"]`` says whether it is the local archive.

    Raises:
        UsageError: Address or config file cannot be used.
        RemoteError: The server cannot be reached, or refuses the login.
    """
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import resolve_connection

    taken = take(options, "server", "user", "password", "config")
    said = {name: None if value is None else str(value) for name, value in taken.items()}
    connection = None
    if said["server"] != "local":
        config = said["config"]
        connection = resolve_connection(
            server=said["server"],
            user=said["user"],
            password=said["password"],
            environment=os.environ,
            config=Path(config) if config else None,
            netrc=_netrc(),
        )
    options["local"] = connection is None
    if connection is None:
        with _local_archive(screen) as local, Remote(local) as remote:
            yield remote
        return
    for warning in connection.warnings:
        screen.note(f"warning: {warning}", style="yellow")
    with Remote(connection) as remote:
        yield remote


def _netrc() -> Path:
    named = os.environ.get("NETRC")
    return Path(named) if named else Path.home() / ".netrc"


def archive_root() -> Path:
    """The folder of this computer's archive: ``XNATFERRY_ROOT``, else the user's data folder."""
    named = os.environ.get("XNATFERRY_ROOT")
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("xnatferry", appauthor=False) / "archive"


def admin_password() -> str | None:
    """The password that a new archive gives its ``admin``: ``XNATFERRY_ADMIN_PASSWORD``."""
    return os.environ.get("XNATFERRY_ADMIN_PASSWORD") or None


@contextmanager
def _local_archive(screen: Screen) -> Iterator[Connection]:
    """The archive of this computer: the one that runs already, else one of our own for this command.

    The command line has an account of its own there; its password is in a file that only the owner can read.
    """
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.server.archive import read_credential, running_archive
    from xnatferry.server.holder import read_holder

    root = archive_root()
    source = f"of the local archive {root}"
    holder = read_holder(root)
    if holder is not None:
        screen.note(f"local archive {root}, running at {holder.url} (process {holder.pid})")
        user, password = read_credential(root)
        yield Connection(holder.url, user, Secret(password), source=source)
        return
    screen.note(f"local archive {root}")
    with running_archive(root, admin_password=admin_password()) as running:
        yield Connection(running.url, running.user, Secret(running.password), source=source)
