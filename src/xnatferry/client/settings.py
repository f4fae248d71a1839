"""Finds server and credentials from the values that the caller passes; does not read the environment itself.

The first match is used: options, ``XNAT_HOST``/``XNAT_USER``/``XNAT_PASS``, the JSON file of pyxnat and bxl, profiles,
``~/.netrc``. Credentials of one source are never sent to a server that another source names.
"""

from __future__ import annotations

import ipaddress
import json
import netrc as netrc_file
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit, urlunsplit

from xnatferry.errors import AuthenticationError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

# First path parts of XNAT's pages and services, which follow the address of the site in a browser.
_SITE_PARTS = frozenset({"app", "data", "REST", "xapi", "archive", "screens", "templates", "fs"})

_HOST = re.compile(r"[\w.:-]+")


class Secret:
    """Text whose repr does not show it.

    >>> Secret("hunter2")
    Secret(***)
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> str | tuple[Any, ...]:
        msg = "a secret is not pickled"
        raise TypeError(msg)


@dataclass(frozen=True, slots=True)
class Connection:
    """A server and an account.

    Attributes:
        url: Address of the site without a trailing slash, e.g. ``https://xnat.example.org/xnat``.
        user: Login name, or the alias of an alias token.
        password: Password, or the secret of an alias token.
        verify_tls: Whether certificates are checked; a path names the file with the certificate authority.
        source: Where the credentials come from, for messages: ``from --config FILE``.
        profile: Name of the profile they came from; empty for other sources.
        alias: Alias token of the user; *password* is then its secret.
    """

    url: str
    user: str
    password: Secret
    verify_tls: bool | str = True
    source: str = "from the call"
    profile: str = ""
    alias: str = ""

    @property
    def host(self) -> str:
        """Host name, with the port when one is given."""
        return urlsplit(self.url).netloc

    @property
    def local(self) -> bool:
        """Whether the server is this computer."""
        return _is_loopback(urlsplit(self.url).hostname or "")

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings before a password is sent."""
        found = []
        if self.url.startswith("http:") and not self.local:
            found.append(f"{self.url} is not encrypted: others can read the password and all data")
        if self.verify_tls is False:
            found.append(f"the certificate of {self.host} is not checked")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Profile:
    """A server and an account saved by ``xnatferry login``.

    Attributes:
        name: Its name.
        server: Address of the site.
        account: Login name of the person.
        secret: Returns user name and password, or alias and secret of a token; None when it no longer exists.
        verify_tls: False when the certificate is not checked; a path names the file with its authority.
        names_server: Whether it can select the server; otherwise it is used only for its server.
    """

    name: str
    server: str
    account: str
    secret: Callable[[], tuple[str, Secret] | None]
    verify_tls: bool | str | None = None
    names_server: bool = False


@dataclass(frozen=True, slots=True)
class _Candidate:
    """Values of one source; empty if not given."""

    source: str
    server: str = ""
    user: str = ""
    password: Secret | None = None
    verify_tls: bool | str | None = None
    profile: Profile | None = None

    def credentials(self) -> tuple[str, Secret] | None:
        """Login and password; a profile reads its keyring only now, as this may ask the user."""
        if self.profile is not None:
            return self.profile.secret()
        return None if self.password is None else (self.user, self.password)


def normal_url(text: str) -> str:
    """Return the address of a site in its normal form.

    ``xnat.example.org`` becomes ``https://xnat.example.org`` (``http`` for this computer); paths of pages
    (``/app/template/...``, ``/data/projects/...``) are removed; a path prefix is kept.

    Raises:
        UsageError: The text is not the address of a web server.
    """
    text = text.strip()
    try:
        if "://" not in text:
            text = f"{'http' if _is_loopback(urlsplit(f'//{text}').hostname or '') else 'https'}://{text}"
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"not a valid server address ({error}); write https://HOST[:PORT][/PATH]") from None
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host):
        raise UsageError(f"{_without_user(parts)!r}: not a server address; write https://HOST[:PORT][/PATH]")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{_without_user(parts)}: the address must not contain user name and password; "
            "use --user and XNAT_PASS, --config or ~/.netrc"
        )
    kept: list[str] = []
    for part in parts.path.split("/"):
        if part in _SITE_PARTS:
            break
        if part:
            kept.append(part)
    default = {"http": 80, "https": 443}[parts.scheme]
    name = f"[{host}]" if ":" in host else host
    netloc = name if port in {None, default} else f"{name}:{port}"
    return urlunsplit((parts.scheme, netloc, "".join(f"/{part}" for part in kept), "", ""))


