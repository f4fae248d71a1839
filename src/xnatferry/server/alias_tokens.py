"""Alias tokens: an alias and a secret that stand in for name and password for two days (XNAT's ``AliasToken``)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import string
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from xnatferry.server.database import Database

#: XNAT's ``aliasTokenTimeout``.
_LIFE_S: Final = 2 * 86_400


@dataclass(frozen=True, slots=True)
class AliasToken:
    """One token.

    Attributes:
        number: Its number.
        alias: What it is called; a UUID.
        account_key: Whose it is.
        created, expires: Seconds since 1970.
        secret: Its secret, when it was just issued; afterwards only a digest of it is known.
    """

    number: int
    alias: str
    account_key: int
    created: float
    expires: float
    secret: str = ""


def new_secret(length: int = 16) -> str:
    """Random letters and digits, 6 bits each: a secret that began with ``-`` would be taken for an option."""
    return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))


class AliasTokens:
    """All tokens of one archive. May be used from any thread."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def issue(self, account_key: int) -> AliasToken:
        """A new token; expired ones are forgotten."""
        alias, secret, now = str(uuid.uuid4()), new_secret(64), self._clock()
        with self._database.write() as connection:
            connection.execute("DELETE FROM alias_tokens WHERE expires <= ?", (now,))
            number = connection.execute(
                "INSERT INTO alias_tokens (alias, secret_sha256, account_key, created, expires) VALUES (?, ?, ?, ?, ?)",
                (alias, _sha256(secret), account_key, now, now + _LIFE_S),
            ).lastrowid
        return AliasToken(number or 0, alias, account_key, now, now + _LIFE_S, secret)

    def find(self, name: str) -> AliasToken | None:
        """The token with the alias or number *name*; None when it is unknown or expired."""
        column = "number" if name.isdecimal() else "alias"
        found = self._select(f"{column} = ?", name.lower())
        return _token(found[0]) if found else None

    def of(self, account_key: int) -> list[AliasToken]:
        """The tokens of an account, oldest first."""
        return [_token(row) for row in self._select("account_key = ?", account_key)]

    def checked(self, alias: str, secret: str) -> AliasToken | None:
        """The token, when *secret* is its own; None when it is unknown, wrong or expired."""
        found = self._select("alias = ?", alias.lower())
        # The secret is 64 random characters: a plain digest of it cannot be guessed.
        stored = found[0]["secret_sha256"] if found else _sha256("")
        return _token(found[0]) if hmac.compare_digest(stored, _sha256(secret)) and found else None

    def revoke(self, alias: str) -> None:
        """End a token; one that is unknown is nothing to do."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM alias_tokens WHERE alias = ?", (alias.lower(),))

    def _select(self, condition: str, value: str | int) -> list[sqlite3.Row]:
        with self._database.read() as connection:
            return connection.execute(
                f"SELECT * FROM alias_tokens WHERE {condition} AND expires > ? ORDER BY number",  # noqa: S608  our own words
                (value, self._clock()),
            ).fetchall()


def _token(row: sqlite3.Row) -> AliasToken:
    return AliasToken(row["number"], row["alias"], row["account_key"], row["created"], row["expires"])


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
