"""One HTTP request and its answer: the only module that uses the HTTP library.

Login and repeats are in `xnatferry.client.requester`.
"""

from __future__ import annotations

import logging
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import httpx2

from xnatferry import __version__
from xnatferry.client.responses import ServerResponse
from xnatferry.client.settings import Secret
from xnatferry.errors import (
    NotFoundError,
    NotXnatError,
    RemoteError,
    TransferError,
    UnavailableError,
    UsageError,
    XnatferryError,
)
from xnatferry.retry import Timeouts
from xnatferry.xnat.digest import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from xnatferry.client.settings import Connection

__all__ = ["Body", "Credential", "HttpClient", "Request", "StreamedResponse", "Timeouts"]

#: Name and value of the header field with the credentials.
Credential = tuple[str, Secret]

#: Returns the bytes of a request; called again for every attempt.
Body = Callable[[], Iterable[bytes]]

# At DEBUG the transport of the library logs all header fields, including the login cookie.
logging.getLogger("httpcore2").setLevel(logging.INFO)

# Nothing in it may look like a browser: XNAT then answers 302 instead of 401 and asks for a CSRF token.
_USER_AGENT = f"xnatferry/{__version__}"
# Servers close idle connections after 5 s (uvicorn) or 20 s (Tomcat); we close them earlier.
_KEEP_ALIVE_S = 4.0
# Slowest extraction of an archive that we wait for, in bytes per second.
_UNPACKING_RATE = 2_000_000


