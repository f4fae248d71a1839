"""Servers and accounts that ``xnatferry login`` remembers: ``config.toml`` in the user's config folder.

    [profiles.default]
    server = "https://xnat.example.org"
    user = "me"
    ca = "/etc/ssl/lab.pem"        # or: insecure = true

No secret is in it; `xnatferry.cli.credentials` keeps those. The folder is ``XNATFERRY_CONFIG``, else the one that the
operating system gives each program.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xnatferry.cli.credentials import Credential, Credentials, one_at_a_time, write_private
from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from xnatferry.client.settings import Profile, Secret

__all__ = ["DEFAULT", "Profiles", "Remembered", "check_name"]

#: The profile that is used when none is named.
DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Remembered:
    """A profile as the config file has it.

    Attributes:
        name: Its name.
        server: Address of the site.
        user: Login name.
        ca: File with certificate authorities; empty for those of the system.
        insecure: Whether the certificate is not checked.
    """

    name: str
    server: str
    user: str
    ca: str = ""
    insecure: bool = False

    @property
    def key(self) -> str:
        """Under what its secret is kept."""
        return f"{self.name}@{self.server}"

    @property
    def verify_tls(self) -> bool | str | None:
        """As `Connection.verify_tls`; None where the profile says nothing."""
        return False if self.insecure else self.ca or None


class Profiles:
    """The profiles of a user.

    Args:
        folder: Where ``config.toml`` lies.
    """

    def __init__(self, folder: Path | None = None) -> None:
        folder = folder or _config_folder()
        self.file = folder / "config.toml"
        self.credentials = Credentials(folder)

    def all(self) -> dict[str, Remembered]:
        """Every profile by name.

        Raises:
            UsageError: The file cannot be read.
        """
        return _parsed(self._text(), self.file)

    def named(self, name: str) -> Remembered:
        """The profile of that name.

        Raises:
            UsageError: There is none.
        """
        known = self.all()
        if name not in known:
            there = (
                f"there are: {', '.join(sorted(known))}" if known else f"'xnatferry login --profile {name}' makes it"
            )
            raise UsageError(f"there is no profile {name!r}; {there}")
        return known[name]

    def offered(self, name: str | None) -> list[Profile]:
        """What a command may log in with: the profile it names, else the default one, and others for their servers."""
        if name is not None:
            return [self._offer(self.named(name), leads=True)]
        known = self.all()
        first = [self._offer(known[DEFAULT], leads=True)] if DEFAULT in known else []
        return first + [self._offer(one, leads=False) for one in known.values() if one.name != DEFAULT]

    def keep(self, profile: Remembered, login: str, password: Secret, *, token: bool) -> str:
        """Store a profile and its secret; returns the words for where the secret is.

        Raises:
            UsageError: The name cannot be used, or a file cannot be written.
        """
        check_name(profile.name)
        old = self.all().get(profile.name)
        self._write(profile.name, _section(profile))
        if old is not None and old.key != profile.key:
            self.credentials.forget(old.key)
        return self.credentials.keep(profile.key, Credential.now(login, password, token=token))

    def forget(self, profile: Remembered) -> None:
        """Remove a profile and its secret."""
        self._write(profile.name, "")
        self.credentials.forget(profile.key)

    def _offer(self, one: Remembered, *, leads: bool) -> Profile:
        from xnatferry.client.settings import Profile

        def secret() -> tuple[str, Secret] | None:
            found = self.credentials.find(one.key)
            return None if found is None else found.secret()

        return Profile(one.name, one.server, one.user, secret, one.verify_tls, leads)

    def _text(self) -> str:
        try:
            return self.file.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{self.file}: cannot be read ({error})") from None

    def _write(self, name: str, section: str) -> None:
        """Replace one table of the file and leave every other line, comments included, as a person wrote it."""
        with one_at_a_time(self.file.parent):
            write_private(self.file, self._with(name, section))

    def _with(self, name: str, section: str) -> str:
        text = self._text()
        kept, mine = [], False
        for line in text.splitlines(keepends=True):
            if line.lstrip().startswith("["):
                mine = (
                    re.fullmatch(rf"\[\s*profiles\s*\.\s*(['\"]?){name}\1\s*\]", line.partition("#")[0].strip())
                    is not None
                )
            if not mine:
                kept.append(line)
        rest = "".join(kept).rstrip("\n")
        new = "\n\n".join(part for part in (rest, section) if part) + "\n"
        wanted = _parsed(text, self.file)
        wanted.pop(name, None)
        if section:
            wanted |= _parsed(section, self.file)
        if _parsed(new, self.file) != wanted:
            raise UsageError(f"{self.file}: profile {name} is written in a way that only you can change; edit it there")
        return new


def check_name(name: str) -> None:
    """Do nothing, unless it cannot be the name of a profile.

    Raises:
        UsageError: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot be the name of a profile: letters, digits, - and _ only, at most 64")


def _config_folder() -> Path:
    named = os.environ.get("XNATFERRY_CONFIG")
    if named:
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("xnatferry", appauthor=False)


def _section(profile: Remembered) -> str:
    lines = [f"[profiles.{profile.name}]", f"server = {_quoted(profile.server)}", f"user = {_quoted(profile.user)}"]
    if profile.ca:
        lines.append(f"ca = {_quoted(profile.ca)}")
    if profile.insecure:
        lines.append("insecure = true")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A basic string of TOML: what JSON writes, but for the one control character that JSON leaves bare."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _parsed(text: str, file: Path) -> dict[str, Remembered]:
    try:
        tables = tomllib.loads(text).get("profiles", {})
        return {name: _remembered(name, table) for name, table in tables.items()}
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: is no TOML ({error})") from None
    except (AttributeError, TypeError):
        raise UsageError(f'{file}: a profile is a table [profiles.NAME] with server = "..." and user = "..."') from None


def _remembered(name: str, table: dict[str, object]) -> Remembered:
    texts = {key: table.get(key, "") for key in ("server", "user", "ca")}
    if not all(isinstance(value, str) for value in texts.values()) or not texts["server"] or not texts["user"]:
        raise TypeError
    return Remembered(name, **{key: str(value) for key, value in texts.items()}, insecure=table.get("insecure") is True)
