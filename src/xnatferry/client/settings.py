"""Where the server is and who we are: resolved from what the caller hands in, never from the process itself.

First found wins: options, ``XNAT_HOST``/``XNAT_USER``/``XNAT_PASS``, the JSON file that pyxnat and bxl use, profiles,
``~/.netrc``. A password belongs to a server: credentials of one source are never sent to a server that another names.
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

__all__ = ["Connection", "Profile", "Secret", "normal_url", "resolve_connection"]

# First path parts of XNAT's own pages and services: what follows the address of the site in a browser.
_SITE_PARTS = frozenset({"app", "data", "REST", "xapi", "archive", "screens", "templates", "fs"})

_HOST = re.compile(r"[\w.:-]+")


class Secret:
    """Text that shows itself only when asked.

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
    """A server and the account to use there.

    Attributes:
        url: Address of the site without a trailing slash, e.g. ``https://xnat.example.org/xnat``.
        user: Login name, or the alias of an alias token.
        password: Password, or the secret of an alias token.
        verify_tls: Whether certificates are checked; a path names the file with the certificate authority.
        source: Where the credentials came from, for messages: ``from --config FILE``.
        profile: Name of the profile they came from; empty for other sources.
        alias: Alias token that logs in for the user; *password* is then its secret.
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
        """What a person should know before a password travels."""
        found = []
        if self.url.startswith("http:") and not self.local:
            found.append(f"{self.url} is not encrypted: the password and all data can be read on the way")
        if self.verify_tls is False:
            found.append(f"the certificate of {self.host} is not checked")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Profile:
    """A server and an account that ``xnatferry login`` has remembered under a name.

    Attributes:
        name: Its name.
        server: Address of the site.
        account: Login name of the person.
        secret: Fetches what to log in with: account and password, or alias and secret of a token; None when it is gone.
        verify_tls: False when the certificate is not checked; a path names the file with its authority.
        leads: Whether it may say which server is meant, and not only who we are at a server that is named.
    """

    name: str
    server: str
    account: str
    secret: Callable[[], tuple[str, Secret] | None]
    verify_tls: bool | str | None = None
    leads: bool = False


@dataclass(frozen=True, slots=True)
class _Offer:
    """What one source says; empty where it says nothing."""

    source: str
    server: str = ""
    user: str = ""
    password: Secret | None = None
    verify_tls: bool | str | None = None
    profile: Profile | None = None

    def credentials(self) -> tuple[str, Secret] | None:
        """Login and password; a profile is asked only now, because a keyring may ask the user."""
        if self.profile is not None:
            return self.profile.secret()
        return None if self.password is None else (self.user, self.password)


def normal_url(text: str) -> str:
    """Return the address of a site as we write it.

    ``xnat.example.org`` becomes ``https://xnat.example.org`` (``http`` on this computer); what a browser shows behind
    the site (``/app/template/...``, ``/data/projects/...``) is cut off; a path prefix stays.

    Raises:
        UsageError: The text is no address of a web server.
    """
    text = text.strip()
    try:
        if "://" not in text:
            text = f"{'http' if _is_loopback(urlsplit(f'//{text}').hostname or '') else 'https'}://{text}"
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageError(f"the server address is not valid ({error}); write https://HOST[:PORT][/PATH]") from None
    if parts.scheme not in {"http", "https"} or not _HOST.fullmatch(host):
        raise UsageError(f"{_without_user(parts)!r} is no server address; write https://HOST[:PORT][/PATH]")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{_without_user(parts)}: leave the user and password out of the address; "
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
    """Find the server and the credentials; None when no source names a server.

    Args:
        server: Address given as an option.
        user: Login given as an option.
        password: Password given as an option.
        environment: Where ``XNAT_HOST``, ``XNAT_USER`` and ``XNAT_PASS`` are looked up, and ``SSL_CERT_FILE``, the
            certificate authorities where no other source names any.
        config: JSON file with ``server``, ``user``, ``password`` and optionally ``verify``.
        profiles: What logins are remembered, the first that fits first.
        netrc: File in the form of ``~/.netrc``; a missing one is no error.
        verify_tls: Option; None leaves it to the config file, else true.

    Raises:
        UsageError: The config or netrc file, or the address, cannot be read.
        AuthenticationError: A server is named and no source has a user and password for it.
    """
    offers = [_Offer("from the options", server or "", user or "", _secret(password), verify_tls)]
    offers.append(_from_environment(environment or {}))
    if config is not None:
        offers.append(_from_config(config))
    offers += (_from_profile(profile) for profile in profiles)
    named = next((one for one in offers if one.server and (one.profile is None or one.profile.leads)), None)
    if named is None:
        return None
    url = normal_url(named.server)
    usable = [offer for offer in offers if not offer.server or normal_url(offer.server) == url]
    if netrc is not None and netrc.is_file():
        usable += _from_netrc(netrc, url)
    authorities = (environment or {}).get("SSL_CERT_FILE") or True
    verify = next((offer.verify_tls for offer in usable if offer.verify_tls is not None), authorities)
    return _logged_in(url, usable, verify_tls=verify)


def _logged_in(url: str, usable: Sequence[_Offer], *, verify_tls: bool | str) -> Connection:
    """The connection as the first user named, with the first password that is theirs.

    Raises:
        AuthenticationError: Nobody is named, or nobody knows the password; the message says how to name one.
    """
    who = next((offer for offer in usable if offer.user), None)
    if who is None:
        raise AuthenticationError(
            f"no user is given for {url}; use 'xnatferry login', or set XNAT_USER and XNAT_PASS, or use --user, "
            "--config FILE or ~/.netrc",
            url=url,
        )
    for offer in usable:
        if offer.user in {"", who.user} and (found := offer.credentials()) is not None:
            if offer.profile is None:
                return Connection(url, who.user, found[1], verify_tls, offer.source)
            alias = found[0] if found[0] != who.user else ""
            return Connection(url, who.user, found[1], verify_tls, offer.source, offer.profile.name, alias)
    lost = next((one.profile.name for one in usable if one.profile is not None and one.user == who.user), None)
    if lost is not None:
        raise AuthenticationError(
            f"the secret of profile {lost} is gone; 'xnatferry login --profile {lost}' stores one again", url=url
        )
    raise AuthenticationError(
        f"no password is given for {who.user} at {url}; use 'xnatferry login', or set XNAT_PASS, or use "
        "--config FILE or ~/.netrc",
        url=url,
    )


def _from_environment(environment: Mapping[str, str]) -> _Offer:
    return _Offer(
        "from XNAT_USER and XNAT_PASS",
        environment.get("XNAT_HOST", ""),
        environment.get("XNAT_USER", ""),
        _secret(environment.get("XNAT_PASS")),
    )


def _from_config(path: Path) -> _Offer:
    """Read what pyxnat's ``Interface.save_config`` writes."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: there is no such config file") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:
        found = None  # the message of the parser would quote the file, and with it the password
    if not isinstance(found, dict) or not all(
        isinstance(found.get(key, ""), str) for key in ("server", "user", "password")
    ):
        raise UsageError(
            f'{path}: is no config file; it should hold {{"server": "...", "user": "...", "password": "..."}}'
        )
    verify = found.get("verify")
    return _Offer(
        f"from --config {path}",
        found.get("server", ""),
        found.get("user", ""),
        _secret(found.get("password")),
        verify if isinstance(verify, (bool, str)) else None,
    )


def _from_profile(profile: Profile) -> _Offer:
    return _Offer(
        f"of profile {profile.name}",
        profile.server,
        profile.account,
        verify_tls=profile.verify_tls,
        profile=profile,
    )


def _from_netrc(path: Path, url: str) -> Iterator[_Offer]:
    try:
        known = netrc_file.netrc(str(path))
    except (netrc_file.NetrcParseError, OSError, UnicodeDecodeError) as error:
        where = f", line {error.lineno}" if isinstance(error, netrc_file.NetrcParseError) else ""
        raise UsageError(f"{path}{where}: cannot be read as a netrc file") from None
    parts = urlsplit(url)
    for machine in dict.fromkeys((parts.netloc, parts.hostname or "")):
        if machine in known.hosts:
            login, account, password = known.hosts[machine]
            yield _Offer(f"from {path}", url, login or account, _secret(password))


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
