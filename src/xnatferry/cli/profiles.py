"""Servers and accounts saved by ``xnatferry login``: ``config.toml`` in the user's config folder.

    [profiles.default]
    server = "https://xnat.example.org"
    user = "me"
    ca = "/etc/ssl/lab.pem"        # or: insecure = true

It contains no secrets; `xnatferry.cli.credentials` stores those. The folder is ``XNATFERRY_CONFIG``, else the config
folder of the operating system.
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

#: The profile that is used when none is named.
DEFAULT = "default"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class SavedProfile:
    """A profile of the config file.

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
        """Key of its secret."""
        return f"{self.name}@{self.server}"

    @property
    def verify_tls(self) -> bool | str | None:
        """As `Connection.verify_tls`; None when the profile has no setting."""
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

    def all(self) -> dict[str, SavedProfile]:
        """Every profile by name.

        Raises:
            UsageError: The file cannot be read.
        """
        return _parsed(self._text(), self.file)

    def named(self, name: str) -> SavedProfile:
        """The profile of that name.

        Raises:
            UsageError: There is none.
        """
        known = self.all()
        if name not in known:
            cure = f"use one of: {', '.join(sorted(known))}" if known else f"run: xnatferry login --profile {name}"
            raise UsageError(f"profile {name!r} does not exist; {cure}")
        return known[name]

    def candidates(self, name: str | None) -> list[Profile]:
        """Profiles for a command: the one that it names, else the default one, and the others for their servers."""
        if name is not None:
            return [self._candidate(self.named(name), names_server=True)]
        known = self.all()
        first = [self._candidate(known[DEFAULT], names_server=True)] if DEFAULT in known else []
        return first + [self._candidate(one, names_server=False) for one in known.values() if one.name != DEFAULT]

    def keep(self, profile: SavedProfile, login: str, password: Secret, *, token: bool) -> str:
        """Store a profile and its secret; returns where the secret is stored.

        Raises:
            UsageError: The name cannot be used, or a file cannot be written.
        """
        check_name(profile.name)
        old = self.all().get(profile.name)
        self._write(profile.name, _section(profile))
        if old is not None and old.key != profile.key:
            self.credentials.forget(old.key)
        return self.credentials.keep(profile.key, Credential.now(login, password, token=token))

    def forget(self, profile: SavedProfile) -> None:
        """Remove a profile and its secret."""
        self._write(profile.name, "")
        self.credentials.forget(profile.key)

    def _candidate(self, one: SavedProfile, *, names_server: bool) -> Profile:
        from xnatferry.client.settings import Profile

        def secret() -> tuple[str, Secret] | None:
            found = self.credentials.find(one.key)
            return None if found is None else found.secret()

        return Profile(one.name, one.server, one.user, secret, one.verify_tls, names_server)

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
    """Check the name of a profile.

    Raises:
        UsageError: It cannot be used.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is not a profile name: use letters, digits, - and _, at most 64 characters")


def _config_folder() -> Path:
    named = os.environ.get("XNATFERRY_CONFIG")
    if named:
        return Path(named)
    from platformdirs import user_config_path

    return user_config_path("xnatferry", appauthor=False)


def _section(profile: SavedProfile) -> str:
    lines = [f"[profiles.{profile.name}]", f"server = {_quoted(profile.server)}", f"user = {_quoted(profile.user)}"]
    if profile.ca:
        lines.append(f"ca = {_quoted(profile.ca)}")
    if profile.insecure:
        lines.append("insecure = true")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """A basic string of TOML: what JSON writes, but for the one control character that JSON leaves bare."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")


def _parsed(text: str, file: Path) -> dict[str, SavedProfile]:
    try:
        tables = tomllib.loads(text).get("profiles", {})
        return {name: _saved_profile(name, table) for name, table in tables.items()}
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{file}: not a TOML file ({error})") from None
    except (AttributeError, TypeError):
        raise UsageError(
            f'{file}: not a valid profile; write [profiles.NAME] with server = "..." and user = "..."'
        ) from None


def _saved_profile(name: str, table: dict[str, object]) -> SavedProfile:
    texts = {key: table.get(key, "") for key in ("server", "user", "ca")}
    if not all(isinstance(value, str) for value in texts.values()) or not texts["server"] or not texts["user"]:
        raise TypeError
    return SavedProfile(
        name, **{key: str(value) for key, value in texts.items()}, insecure=table.get("insecure") is True
    )
