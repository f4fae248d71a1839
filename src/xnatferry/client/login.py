"""One login for all threads: taken once, renewed once, given back at the end.

XNAT opens an HTTP session for every request with Basic credentials and no cookie, and refuses logins beyond a number of
them; so one ``JSESSIONID`` is fetched with Basic credentials (``GET /data/JSESSION``) and sent with everything else.
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

__all__ = ["Authorization", "Login"]

log = logging.getLogger(__name__)

_SESSION_ID = re.compile(r"[0-9A-Za-z._!-]{8,256}")
_COOKIE = "JSESSIONID"
#: A login of this shape is an alias token (``AliasToken.isAliasFormat``).
_ALIAS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Authorization:
    """What goes with a request.

    Attributes:
        number: Which login it is, counted from 1.
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
        self._ticket: Authorization | None = None
        self._count = 0
        self._refusal = ""
        self._sessions_change = False

    def authorization(self) -> Authorization:
        """The credentials to send now; logs in when nobody has yet.

        Raises:
            AuthenticationError: The account or password is wrong. It is tried once, whatever the number of threads:
                servers lock accounts after a few wrong passwords.
            NotXnatError: The site is no XNAT.
            RemoteError: The site cannot be asked.
        """
        with self._lock:
            if self._ticket is None:
                self._ticket = self._taken()
            return self._ticket

    def renew(self, old: Authorization) -> None:
        """Take a new login unless another thread has replaced *old* already. Raises what `authorization` raises."""
        with self._lock:
            if self._ticket is old:
                self._ticket = None
                log.info("the login at %s has expired; logging in again", self._connection.url)
                self._ticket = self._taken()

    def basic(self) -> Authorization:
        """Basic credentials, for a server that does not honour its own cookie."""
        return Authorization(self._count, None, ("Authorization", self._basic_header()))

    def settle_on(self, authorization: Authorization) -> None:
        """Use *authorization* from now on: it worked where the login cookie did not."""
        with self._lock:
            self._ticket = authorization

    def lost(self, response: ServerResponse, authorization: Authorization) -> bool:
        """Whether the server opened another session than ours: it no longer knows us, even if it answers.

        A site that is open to guests answers an expired login as it answers a guest: with 404, or 200 and less.
        """
        given = response.cookies.get(_COOKIE)
        return (
            given is not None
            and authorization.session is not None
            and given != authorization.session.reveal()
            and not self._sessions_change
        )

    def accept_changing_sessions(self) -> None:
        """Remember that this server opens sessions all the time, so that `lost` means nothing here."""
        self._sessions_change = True

    def close(self) -> None:
        """Give the login back (``DELETE /data/JSESSION``); a failure is no concern of the caller."""
        with self._lock:
            authorization, self._ticket = self._ticket, None
        if authorization is None or authorization.session is None:
            return
        try:
            self._send(Request("DELETE", "/data/JSESSION"), authorization.credential)
        except RemoteError as error:
            log.debug("the login could not be given back: %s", error)

    def _taken(self) -> Authorization:
        if self._refusal:
            raise AuthenticationError(self._refusal, status=401, url=self._connection.url)
        response = self._send(Request("GET", "/data/JSESSION"), self.basic().credential)
        self._count += 1
        if not_logged_in(response) or _expired(response):
            self._refusal = self._refused_words()
            raise AuthenticationError(self._refusal, status=response.status, method="GET", url=self._connection.url)
        text = response.text.strip()
        if response.status == 200 and _SESSION_ID.fullmatch(text):
            return self._cookie_ticket(response, text)
        if response.status in {404, 405, 406, 500, 501}:
            return self._without_cookie(response)
        raise error_of(response) or NotXnatError(
            f"{self._connection.url} answers, but not as an XNAT; is something missing from the address?",
            status=response.status,
            method="GET",
            url=self._connection.url,
        )

    def _cookie_ticket(self, response: ServerResponse, session: str) -> Authorization:
        # Other cookies of the login, such as a load balancer's, lead back to the same node.
        cookies = {**response.cookies, _COOKIE: session}
        cookies.pop("SESSION_EXPIRATION_TIME", None)
        line = "; ".join(f"{name}={value}" for name, value in cookies.items())
        return Authorization(self._count, Secret(session), ("Cookie", Secret(line)))

    def _without_cookie(self, refused: ServerResponse) -> Authorization:
        """Basic credentials, when the site gives no login cookie but does know us."""
        authorization = self.basic()
        response = self._send(Request("GET", "/data/auth"), authorization.credential)
        if response.status == 200 and "logged in" in response.text:
            return authorization
        if refused.status == 500 and (error := error_of(refused)) is not None:
            raise error
        raise NotXnatError(
            f"{self._connection.url} answers, but has no XNAT at this address (status {refused.status}); "
            "is a path such as /xnat missing?",
            status=refused.status,
            method="GET",
            url=self._connection.url,
        )

    def _refused_words(self) -> str:
        url, user, profile = self._connection.url, self._connection.user, self._connection.profile
        if profile:
            again = f"'xnatferry login --profile {profile}' logs in again"
            return f"{url} no longer accepts the login of profile {profile}: it has expired or was withdrawn; {again}"
        if _ALIAS.fullmatch(user):
            return f"{url} does not accept the alias token {self._connection.source}; has it expired?"
        return f"{url} does not accept user {user} with the password {self._connection.source}"

    def _basic_header(self) -> Secret:
        name = self._connection.alias or self._connection.user
        pair = f"{name}:{self._connection.password.reveal()}".encode()
        return Secret(f"Basic {b64encode(pair).decode('ascii')}")


def _expired(response: ServerResponse) -> bool:
    """Whether 403 is about an alias token: 1.8 says "Your security token has expired or is invalid"."""
    return response.status == 403 and "security token has expired" in response.text