@dataclass(frozen=True, slots=True)
class Request:
    """A request.

    Attributes:
        method: HTTP method.
        path: Percent-encoded path below the site, e.g. ``/data/projects/P``.
        query: Names and values in order, not yet encoded.
        headers: Further header fields; never credentials.
        body: Returns the bytes, again at each call; None for no body.
        size_bytes: Number of bytes of *body*: XNAT refuses a body of unknown length.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    body: Body | None = None
    size_bytes: int = 0

    @property
    def target(self) -> str:
        """Path and query, percent-encoded; a blank as ``%20``, which all servers decode."""
        words = "&".join(f"{quote(key, safe=':/@')}={quote(value, safe=':/,')}" for key, value in self.query)
        return f"{self.path}?{words}" if words else self.path


class StreamedResponse:
    """An answer whose body is not read yet.

    Attributes:
        head: Status and header fields, with an empty body.
    """

    def __init__(self, head: ServerResponse, response: httpx2.Response, fail: Callable[[Exception], Exception]) -> None:
        self.head = head
        self._response = response
        self._fail = fail

    def pieces(self) -> Iterator[bytes]:
        """The body in pieces of at most 1 MiB, content encoding undone.

        Raises:
            UnavailableError: The connection was lost before the end.
        """
        failure: Exception | None = None
        try:
            yield from self._response.iter_bytes(PIECE_BYTES)
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            failure = self._fail(error)
        if failure is not None:
            raise failure

    def read(self) -> ServerResponse:
        """The answer with its body."""
        return replace(self.head, body=b"".join(self.pieces()))


class HttpClient:
    """A pool of connections to one site, for any number of threads.

    Args:
        connection: The site; credentials in it are not used here.
        timeouts: How long to wait.
        connections: How many may be open at once.
    """

    def __init__(self, connection: Connection, timeouts: Timeouts | None = None, *, connections: int = 32) -> None:
        self._url = connection.url
        self._timeouts = timeouts or Timeouts()
        self._reached = False
        self._counting = threading.Lock()
        self._requests = 0
        # A jar without cookies: `Login` keeps the login cookie for all threads.
        no_cookies = CookieJar(policy=DefaultCookiePolicy(allowed_domains=[]))
        self._client = httpx2.Client(
            verify=_tls(connection),
            cookies=no_cookies,
            headers={"User-Agent": _USER_AGENT, "Accept": "*/*"},
            limits=httpx2.Limits(
                max_connections=connections, max_keepalive_connections=connections, keepalive_expiry=_KEEP_ALIVE_S
            ),
            follow_redirects=False,
            trust_env=not connection.local,  # proxies of the environment, but not for this computer
        )

    @property
    def requests(self) -> int:
        """Number of requests sent, including repeats."""
        return self._requests

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def send(self, request: Request, credential: Credential) -> ServerResponse:
        """Send *request* once and read the whole answer, whatever its status.

        Raises:
            UnavailableError: No answer, or an incomplete one; the server may have carried out the request.
            NotFoundError: The host does not exist.
            NotXnatError: The answer is not HTTP.
        """
        with self.open(request, credential) as answer:
            return answer.read()

    @contextmanager
    def open(self, request: Request, credential: Credential) -> Iterator[StreamedResponse]:
        """Send *request* once; the caller reads the body of the answer. Raises what `send` raises."""
        url = self._url + request.target
        failure: Exception | None = None
        response: httpx2.Response | None = None
        with self._counting:
            self._requests += 1
        try:
            built = self._built(request, url, credential)
            response = self._client.send(built, stream=True)
        except (httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL) as error:
            failure = self._translated(error, request)
        except XnatferryError as error:  # from the body: the file changed, or the user stopped the run
            failure = error.with_traceback(None)
        if failure is not None or response is None:
            # Raised outside the handler, as frames of the library contain the credentials.
            raise failure or RemoteError("no answer", method=request.method, url=url)
        self._reached = True
        try:
            head = ServerResponse(
                response.status_code,
                {key.lower(): value for key, value in response.headers.items()},
                b"",
                request.method,
                url,
                dict(_cookies(response)),
            )
            yield StreamedResponse(head, response, lambda error: self._translated(error, request))
        finally:
            response.close()

    def _built(self, request: Request, url: str, credential: Credential) -> httpx2.Request:
        headers = {**dict(request.headers), credential[0]: credential[1].reveal()}
        content: Iterable[bytes] | None = None
        if request.body is not None:
            content = _exactly(request)
            headers["Content-Length"] = str(request.size_bytes)
        elif request.method in {"PUT", "POST"}:
            headers["Content-Length"] = "0"
        waits = self._timeouts
        read_s = waits.read_s
        if request.body is not None:
            read_s = max(read_s, waits.stored_s + request.size_bytes / _UNPACKING_RATE)
        timeout = httpx2.Timeout(connect=waits.connect_s, read=read_s, write=waits.write_s, pool=None)
        return self._client.build_request(request.method, url, headers=headers, content=content, timeout=timeout)

    def _translated(self, error: Exception, request: Request) -> Exception:
        """The xnatferry error for an error of the library."""
        url = self._url + request.path
        where = f"{urlsplit(self._url).scheme}://{urlsplit(self._url).netloc}"
        words = str(error) or type(error).__name__

        def made(kind: type[RemoteError], message: str) -> RemoteError:
            return kind(message, method=request.method, url=url)

        if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            return UsageError(f"{where}: not a server address ({words}); write https://HOST[:PORT][/PATH]")
        if isinstance(error, httpx2.ConnectTimeout):
            return made(UnavailableError, f"{where} does not answer; check the address, VPN and proxy")
        if isinstance(error, httpx2.TimeoutException):
            return made(UnavailableError, f"{where}: timeout; try again later")
        if isinstance(error, httpx2.ConnectError):
            return self._not_connected(words, where, made)
        if isinstance(error, httpx2.DecodingError):
            return made(UnavailableError, f"{where}: the answer cannot be decompressed ({words}); try again later")
        if isinstance(error, httpx2.RemoteProtocolError) and not self._reached and "disconnected" not in words.lower():
            return made(NotXnatError, f"{where}: not a web server ({words}); check the server address")
        return made(UnavailableError, f"{where}: connection lost ({words}); try again later")

    def _not_connected(
        self, words: str, where: str, made: Callable[[type[RemoteError], str], RemoteError]
    ) -> RemoteError:
        low = words.lower()
        host = urlsplit(self._url).hostname
        if "certificate" in low:
            return made(
                RemoteError,
                f"{host}: the certificate is not trusted ({words}); "
                "use --ca FILE or SSL_CERT_FILE with its certificate authority",
            )
        if "ssl" in low or "tls" in low:
            plain = self._url.replace("https://", "http://", 1)
            return made(
                NotXnatError,
                f"{where}: the server does not use TLS ({words}); to connect without encryption, use --server {plain}",
            )
        if ("name" in low or "nodename" in low or "getaddrinfo" in low) and not self._reached:
            return made(NotFoundError, f"{host}: host not found; check the server address")
        return made(UnavailableError, f"{where}: cannot connect ({words}); check that the server is running")


def _exactly(request: Request) -> Iterator[bytes]:
    """The body, which must have the announced length, as the connection cannot be used otherwise."""
    left = request.size_bytes
    for piece in request.body() if request.body is not None else ():
        left -= len(piece)
        if left < 0:
            break
        yield piece
    if left:
        raise TransferError(
            f"{request.path}: the body has {'more' if left < 0 else 'fewer'} than {request.size_bytes} bytes"
        )


def _tls(connection: Connection) -> ssl.SSLContext | bool:
    if isinstance(connection.verify_tls, str):
        try:
            return ssl.create_default_context(cafile=connection.verify_tls)
        except OSError as error:
            raise UsageError(f"{connection.verify_tls}: not a readable certificate file ({error.strerror})") from None
    # Loading certificates takes 20 ms; http addresses need none.
    return connection.verify_tls and not connection.url.startswith("http:")


def _cookies(response: httpx2.Response) -> Iterator[tuple[str, str]]:
    for line in response.headers.get_list("set-cookie"):
        name, found, value = line.partition(";")[0].partition("=")
        if found:
            yield name.strip(), value.strip().strip('"')
