"""Accounts with hashed passwords, logins (the ``JSESSIONID`` cookie) and alias tokens.

Logins are kept in memory, so a restart ends them; clients must expect that of any login. Accounts and tokens are in
the database.
"""

from __future__ import annotations

import hmac
import re
import secrets
import sqlite3
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar

import argon2

from xnatferry.errors import UsageError
from xnatferry.server.alias_tokens import AliasTokens
from xnatferry.server.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xnatferry.server.database import Database

#: The command line's own account.
FERRY: Final = "ferry"

# The smallest setting of the OWASP password storage cheat sheet: 19 MiB, about 20 ms.
_ARGON2: Final = argon2.PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
# Compared with where there is no such account, so that this takes as long: no password is known to have this hash.
_COSTS: Final = f"m={_ARGON2.memory_cost},t={_ARGON2.time_cost},p={_ARGON2.parallelism}"
_DECOY: Final = f"$argon2id$v=19${_COSTS}${'A' * 22}${'A' * 43}"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
# A login name of this shape would be read as an alias token (XNAT's AliasToken.isAliasFormat).
_ALIAS: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
# XNAT's cap of logins per account; there the next one is refused, here the oldest one ends.
_LOGINS_PER_ACCOUNT: Final = 1000
_REMEMBERED: Final = 1000
_FREE_FAILURES: Final = 5
_LONGEST_DELAY_S: Final = 60.0
_SHORTEST_PASSWORD: Final = 8

_K = TypeVar("_K")
_V = TypeVar("_V")


