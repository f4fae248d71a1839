"""``login`` and ``logout``: save and delete profiles (a server and an account)."""

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
    from xnatferry.cli.profiles import Profiles, SavedProfile
    from xnatferry.client.settings import Connection
    from xnatferry.console.screen import Screen


@click.command("login")
@click.option("-s", "--server", metavar="URL", help="XNAT server.")
@click.option("-u", "--user", metavar="NAME", help="User name.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input instead of asking for it.")
@click.option("--profile", "name", default="default", show_default=True, metavar="NAME", help="Name of the profile.")
@click.option("--ca", type=click.Path(path_type=Path), metavar="FILE", help="File with certificate authorities (PEM).")
@click.option("--insecure", is_flag=True, help="Do not check the certificate of the server, also in later commands.")
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
    """Save a server and an account for later commands.

    Asks for what is not given. If the server issues alias tokens, a token is stored instead of the password. The token
    is renewed while it is used; 'xnatferry logout' invalidates it. Secrets are stored in the keyring of this computer.

    Commands without a server option use the profile 'default'. --profile NAME selects another one.
    """
    from xnatferry.cli.profiles import Profiles, check_name

    screen = screen_from(options)
    check_name(name)
    profiles = Profiles()
    old = profiles.all().get(name)
    connection = _login_details(server, user, old, screen, password_stdin=password_stdin)
    if ca is not None or insecure:
        connection = replace(connection, verify_tls=False if insecure else str(ca.absolute() if ca else ""))
    elif old is not None and old.server == connection.url and old.verify_tls is not None:
        connection = replace(connection, verify_tls=old.verify_tls)
    return _save(connection, name, profiles, screen)


def _login_details(
    server: str | None, user: str | None, old: SavedProfile | None, screen: Screen, *, password_stdin: bool
) -> Connection:
    """Server, user and password, from options, from the profile of this name, or from the person at the terminal."""
    from xnatferry.client.settings import Connection, Secret, normal_url

    url = normal_url(server or (old.server if old else "") or _ask("Server", screen, "-s/--server"))
    known = old.user if old is not None and old.server == url else ""
    user = user or known or _ask(f"User at {url}", screen, "-u/--user")
    if ":" in user:
        raise UsageError(f"{user!r} is not a user name: it contains a colon")
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = _ask(f"Password of {user}", screen, "--password-stdin", hidden=True)
    if not password:
        raise UsageError("the password is empty")
    return Connection(url, user, Secret(password), source="from the login prompt")


def _ask(what: str, screen: Screen, option: str, *, hidden: bool = False) -> str:
    if screen.json or not sys.stdin.isatty():
        raise UsageError(f"{what} is missing. Cannot ask for it (no terminal). Use {option}.")
    answer: str = click.prompt(what, hide_input=hidden, err=True)
    return answer.strip() if not hidden else answer


def _save(connection: Connection, name: str, profiles: Profiles, screen: Screen) -> int:
    from xnatferry.cli.profiles import SavedProfile
    from xnatferry.client.remote import Remote

    for warning in connection.warnings:
        screen.note(f"warning: {warning}", style="yellow")
    with Remote(connection) as remote:
        site = remote.check()
        if site.user.casefold() == "guest" and connection.user.casefold() != "guest":
            raise AuthenticationError(
                f"{site.url}: {connection.user} was logged in as guest; check user name and password"
            )
        token = remote.issue_token()
        ca = connection.verify_tls if isinstance(connection.verify_tls, str) else ""
        profile = SavedProfile(name, site.url, connection.user, ca, connection.verify_tls is False)
        _withdraw(profiles, profiles.all().get(name), screen)
        login, secret = token or (connection.user, connection.password)
        where = profiles.keep(profile, login, secret, token=token is not None)
    kind = "alias token" if token else "password"
    screen.lines([f"Logged in to {site.url} (XNAT {site.version}) as {site.user}; profile {name}"])
    screen.note(f"{kind.capitalize()} stored in {where}")
    if token is None:
        screen.note("The server issues no alias tokens, so the password is stored", style="yellow")
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
    help="Profile to delete.",
)
@output_options
def logout_command(*, name: str, **options: object) -> int:
    """Invalidate the token of a profile and delete the profile."""
    from xnatferry.cli.profiles import Profiles

    screen = screen_from(options)
    profiles = Profiles()
    profile = profiles.named(name)
    withdrawn = _withdraw(profiles, profile, screen)
    profiles.forget(profile)
    screen.lines([f"Logged out of {profile.server}; profile {name} deleted"])
    screen.records(
        [{"record": "logout", "profile": name, "server": profile.server, "withdrawn": withdrawn, "exit_code": 0}]
    )
    return 0


def _withdraw(profiles: Profiles, profile: SavedProfile | None, screen: Screen) -> bool:
    """Invalidate the token of a profile on its server; one that cannot be invalidated expires."""
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
        screen.note(f"The old token could not be invalidated; it will expire ({error})", style="yellow")
        return False
