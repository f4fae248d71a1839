"""Requests with a login, repeated after temporary errors if that is safe."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Protocol, TypeVar

from xnatferry.client.http import HttpClient, Request, StreamedResponse
from xnatferry.client.login import Authorization, Login
from xnatferry.client.responses import ServerResponse, error_of
from xnatferry.errors import AuthenticationError, RemoteError, UnavailableError
from xnatferry.retry import pause_before_next

if TYPE_CHECKING:
    from collections.abc import Callable

    from xnatferry.client.settings import Connection
    from xnatferry.retry import Timeouts

log = logging.getLogger(__name__)

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Use(Protocol[T_co]):
    def __call__(self, streamed: StreamedResponse, attempts: int, /) -> T_co: ...


class Requester:
    """Sends requests to one site. Thread-safe.

    Args:
        connection: Site and account.
        timeouts: Timeouts of requests.
        pause: Waits some seconds; tests replace it.
    """

    def __init__(
        self,
        connection: Connection,
        timeouts: Timeouts | None = None,
        *,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = HttpClient(connection, timeouts)
        self._login = Login(connection, self._http.send)
        self._pause = pause

    @property
    def requests(self) -> int:
        """Number of requests sent, including repeats."""
        return self._http.requests

    def close(self) -> None:
        """Log out and close the connections."""
        self._login.close()
        self._http.close()

    def ask(self, request: Request, *, repeat: bool | None = None) -> ServerResponse:
        """Send *request*; returns a successful answer.

        Args:
            request: The request.
            repeat: Whether to repeat it after temporary errors; None repeats GET only. Only for requests that have no
                further effect when they arrive twice.

        Raises:
            RemoteError: The server refused the request, or cannot be reached; `RemoteError.attempts` counts the tries.
        """
        return self._repeat(_Exchange(request, request.method == "GET" if repeat is None else repeat), _good)

    def receive(self, request: Request, take: Callable[[StreamedResponse], T]) -> T:
        """Send a GET and pass its answer to *take*, again from the start after a temporary error.

        Raises:
            RemoteError: The server refused the request, or cannot be reached.
        """

        def use(streamed: StreamedResponse, attempts: int) -> T:
            if streamed.head.status not in {200, 206}:
                _good(streamed, attempts)
            return take(streamed)

        return self._repeat(_Exchange(request, may_repeat=True), use)

    def _repeat(self, exchange: _Exchange, use: _Use[T]) -> T:
        request = exchange.request
        for attempt in count(1):
            try:
                return self._logged_in(exchange, use)
            except RemoteError as error:
                error.attempts = exchange.sent
                if not (isinstance(error, UnavailableError) and exchange.may_repeat):
                    raise
                wait = pause_before_next(error, attempt)
                log.info("%s %s: %s; repeated in %.1f s", request.method, request.path, error, wait)
            exchange.sent += 1
            self._pause(wait)
        raise AssertionError  # pragma: no cover  # count() does not end

    def _logged_in(self, exchange: _Exchange, use: _Use[T]) -> T:
        """Send one request; again with a new login when it has expired, then with Basic credentials."""
        authorization = self._login.authorization()
        try:
            return self._once(exchange, authorization, use, watch=True)
        except AuthenticationError as error:
            log.debug("%s %s: %s", exchange.request.method, exchange.request.path, error)
            if authorization.session is None:
                raise
            self._login.renew(authorization)
            if isinstance(error, _LoginLostError) and error.may_have_acted:
                if not exchange.may_repeat:
                    raise _unsure(error) from None
                exchange.sent += 1
        authorization = self._login.authorization()
        try:
            return self._once(exchange, authorization, use, watch=False)
        except AuthenticationError:
            if authorization.session is None:
                raise
        authorization = self._login.basic()
        done = self._once(exchange, authorization, use, watch=False)
        self._login.use(authorization)
        return done

    def _once(self, exchange: _Exchange, authorization: Authorization, use: _Use[T], *, watch: bool) -> T:
        with self._http.open(exchange.request, authorization.credential) as streamed:
            if self._login.lost(streamed.head, authorization):
                if watch:
                    raise _LoginLostError(streamed.head)
                self._login.accept_changing_sessions()
            return use(streamed, exchange.sent)


@dataclass(slots=True)
class _Exchange:
    """One request, and how often it was sent and may have been carried out."""

    request: Request
    may_repeat: bool
    sent: int = 1


class _LoginLostError(AuthenticationError):
    """The answer has another session cookie than ours.

    The request of a guest is refused, or its answer is incomplete. A load balancer also changes the session of requests
    that were carried out; only another request can distinguish the two.
    """

    def __init__(self, head: ServerResponse) -> None:
        super().__init__("the server no longer accepts the login", status=head.status, method=head.method, url=head.url)
        self.may_have_acted = head.method != "GET" and 200 <= head.status < 300


def _unsure(error: _LoginLostError) -> UnavailableError:
    return UnavailableError(
        f"{error.method} was answered under another login; it is not known whether it was carried out",
        status=error.status,
        method=error.method,
        url=error.url,
    )


def _good(streamed: StreamedResponse, attempts: int) -> ServerResponse:
    response = replace(streamed.read(), attempts=attempts)
    if (error := error_of(response)) is not None:
        raise error
    return response