def is_alias(name: str) -> bool:
    """Whether *name* has the shape of an alias of a token."""
    return _ALIAS.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may log in.

    Attributes:
        key: Its number, XNAT's ``xdat_user_id``.
        login: Login name; its case does not matter.
        admin: Whether it may do everything.
        enabled: Whether it may log in.
        firstname, lastname, email: As shown to others; may be empty.
        modified: When it was made or last changed, ISO 8601.
        token: Alias of the token with which it was authenticated; "" for a password or a login.
    """

    key: int
    login: str
    admin: bool
    enabled: bool
    firstname: str
    lastname: str
    email: str
    modified: str = field(compare=False)
    token: str = field(default="", compare=False)


@dataclass(slots=True)
class _Login:
    account_key: int
    expires: float
    token: str


class Accounts:
    """All accounts of one archive. May be used from any thread.

    Args:
        login_minutes: A login ends after so many minutes without a request.
        clock: Seconds, of a clock that nobody sets: of logins and delays.
        wall_clock: Seconds since 1970.

    Attributes:
        tokens: Alias tokens.
        retired: Whether nobody is let in any more, because the archive is about to stop.
    """

    def __init__(
        self,
        database: Database,
        *,
        login_minutes: float = 15,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._login_s = login_minutes * 60
        self._clock, self._wall_clock = clock, wall_clock
        self.tokens = AliasTokens(database, wall_clock)
        self._lock = threading.Lock()
        # Hashing takes memory on purpose; not for every thread of the server at once.
        self._hashing = threading.BoundedSemaphore(2)
        self._logins: OrderedDict[str, _Login] = OrderedDict()
        self._last_login: dict[int, float] = {}
        self.retired = False
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        # Failures for accounts, and for names of none: a flood of the latter must not push out the former.
        self._failures: dict[str, tuple[int, float]] = {}
        self._failures_of_strangers: OrderedDict[str, tuple[int, float]] = OrderedDict()
        self._attempts = Locks()
        # Passwords that were right are remembered by a keyed digest; the key dies with the process.
        self._memory_key = secrets.token_bytes(32)

    def create(
        self,
        login: str,
        password: str,
        *,
        admin: bool = False,
        firstname: str = "",
        lastname: str = "",
        email: str = "",
    ) -> Account:
        """Add an account.

        Raises:
            UsageError: The name is taken or not allowed, or the password is too short.
        """
        if not _NAME.fullmatch(login) or is_alias(login) or login.lower() == "guest":
            raise UsageError(
                f"{login!r} is not a valid login name: use at most 64 letters, digits and . _ @ - (not guest)"
            )
        password_hash = self._hash(login, password)
        try:
            with self._database.write() as connection:
                connection.execute(
                    "INSERT INTO accounts (login, password_hash, admin, firstname, lastname, email, created)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (login, password_hash, admin, firstname, lastname, email, _now()),
                )
        except sqlite3.IntegrityError as error:
            raise UsageError(f"account {login!r} already exists") from error
        return self._required(login)

    def find(self, login: str) -> Account | None:
        """The account of that name."""
        row = self._row_of(login)
        return None if row is None else _account(row)

    def everyone(self) -> list[Account]:
        """All accounts, oldest first."""
        with self._database.read() as connection:
            return [_account(row) for row in connection.execute("SELECT * FROM accounts ORDER BY key")]

    def set_password(self, login: str, password: str) -> None:
        """Change a password and end what was opened with the old one.

        Raises:
            UsageError: No such account, or the password is too short.
        """
        account = self._required(login)
        password_hash = self._hash(login, password)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE accounts SET password_hash = ?, modified = ? WHERE key = ?",
                (password_hash, _now(), account.key),
            )
            connection.execute("DELETE FROM alias_tokens WHERE account_key = ?", (account.key,))
        self._end_logins(account.key)

    def disable(self, login: str, *, disabled: bool = True) -> None:
        """Disable an account, or enable it again.

        Raises:
            UsageError: No such account.
        """
        account = self._required(login)
        with self._database.write() as connection:
            connection.execute(
                "UPDATE accounts SET enabled = ?, modified = ? WHERE key = ?", (not disabled, _now(), account.key)
            )
        self._end_logins(account.key)

    def verify(self, login: str, password: str) -> Account | None:
        """The account, if the password is correct; None is a refusal for any reason.

        After five failures in a row for one name, attempts are refused unchecked for 1 s, then 2, 4, ... up to 60. A
        password that was correct before in this process is accepted at once, also then. Attempts for one name wait for
        each other, so that a burst of them is counted.
        """
        name = login.lower()
        with self._attempts.hold(name):
            row = self._row_of(login)
            password_hash = row["password_hash"] if row is not None else _DECOY
            mark = self._mark(password_hash, password)
            with self._lock:
                failures = self._failures_of_strangers if row is None else self._failures
                known = mark in self._verified
                if not known and failures.get(name, (0, 0.0))[1] > self._clock():
                    return None
            right = (known or self._matches(password_hash, password)) and row is not None
            with self._lock:
                if right:
                    _remember(self._verified, mark, None)
                    failures.pop(name, None)
                elif row is None:
                    _remember(self._failures_of_strangers, name, self._failed_again(failures, name))
                else:
                    failures[name] = self._failed_again(failures, name)
        return _account(row) if right and row is not None and row["enabled"] else None

    def known(self, login: str, password: str) -> Account | None:
        """As `verify`, for a password that was correct before in this process; None if that is not known."""
        row = self._row_of(login)
        if row is None or not row["enabled"]:
            return None
        with self._lock:
            return _account(row) if self._mark(row["password_hash"], password) in self._verified else None

    def open_login(self, account: Account) -> str:
        """Begin a login; returns its cookie, 32 upper-case hex digits as Tomcat makes them."""
        cookie = secrets.token_hex(16).upper()  # a login that a token opened ends with the token
        now = self._clock()
        with self._lock:
            while self._logins and next(iter(self._logins.values())).expires <= now:
                self._logins.popitem(last=False)
            mine = [key for key, login in self._logins.items() if login.account_key == account.key]
            for key in mine[: max(0, len(mine) + 1 - _LOGINS_PER_ACCOUNT)]:
                del self._logins[key]
            self._logins[cookie] = _Login(account.key, now + self._login_s, account.token)
            self._last_login[account.key] = self._wall_clock()
        return cookie

    def last_login(self, account: Account) -> float | None:
        """When *account* last opened a login, in seconds since 1970; None when not since the archive was started."""
        return self._last_login.get(account.key)

    def account_of_login(self, cookie: str) -> Account | None:
        """Whose login it is; None when it ended. Asking keeps it open for another `login_minutes`."""
        now = self._clock()
        with self._lock:
            login = self._logins.get(cookie)
            if login is None or login.expires <= now:
                self._logins.pop(cookie, None)
                return None
            login.expires = now + self._login_s
            self._logins.move_to_end(cookie)  # sorted by expiry
        if login.token and self.tokens.find(login.token) is None:
            self.close_login(cookie)
            return None
        return self.by_key(login.account_key)

    def retire(self, silent_s: float) -> bool:
        """Refuse new logins, unless a login was used in the last *silent_s* seconds; returns whether it refuses."""
        used_since = self._clock() + self._login_s - silent_s
        with self._lock:
            self.retired = self.retired or all(login.expires < used_since for login in self._logins.values())
        return self.retired

    def close_login(self, cookie: str) -> None:
        """End a login; no effect if it is not open."""
        with self._lock:
            self._logins.pop(cookie, None)

    def account_of_token(self, alias: str, secret: str) -> Account | None:
        """Whose token it is; None when it is unknown, wrong or expired."""
        token = self.tokens.checked(alias, secret)
        account = self.by_key(token.account_key) if token else None
        return replace(account, token=token.alias) if account and token else None

    def _row_of(self, login: str) -> sqlite3.Row | None:
        with self._database.read() as connection:
            row: sqlite3.Row | None = connection.execute("SELECT * FROM accounts WHERE login = ?", (login,)).fetchone()
        return row

    def by_key(self, key: int) -> Account | None:
        """The account with that number, if it may log in."""
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM accounts WHERE key = ?", (key,)).fetchone()
        return _account(row) if row is not None and row["enabled"] else None

    def _required(self, login: str) -> Account:
        if account := self.find(login):
            return account
        raise UsageError(f"account {login!r} not found")

    def _hash(self, login: str, password: str) -> str:
        if len(password) < _SHORTEST_PASSWORD:
            raise UsageError(f"the password of {login} is too short; use at least {_SHORTEST_PASSWORD} characters")
        with self._hashing:
            return _ARGON2.hash(password.encode(errors="surrogatepass"))

    def _matches(self, password_hash: str, password: str) -> bool:
        with self._hashing:
            try:
                return _ARGON2.verify(password_hash, password.encode(errors="surrogatepass"))
            except argon2.exceptions.VerificationError:
                return False

    def _mark(self, password_hash: str, password: str) -> bytes:
        """Key under which a correct password is remembered."""
        return hmac.digest(self._memory_key, f"{password_hash}\0{password}".encode(errors="surrogatepass"), "sha256")

    def _failed_again(self, failures: Mapping[str, tuple[int, float]], name: str) -> tuple[int, float]:
        """Number of failures in a row for *name*, and until when attempts are refused."""
        number = failures.get(name, (0, 0.0))[0] + 1
        delay = min(_LONGEST_DELAY_S, 2.0 ** min(number - _FREE_FAILURES, 10)) if number >= _FREE_FAILURES else 0.0
        return number, self._clock() + delay

    def _end_logins(self, account_key: int) -> None:
        with self._lock:
            for cookie in [key for key, login in self._logins.items() if login.account_key == account_key]:
                del self._logins[cookie]


def _remember(memory: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    memory[key] = value
    memory.move_to_end(key)
    if len(memory) > _REMEMBERED:
        memory.popitem(last=False)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _account(row: sqlite3.Row) -> Account:
    return Account(
        row["key"],
        row["login"],
        bool(row["admin"]),
        bool(row["enabled"]),
        row["firstname"],
        row["lastname"],
        row["email"],
        row["modified"] or row["created"],
    )
