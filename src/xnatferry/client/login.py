"""One login for all threads: opened once, renewed when it expires, closed at the end.

XNAT opens an HTTP session for every request with Basic credentials and no cookie, and limits their number; so one
``JSESSIONID`` is fetched with Basic credentials (``GET /data/JSESSION``) and sent with everything else.
"""

from __future__ import annotations

import logging
import re
import threading
from base64 import b64encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.client.http import Credential, Request
from xnatferry.client.responses import ServerResponse, error_of, not_logged_in
from xnatferry.client.settings import Secret
from xnatferry.errors import AuthenticationError, NotXnatError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xnatferry.client.settings import Connection

log = logging.getLogger(__name__)

_SESSION_ID = re.compile(r"[0-9A-Za-z._!-]{8,256}")
_COOKIE = "JSESSIONID"
#: A login of this shape is an alias token (``AliasToken.isAliasFormat``).
_ALIAS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Authorization:
    """The authorization of a request.

    Attributes:
        number: Number of the login, from 1.
        session: Value of the login cookie; None when the request carries Basic credentials instead.
        credential: The header field.
    """

    number: int
    session: Secret | None
    credential: Credential


class Login:
    """The login of one connection.

    Args:
        connection: Site and account.
        send: Sends one request with the given credential.
    """

    def __init__(self, connection: Connection, send: Callable[[Request, Credential], ServerResponse]) -> None:
        self._connection = connection
        self._send = send
        self._lock = threading.Lock()
        self._current: Authorization | None = None
        self._count = 0
        self._rejected_because = ""
        self._sessions_change = False

    def authorization(self) -> Authorization:
        """The current authorization; logs in first if necessary.

        Raises:
            AuthenticationError: The user name or password is wrong. It is tried only once for all threads, as servers
                lock accounts after several wrong passwords.
            NotXnatError: The site is not an XNAT.
            RemoteError: The site cannot be reached.
        """
        with self._lock:
            if self._current is None:
                self._current = self._log_in()
            return self._current

    def renew(self, old: Authorization) -> None:
        """Log in again, unless another thread has already replaced *old*. Raises what `authorization` raises."""
        with self._lock:
            if self._current is old:
                self._current = None
                log.info("login at %s expired; logging in again", self._connection.url)
                self._current = self._log_in()

    def basic(self) -> Authorization:
        """Basic credentials, for a server that does not accept its own cookie."""
        return Authorization(self._count, None, ("Authorization", self._basic_header()))

    def use(self, authorization: Authorization) -> None:
        """Use *authorization* for all further requests: it was accepted, unlike the login cookie."""
        with self._lock:
            self._current = authorization

    def lost(self, response: ServerResponse, authorization: Authorization) -> bool:
        """Whether the server opened a new session: our login has expired, although the server answers.

        A site with guest access answers an expired login like a guest: with 404, or with 200 and fewer objects.
        """
        given = response.cookies.get(_COOKIE)
        return (
            given is not None
            and authorization.session is not None
            and given != authorization.session.reveal()
            and not self._sessions_change
        )

    def accept_changing_sessions(self) -> None:
        """Remember that this server always opens new sessions, so that `lost` is not used."""
        self._sessions_change = True

    def close(self) -> None:
        """Log out (``DELETE /data/JSESSION``); errors are ignored."""
        with self._lock:
            authorization, self._current = self._current, None
        if authorization is None or authorization.session is None:
            return
        try:
            self._send(Request("DELETE", "/data/JSESSION"), authorization.credential)
        except RemoteError as error:
            log.debug("logout failed: %s", error)

    def _log_in(self) -> Authorization:
        if self._rejected_because:
            raise AuthenticationError(self._rejected_because, status=401, url=self._connection.url)
        response = self._send(Request("GET", "/data/JSESSION"), self.basic().credential)
        self._count += 1
        if not_logged_in(response) or _expired(response):
            self._rejected_because = self._rejection()
            raise AuthenticationError(
                self._rejected_because, status=response.status, method="GET", url=self._connection.url
            )
        text = response.text.strip()
        if response.status == 200 and _SESSION_ID.fullmatch(text):
            return self._cookie_authorization(response, text)
        if response.status in {404, 405, 406, 500, 501}:
            return self._without_cookie(response)
        raise error_of(response) or NotXnatError(
            f"{self._connection.url}: not an XNAT; check the server address",
            status=response.status,
            method="GET",
            url=self._connection.url,
        )

    def _cookie_authorization(self, response: ServerResponse, session: str) -> Authorization:
        # Other cookies of the login, such as those of a load balancer, select the same node.
        cookies = {**response.cookies, _COOKIE: session}
        cookies.pop("SESSION_EXPIRATION_TIME", None)
        line = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return Authorization(self._count, Secret(session), ("Cookie", Secret(line)))

    def _without_cookie(self, refused: ServerResponse) -> Authorization:
        """Basic credentials, if the site has no login cookie but accepts them."""
        authorization = self.basic()
        response = self._send(Request("GET", "/data/auth"), authorization.credential)
        if response.status == 200 and "logged in" in response.text:
            return authorization
        if refused.status == 500 and (error := error_of(refused)) is not None:
            raise error
        raise NotXnatError(
            f"{self._connection.url}: no XNAT at this address (status {refused.status}); "
            "check the address: a path such as /xnat may be missing",
            status=refused.status,
            method="GET",
            url=self._connection.url,
        )

    def _rejection(self) -> str:
        url, user, profile = self._connection.url, self._connection.user, self._connection.profile
        if profile:
            again = f"run: xnatferry login --profile {profile}"
            return f"{url}: the login of profile {profile} has expired or was invalidated; {again}"
        if _ALIAS.fullmatch(user):
            return f"{url}: alias token not accepted ({self._connection.source}); it may have expired"
        return f"{url}: wrong user name or password (user {user}, password {self._connection.source})"

    def _basic_header(self) -> Secret:
        name = self._connection.alias or self._connection.user
        pair = f"{name}:{self._connection.password.reveal()}".encode()
        return Secret(f"Basic {b64encode(pair).decode('ascii')}")


def _expired(response: ServerResponse) -> bool:
    """Whether 403 is about an alias token: 1.8 answers "Your security token has expired or is invalid"."""
    return response.status == 403 and "security token has expired" in response.text
