"""``login`` and ``logout``: a server and an account, remembered under a name."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from xnatferry.cli.completion import completes, profile_names
from xnatferry.cli.options import output_options, screen_from
from xnatferry.errors import AuthenticationError, RemoteError, UsageError

if TYPE_CHECKING:
    from xnatferry.cli.profiles import Profiles, Remembered
    from xnatferry.client.settings import Connection
    from xnatferry.console.screen import Screen

__all__ = ["login_command", "logout_command"]


@click.command("login")
@click.option("-s", "--server", metavar="URL", help="XNAT server.")
@click.option("-u", "--user", metavar="NAME", help="Login name.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input; else it is asked for.")
@click.option("--profile", "name", default="default", show_default=True, metavar="NAME", help="Name to remember it by.")
@click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="Certificate authorities (PEM).")
@click.option("--insecure", is_flag=True, help="Do not check the server's certificate, now and later.")
@output_options
def login_command(
    *,
    server: str | None,
    user: str | None,
    password_stdin: bool,
    name: str,
    ca: Path | None,
    insecure: bool,
    **options: object,
) -> int:
    """Log in to a server once; later commands use it.

    What is not given is asked for. Where the server gives alias tokens, a token is stored and not the password; it is
    renewed while it is used, and 'xnatferry logout' withdraws it. The secret goes into the keyring of this computer.

    The profile 'default' is used by every command that names no server; others with --profile, or by their server.
    """
    from xnatferry.cli.profiles import Profiles, check_name

    screen = screen_from(options)
    check_name(name)
    profiles = Profiles()
    old = profiles.all().get(name)
    connection = _asked(server, user, old, screen, password_stdin=password_stdin)
    if ca is not None or insecure:
        connection = replace(connection, verify_tls=False if insecure else str(ca.absolute() if ca else ""))
    elif old is not None and old.server == connection.url and old.verify_tls is not None:
        connection = replace(connection, verify_tls=old.verify_tls)
    return _remember(connection, name, profiles, screen)


def _asked(
    server: str | None, user: str | None, old: Remembered | None, screen: Screen, *, password_stdin: bool
) -> Connection:
    """Server, user and password, from options, from the profile of this name, or from the person at the terminal."""
    from xnatferry.client.settings import Connection, Secret, normal_url

    url = normal_url(server or (old.server if old else "") or _ask("Server", screen, "-s/--server"))
    known = old.user if old is not None and old.server == url else ""
    user = user or known or _ask(f"User at {url}", screen, "-u/--user")
    if ":" in user:
        raise UsageError(f"{user!r} is no login name: it holds a colon")
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = _ask(f"Password of {user}", screen, "--password-stdin", hidden=True)
    if not password:
        raise UsageError("the password is empty")
    return Connection(url, user, Secret(password), source="just given")


def _ask(what: str, screen: Screen, option: str, *, hidden: bool = False) -> str:
    if screen.json or not sys.stdin.isatty():
        raise UsageError(
            f"{what.lower() if what == 'Server' else what} is not given, and nobody can be asked; use {option}"
        )
    answer: str = click.prompt(what, hide_input=hidden, err=True)
    return answer.strip() if not hidden else answer


def _remember(connection: Connection, name: str, profiles: Profiles, screen: Screen) -> int:
    from xnatferry.cli.profiles import Remembered
    from xnatferry.client.remote import Remote

    for warning in connection.warnings:
        screen.note(f"warning: {warning}", style="yellow")
    with Remote(connection) as remote:
        site = remote.check()
        if site.user.casefold() == "guest" and connection.user.casefold() != "guest":
            raise AuthenticationError(f"{site.url} let {connection.user} in as a guest; check user and password")
        token = remote.issue_token()
        ca = connection.verify_tls if isinstance(connection.verify_tls, str) else ""
        profile = Remembered(name, site.url, connection.user, ca, connection.verify_tls is False)
        _withdraw(profiles, profiles.all().get(name), screen)
        login, secret = token or (connection.user, connection.password)
        where = profiles.keep(profile, login, secret, token=token is not None)
    kind = "alias token" if token else "password"
    screen.lines([f"logged in to {site.url} (version {site.version}) as {site.user}; profile {name}"])
    screen.note(f"{kind} in {where}")
    if token is None:
        screen.note("the server gives no alias tokens, so the password itself is kept", style="yellow")
    attributes = {"profile": name, "server": site.url, "user": site.user, "version": site.version}
    screen.records([{"record": "login", **attributes, "secret": kind, "kept_in": where, "exit_code": 0}])
    return 0


@click.command("logout")
@click.option(
    "--profile",
    "name",
    default="default",
    show_default=True,
    metavar="NAME",
    shell_complete=completes(profile_names),
    help="Which one to forget.",
)
@output_options
def logout_command(*, name: str, **options: object) -> int:
    """Withdraw the token of a profile and forget both."""
    from xnatferry.cli.profiles import Profiles

    screen = screen_from(options)
    profiles = Profiles()
    profile = profiles.named(name)
    withdrawn = _withdraw(profiles, profile, screen)
    profiles.forget(profile)
    screen.lines([f"logged out of {profile.server}; profile {name} is forgotten"])
    screen.records(
        [{"record": "logout", "profile": name, "server": profile.server, "withdrawn": withdrawn, "exit_code": 0}]
    )
    return 0


def _withdraw(profiles: Profiles, profile: Remembered | None, screen: Screen) -> bool:
    """End the token of a profile at its server; one that cannot be ended expires by itself."""
    from xnatferry.client.remote import Remote
    from xnatferry.client.settings import Connection

    held = profiles.credentials.find(profile.key) if profile is not None else None
    if profile is None or held is None or not held.token:
        return False
    alias, secret = held.secret()
    verify = True if profile.verify_tls is None else profile.verify_tls
    connection = Connection(profile.server, profile.user, secret, verify, profile=profile.name, alias=alias)
    try:
        with Remote(connection) as remote:
            return remote.invalidate_token(alias)
    except AuthenticationError:  # it has expired
        return False
    except (RemoteError, UsageError) as error:
        screen.note(f"the old token could not be withdrawn and ends by itself ({error})", style="yellow")
        return False
