"""Connects a command to its server: options, environment, config file, profile, netrc, else the local archive."""

from __future__ import annotations

import logging
import os
import socket
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from xnatferry.cli.options import take
from xnatferry.errors import ArchiveHeldError, RemoteError, UnavailableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection
    from xnatferry.console.screen import Screen

log = logging.getLogger(__name__)


@contextmanager
def connected(options: dict[str, object], screen: Screen) -> Iterator[Remote]:
    """Log in to the server that the options name; the local archive runs as long as the command.

    Afterwards ``options["local"]`` says whether it is the local archive.

    Raises:
        UsageError: Address or config file cannot be used.
        RemoteError: The server cannot be reached, or refuses the login.
    """
    taken = take(options, "server", "user", "password", "config", "profile", "ca")
    given = {name: None if value is None else str(value) for name, value in taken.items()}
    if options.pop("insecure", False):
        given["insecure"] = "yes"
    with _logged_in(given, os.environ, screen) as (remote, local):
        options["local"] = local
        yield remote


@contextmanager
def connected_target(options: dict[str, object], screen: Screen, source: Connection) -> Iterator[Remote]:
    """Log in to the server that ``--to-server`` or ``--to-profile`` of a copy names.

    Its credentials come from ``--to-user``, ``XNATFERRY_TO_USER`` and ``XNATFERRY_TO_PASS``, ``--to-config``, a profile
    or the netrc file; those of the *source* are used when both are one server, and never sent to another.

    Afterwards ``options["to_local"]`` says whether it is the local archive.

    Raises:
        UsageError: Address, config file or profile cannot be used.
        AuthenticationError: There are no credentials for it, or they are wrong.
        RemoteError: The server cannot be reached.
    """
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import normal_url
    from xnatferry.errors import AuthenticationError

    taken = take(options, "to_server", "to_user", "to_config", "to_profile")
    given = {name.removeprefix("to_"): None if value is None else str(value) for name, value in taken.items()}
    if given["profile"]:
        _check_target_profile(given["profile"], given["server"], given["config"])
    environment = {f"XNAT_{word}": os.environ.get(f"XNATFERRY_TO_{word}", "") for word in ("USER", "PASS")}
    environment["SSL_CERT_FILE"] = os.environ.get("SSL_CERT_FILE", "")
    options["to_local"] = False
    own = given["user"] or given["config"] or given["profile"] or environment["XNAT_USER"]
    if given["server"] not in {None, "local"} and not own and normal_url(given["server"] or "") == source.url:
        with Remote(source) as remote:
            yield remote
        return
    try:
        with _logged_in({**given, "password": None}, environment, screen) as (remote, local):
            options["to_local"] = local
            yield remote
    except AuthenticationError as error:
        if error.status is not None:
            raise
        words = str(error)
        for word, meant in (("XNAT_", "XNATFERRY_TO_"), ("--user", "--to-user"), ("--config", "--to-config")):
            words = words.replace(word, meant)
        raise AuthenticationError(words, url=error.url) from None


def _check_target_profile(name: str, server: str | None, config: str | None) -> None:
    from xnatferry.cli.profiles import Profiles
    from xnatferry.client.settings import normal_url

    if config is not None:
        raise UsageError("--to-profile and --to-config cannot be used together: each names an account")
    known = Profiles().named(name).server
    if server is not None and (server == "local" or normal_url(server) != normal_url(known)):
        raise UsageError(f"profile {name} is for {known}, but --to-server is {server}; use one of them")


@contextmanager
def _logged_in(
    given: Mapping[str, str | None], environment: Mapping[str, str], screen: Screen
) -> Iterator[tuple[Remote, bool]]:
    """The server that *given* and *environment* name, and whether it is the local archive."""
    from xnatferry.client.remote import Remote

    connection = None if given["server"] == "local" else _resolved(given, environment)
    if connection is None:
        with _local_archive(screen) as local, Remote(local) as remote:
            yield remote, True
        return
    for warning in connection.warnings:
        screen.note(f"warning: {warning}", style="yellow")
    with Remote(connection) as remote:
        if connection.alias:
            _renew_token(remote)
        yield remote, False