def resolve_connection(
    *,
    server: str | None = None,
    user: str | None = None,
    password: str | None = None,
    environment: Mapping[str, str] | None = None,
    config: Path | None = None,
    profiles: Sequence[Profile] = (),
    netrc: Path | None = None,
    verify_tls: bool | str | None = None,
) -> Connection | None:
    """Find server and credentials; None when no source names a server.

    Args:
        server: Address given as an option.
        user: Login given as an option.
        password: Password given as an option.
        environment: Environment with ``XNAT_HOST``, ``XNAT_USER`` and ``XNAT_PASS``, and ``SSL_CERT_FILE``, the
            certificate authorities if no other source names any.
        config: JSON file with ``server``, ``user``, ``password`` and optionally ``verify``.
        profiles: Saved profiles; the first match is used.
        netrc: File in the format of ``~/.netrc``; it need not exist.
        verify_tls: Option; None uses the value of the config file, else true.

    Raises:
        UsageError: The config file, the netrc file or the address is not valid.
        AuthenticationError: A server is named, but no source has a user and password for it.
    """
    candidates = [_Candidate("from the options", server or "", user or "", _secret(password), verify_tls)]
    candidates.append(_from_environment(environment or {}))
    if config is not None:
        candidates.append(_from_config(config))
    candidates += (_from_profile(profile) for profile in profiles)
    named = next((one for one in candidates if one.server and (one.profile is None or one.profile.names_server)), None)
    if named is None:
        return None
    url = normal_url(named.server)
    usable = [candidate for candidate in candidates if not candidate.server or normal_url(candidate.server) == url]
    if netrc is not None and netrc.is_file():
        usable += _from_netrc(netrc, url)
    authorities = (environment or {}).get("SSL_CERT_FILE") or True
    verify = next((candidate.verify_tls for candidate in usable if candidate.verify_tls is not None), authorities)
    return _logged_in(url, usable, verify_tls=verify)


def _logged_in(url: str, usable: Sequence[_Candidate], *, verify_tls: bool | str) -> Connection:
    """The connection with the first user, and with the first password of this user.

    Raises:
        AuthenticationError: No user, or no password; the message says how to give one.
    """
    who = next((candidate for candidate in usable if candidate.user), None)
    if who is None:
        raise AuthenticationError(
            f"{url}: no user name; run 'xnatferry login', set XNAT_USER and XNAT_PASS, or use --user, --config FILE "
            "or ~/.netrc",
            url=url,
        )
    for candidate in usable:
        if candidate.user in {"", who.user} and (found := candidate.credentials()) is not None:
            if candidate.profile is None:
                return Connection(url, who.user, found[1], verify_tls, candidate.source)
            alias = found[0] if found[0] != who.user else ""
            return Connection(url, who.user, found[1], verify_tls, candidate.source, candidate.profile.name, alias)
    lost = next((one.profile.name for one in usable if one.profile is not None and one.user == who.user), None)
    if lost is not None:
        raise AuthenticationError(
            f"{url}: the stored secret of profile {lost} is missing; run: xnatferry login --profile {lost}", url=url
        )
    raise AuthenticationError(
        f"{url}: no password for user {who.user}; run 'xnatferry login', set XNAT_PASS, or use --config FILE "
        "or ~/.netrc",
        url=url,
    )


def _from_environment(environment: Mapping[str, str]) -> _Candidate:
    return _Candidate(
        "from XNAT_USER and XNAT_PASS",
        environment.get("XNAT_HOST", ""),
        environment.get("XNAT_USER", ""),
        _secret(environment.get("XNAT_PASS")),
    )


def _from_config(path: Path) -> _Candidate:
    """Read what pyxnat's ``Interface.save_config`` writes."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: file not found; --config needs a JSON file with server, user and password") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        found = None  # the message of the parser would contain the password
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key, ""), str) for key in ("server", "user", "password")
    ):
        raise UsageError(f'{path}: not a config file; write {{"server": "...", "user": "...", "password": "..."}}')
    verify = found.get("verify")
    return _Candidate(
        f"from --config {path}",
        found.get("server", ""),
        found.get("user", ""),
        _secret(found.get("password")),
        verify if isinstance(verify, (bool, str)) else None,
    )


def _from_profile(profile: Profile) -> _Candidate:
    return _Candidate(
        f"of profile {profile.name}",
        profile.server,
        profile.account,
        verify_tls=profile.verify_tls,
        profile=profile,
    )


def _from_netrc(path: Path, url: str) -> Iterator[_Candidate]:
    try:
        known = netrc_file.netrc(str(path))
    except (netrc_file.NetrcParseError, OSError, UnicodeDecodeError) as error:
        where = f", line {error.lineno}" if isinstance(error, netrc_file.NetrcParseError) else ""
        raise UsageError(f"{path}{where}: not a valid netrc file") from None
    parts = urlsplit(url)
    for machine in dict.fromkeys((parts.netloc, parts.hostname or "")):
        if machine in known.hosts:
            login, account, password = known.hosts[machine]
            yield _Candidate(f"from {path}", url, login or account, _secret(password))


def _secret(text: str | None) -> Secret | None:
    return Secret(text) if text else None


def _without_user(parts: SplitResult) -> str:
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
