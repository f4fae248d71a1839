"""Passwords and tokens of profiles: in the keyring of the operating system, else in a file with mode 600."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from xnatferry.durable import locked, replacing
from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from xnatferry.client.settings import Secret

_SERVICE = "xnatferry"


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """Login name and password, or alias and secret of a token.

    Attributes:
        login: Login name, or the alias.
        password: Password, or the secret.
        token: Whether it is a token, which expires.
        taken: When it was made, ISO 8601 in UTC.
    """

    login: str
    password: str
    token: bool
    taken: str

    @classmethod
    def now(cls, login: str, password: Secret, *, token: bool) -> Credential:
        """A credential that was made now."""
        return cls(login, password.reveal(), token, datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def age_h(self) -> float:
        """Hours since it was made."""
        try:
            return (datetime.now(UTC) - datetime.fromisoformat(self.taken)).total_seconds() / 3600
        except (ValueError, TypeError):  # edited by hand
            return 0.0

    def secret(self) -> tuple[str, Secret]:
        """Login and password, the password as a `Secret`."""
        from xnatferry.client.settings import Secret

        return self.login, Secret(self.password)


class Credentials:
    """Stored credentials by ``PROFILE@SERVER``.

    Args:
        folder: Where ``credentials.json`` lies, for computers without a keyring.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / "credentials.json"

    def keep(self, key: str, credential: Credential) -> str:
        """Store a credential; returns where: ``the keyring (macOS Keychain)``, or the file."""
        text = json.dumps(asdict(credential))
        if (ring := _keyring()) is not None:
            # Backends raise what their systems raise, and the null backend keeps nothing: only reading it back counts.
            with suppress(Exception):
                ring.set_password(_SERVICE, key, text)
                if ring.get_password(_SERVICE, key) == text:
                    self._drop_from_file(key)
                    return f"the keyring ({ring.name})"
        with one_at_a_time(self.file.parent):
            held = self._read_file()
            held[key] = asdict(credential)
            write_private(self.file, json.dumps(held, indent=1) + "\n")
        return f"{self.file} (mode 600; no working keyring on this computer)"

    def find(self, key: str) -> Credential | None:
        """The credential of *key*; None when there is none, or the keyring does not return it.

        Raises:
            UsageError: Others can read the file, or it is damaged.
        """
        if self.file.is_file() and (found := self._read_file().get(key)) is not None:
            return _decoded(found)
        text = None
        if (ring := _keyring()) is not None:
            with suppress(Exception):
                text = ring.get_password(_SERVICE, key)
        try:
            return _decoded(json.loads(text)) if text else None
        except ValueError:
            return None

    def forget(self, key: str) -> None:
        """Delete a credential from the keyring and from the file."""
        self._drop_from_file(key)
        if (ring := _keyring()) is not None:
            with suppress(Exception):
                ring.delete_password(_SERVICE, key)

    def _drop_from_file(self, key: str) -> None:
        if not self.file.is_file():
            return
        with one_at_a_time(self.file.parent):
            held = self._read_file()
            if held.pop(key, None) is not None:
                write_private(self.file, json.dumps(held, indent=1) + "\n")

    def _read_file(self) -> dict[str, Any]:
        try:
            # Windows keeps the folder of a user to that user by its access lists; its mode bits say nothing.
            if os.name == "posix" and self.file.stat().st_mode & 0o077:
                raise UsageError(f"{self.file}: other users can read this file; run: chmod 600 {self.file}")
            held = json.loads(self.file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UsageError(f"{self.file}: cannot be read ({error.strerror})") from None
        except ValueError:  # the message of the parser would contain a secret
            held = None
        if not isinstance(held, dict):
            raise UsageError(f"{self.file}: not a valid credentials file; delete it and log in again")
        return held


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """Let one command at a time read and rewrite the files of *folder*, which is made when missing.

    Raises:
        UsageError: It cannot be written into.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            stack.enter_context(locked(folder / ".lock"))
        except OSError as error:
            raise UsageError(f"{folder}: cannot be written ({error.strerror})") from None
        yield


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically; only its owner may read it.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        with replacing(path, private=True) as part:
            part.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{path}: cannot be written ({error.strerror})") from None


def _decoded(found: object) -> Credential | None:
    if not isinstance(found, dict):
        return None
    try:
        return Credential(str(found["login"]), str(found["password"]), bool(found["token"]), str(found["taken"]))
    except KeyError:
        return None


def _keyring() -> Any | None:
    """The backend of this computer; None where there is none, or it cannot be loaded."""
    try:
        import keyring

        return keyring.get_keyring()
    except Exception:  # noqa: BLE001  # importing a backend can raise anything
        return None