def _resolved(given: Mapping[str, str | None], environment: Mapping[str, str]) -> Connection | None:
    from xnatferry.cli.profiles import Profiles
    from xnatferry.client.settings import normal_url, resolve_connection

    if given.get("ca") and given.get("insecure"):
        raise UsageError("--ca and --insecure cannot be used together")
    config, profile = given["config"], given.get("profile")
    candidates = Profiles().candidates(profile)
    connection = resolve_connection(
        server=given["server"],
        user=given["user"],
        password=given["password"],
        environment=environment,
        config=Path(config) if config else None,
        profiles=candidates,
        netrc=_netrc(),
        verify_tls=False if given.get("insecure") else given.get("ca"),
    )
    if profile is not None and connection is not None and normal_url(candidates[0].server) != connection.url:
        raise UsageError(
            f"profile {profile} is for {candidates[0].server}, but --server, XNAT_HOST or --config names "
            f"{connection.url}; use one of them"
        )
    return connection


#: A token older than this is replaced when it is used; XNAT's end after 48 hours (``aliasTokenTimeout``).
_RENEW_H = 12.0


def _renew_token(remote: Remote) -> None:
    """Get a new token while the old one is valid, so that daily users need not log in again.

    The old one is not invalidated: another run may use it.
    """
    from xnatferry.cli.credentials import Credential
    from xnatferry.cli.profiles import Profiles

    profiles = Profiles()
    try:
        key = profiles.named(remote.connection.profile).key
        held = profiles.credentials.find(key)
        if held is None or not held.token or held.age_h < _RENEW_H:
            return
        if (fresh := remote.issue_token()) is not None:
            profiles.credentials.keep(key, Credential.now(*fresh, token=True))
    except (RemoteError, UsageError) as error:
        log.info("token of profile %s not renewed: %s", remote.connection.profile, error)


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


#: How long, and after how many seconds again, an archive that another process starts or stops is looked for.
_PATIENCE_S, _PAUSE_S = 120.0, 0.1
#: Seconds without a request after which the archive no longer waits for a client.
_IDLE_S = 30.0


@contextmanager
def _local_archive(screen: Screen) -> Iterator[Connection]:
    """The local archive: the one that another process runs, else one that this command starts.

    The command line has its own account there; its password is in a file that only the owner can read.
    """
    from xnatferry.server.root_lock import read_root_owner

    root = archive_root()
    give_up = None
    while True:
        with ExitStack() as stack:
            root_lock = read_root_owner(root)
            if root_lock is not None and root_lock.host not in {"", socket.gethostname()}:
                # A shared disk: 127.0.0.1 is another computer there, and the credential would be sent to a stranger.
                raise ArchiveHeldError(
                    f"{root}: the local archive is used by {root_lock}; run the command on that computer, or stop the"
                    " process there"
                )
            found = (
                _own_archive(root, stack, screen)
                if root_lock is None
                else _joined(root, root_lock.url, str(root_lock), stack, screen)
            )
            if found is not None:
                connection, retire = found
                yield connection
                if retire is not None:
                    _wait_for_clients(retire, screen)
                return
        if give_up is None:
            give_up = time.monotonic() + _PATIENCE_S
            screen.note(f"Waiting for the local archive {root}, used by {root_lock or 'another process'}")
        elif time.monotonic() > give_up:
            raise ArchiveHeldError(
                f"{root}: the local archive is used by {root_lock or 'another process'} and did not answer in "
                f"{_PATIENCE_S:.0f} s; wait until that process ends, or stop it"
            )
        time.sleep(_PAUSE_S)


def _joined(root: Path, url: str, who: str, stack: ExitStack, screen: Screen) -> tuple[Connection, None] | None:
    """The archive that *who* runs; None while it does not answer. It does not stop while we are logged in."""
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.server.archive import read_credential

    if not url:
        return None
    user, password = read_credential(root)
    connection = Connection(url, user, Secret(password), source=f"of the local archive {root}")
    client = stack.enter_context(Remote(connection))
    try:
        client.check()
    except UnavailableError:
        return None
    screen.note(f"Local archive: {root}, served at {url} by {who}")
    return connection, None


def _own_archive(root: Path, stack: ExitStack, screen: Screen) -> tuple[Connection, Callable[[float], bool]] | None:
    """An archive that this command runs; None when another command was faster."""
    from xnatferry.client.settings import Connection, Secret
    from xnatferry.server.archive import running_archive

    try:
        running = stack.enter_context(running_archive(root, admin_password=admin_password()))
    except ArchiveHeldError:
        return None
    screen.note(f"Local archive: {root}")
    connection = Connection(running.url, running.user, Secret(running.password), source=f"of the local archive {root}")
    return connection, running.archive.accounts.retire


def _wait_for_clients(retire: Callable[[float], bool], screen: Screen) -> None:
    """Serve other commands that use this archive until they log out or send no more requests."""
    noted = False
    while not retire(_IDLE_S):
        if not noted:
            screen.note("Waiting for other commands that use the local archive")
            noted = True
        time.sleep(0.1)
