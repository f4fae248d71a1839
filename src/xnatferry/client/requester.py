"""Requests with a login, repeated after temporary errors if that is safe."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from functools import partial
from random import SystemRandom
from typing import TYPE_CHECKING, Protocol, Self, TypeVar

from xnatferry.client.http import HttpClient, Request, StreamedResponse, Timeouts
from xnatferry.client.login import Authorization, Login
from xnatferry.client.responses import ServerResponse, error_of
from xnatferry.errors import AuthenticationError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from xnatferry.client.settings import Connection

__all__ = ["ATTEMPTS", "Requester"]

log = logging.getLogger(__name__)

#: Tries of a request that may be repeated, the first included.
ATTEMPTS = 4
#: Seconds before the second try; doubled each time, with jitter.
FIRST_PAUSE_S = 0.4
#: If a server requests a longer pause than this, in seconds, the request fails.
LONGEST_PAUSE_S = 60.0

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Use(Protocol[T_co]):
    def __call__(self, streamed: StreamedResponse, attempt: int) -> T_co: ...


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
        self._random = SystemRandom()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

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
            RemoteError: The server refused the request, or cannot be reached.
        """
        may_repeat = request.method == "GET" if repeat is None else repeat
        return self._repeat(request, _good, may_repeat=may_repeat)

    def receive(self, request: Request, take: Callable[[StreamedResponse], T]) -> T:
        """Send a GET and pass its answer to *take*, again from the start after a temporary error.

        Raises:
            RemoteError: The server refused the request, or cannot be reached.
        """

        def use(streamed: StreamedResponse, attempt: int) -> T:
            if streamed.head.status not in {200, 206}:
                _good(streamed, attempt)
            return take(streamed)

        return self._repeat(request, use, may_repeat=True)

    def _repeat(self, request: Request, use: _Use[T], *, may_repeat: bool) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._logged_in(request, partial(use, attempt=attempt))
            except UnavailableError as error:
                wait = max(FIRST_PAUSE_S * 2 ** (attempt - 1) * (0.5 + self._random.random()), error.retry_after_s or 0)
                if not may_repeat or attempt == ATTEMPTS or wait > LONGEST_PAUSE_S:
                    raise
                log.info("%s %s: %s; repeated in %.1f s", request.method, request.path, error, wait)
            self._pause(wait)
        raise AssertionError  # pragma: no cover  # the loop returns or raises

    def _logged_in(self, request: Request, use: Callable[[StreamedResponse], T]) -> T:
        """Send one request; again with a new login when it has expired, then with Basic credentials."""
        authorization = self._login.authorization()
        try:
            return self._once(request, authorization, use, watch=True)
        except AuthenticationError as error:
            log.debug("%s %s: %s", request.method, request.path, error)
            if authorization.session is None:
                raise
        self._login.renew(authorization)
        authorization = self._login.authorization()
        try:
            return self._once(request, authorization, use, watch=False)
        except AuthenticationError:
            if authorization.session is None:
                raise
        authorization = self._login.basic()
        done = self._once(request, authorization, use, watch=False)
        self._login.use(authorization)
        return done

    def _once(
        self, request: Request, authorization: Authorization, use: Callable[[StreamedResponse], T], *, watch: bool
    ) -> T:
        with self._http.open(request, authorization.credential) as streamed:
            if self._login.lost(streamed.head, authorization):
                if watch:
                    raise AuthenticationError("the login has expired", status=streamed.head.status)
                self._login.accept_changing_sessions()
            return use(streamed)


def _good(streamed: StreamedResponse, attempt: int) -> ServerResponse:
    response = replace(streamed.read(), attempts=attempt)
    if (error := error_of(response)) is not None:
        raise error
    return response
