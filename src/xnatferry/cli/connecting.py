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
    from collections.abc import Iterator, Mapping

    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection
    from xnatferry.console.screen import Screen

__all__ = ["admin_password", "archive_root", "connected", "connected_target"]


@contextmanager
def connected(options: dict[str, object], screen: Screen) -> Iterator[Remote]:
    """Log in where the options of a command lead; the local archive runs as long as the command does.

    Afterwards ``options["local"]`` says whether it is the local archive.

    Raises:
        UsageError: Address or config file cannot be used.
        RemoteError: The server cannot be reached, or refuses the login.
    """
    taken = take(options, "server", "user", "password", "config")
    said = {name: None if value is None else str(value) for name, value in taken.items()}
    with _logged_in(said, os.environ, screen) as (remote, local):
        options["local"] = local
        yield remote


@contextmanager
def connected_target(options: dict[str, object], screen: Screen, source: Connection) -> Iterator[Remote]:
    """Log in where ``--to-server`` of a copy leads.

    Its credentials come from ``--to-user``, ``XNATFERRY_TO_USER`` and ``XNATFERRY_TO_PASS``, ``--to-config`` or the
    netrc file; those of the *source* are used when both are one server, and never sent to another.

    Afterwards ``options["to_local"]`` says whether it is the local archive.

    Raises:
        UsageError: Address or config file cannot be used.
        AuthenticationError: There are no credentials for it, or they are wrong.
        RemoteError: The server cannot be reached.
    """
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import normal_url
    from xnatferry.errors import AuthenticationError

    taken = take(options, "to_server", "to_user", "to_config")
    said = {name.removeprefix("to_"): None if value is None else str(value) for name, value in taken.items()}
    environment = {f"XNAT_{word}": os.environ.get(f"XNATFERRY_TO_{word}", "") for word in ("USER", "PASS")}
    options["to_local"] = False
    own = said["user"] or said["config"] or environment["XNAT_USER"]
    if said["server"] not in {None, "local"} and not own and normal_url(said["server"] or "") == source.url:
        with Remote(source) as remote:
            yield remote
        return
    try:
        with _logged_in({**said, "password": None}, environment, screen) as (remote, local):
            options["to_local"] = local
            yield remote
    except AuthenticationError as error:
        if error.status is not None:
            raise
        words = str(error)
        for word, meant in (("XNAT_", "XNATFERRY_TO_"), ("--user", "--to-user"), ("--config", "--to-config")):
            words = words.replace(word, meant)
        raise AuthenticationError(words, url=error.url) from None


@contextmanager
def _logged_in(
    said: Mapping[str, str | None], environment: Mapping[str, str], screen: Screen
) -> Iterator[tuple[Remote, bool]]:
    """The site that *said* and *environment* lead to, and whether it is the local archive."""
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import resolve_connection

    connection = None
    if said["server"] != "local":
        config = said["config"]
        connection = resolve_connection(
            server=said["server"],
            user=said["user"],
            password=said["password"],
            environment=environment,
            config=Path(config) if config else None,
            netrc=_netrc(),
        )
    if connection is None:
        with _local_archive(screen) as local, Remote(local) as remote:
            yield remote, True
        return
    for warning in connection.warnings:
        screen.note(f"warning: {warning}", style="yellow")
    with Remote(connection) as remote:
        yield remote, False


def _netrc() -> Path | None:
    named = os.environ.get("NETRC")
    if named:
        return Path(named)
    try:
        return Path.home() / ".netrc"
    except RuntimeError:  # a container's user without a home
        return None


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
