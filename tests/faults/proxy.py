"""A proxy on loopback in front of a real archive: it passes everything on, keeps a record, and fails on demand.

Behind it is real state, so that a test can say what really is on the server. `Proxy.fail` adds faults; the acts below are
what proxies, networks and servers do. With ``era="1.6.4"`` answers are rewritten as that version gives them.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from tests.faults.serving import DroppingHandler, DroppingServer, HangupError

OLD, NEW = "1.6.4", "1.8"


@dataclass
class Reply:
    """An answer to send."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Seen:
    """One request as it came, and how it was answered."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""
    status: int | None = None
    """What the client was answered; None when it never was."""
    stored: bool = False
    """Whether the archive was given the whole request and answered well."""

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    def __str__(self) -> str:
        return f"{self.method} {self.target}"


@dataclass
class Fault:
    method: str
    pattern: re.Pattern[str]
    act: Callable[[Handler, Seen], Reply | None]
    left: float
    hits: int = 0


class Proxy:
    """Faults and records of one proxy.

    Attributes:
        body_limit: Larger bodies are refused with 413, or cut off when *cuts* is true.
        delay_s: Seconds that every request takes longer.
        on_request: Called with the number of every request (from 1) before it is looked at.
        crowded: Resources that had two writers at the same time.
    """

    def __init__(self, target: str, era: str = NEW) -> None:
        self.target = urlsplit(target)
        self.era = era
        self.url = ""
        self.requests: list[Seen] = []
        self.faults: list[Fault] = []
        self.body_limit: int | None = None
        self.cuts = False
        self.delay_s = 0.0
        self.digests = True
        self.on_request: Callable[[int, Handler, Seen], None] = lambda number, handler, seen: None
        self.lock = threading.RLock()
        self.writers: Counter[str] = Counter()
        self.crowded: set[str] = set()

    def fail(
        self, method: str, pattern: str, act: Callable[[Handler, Seen], Reply | None] | Reply, *, times: float = 1
    ):
        """Let *act* answer the next requests whose method and target match; None from it passes on to the archive."""
        chosen = (lambda handler, seen: act) if isinstance(act, Reply) else act
        self.faults.append(Fault(method, re.compile(pattern), chosen, times))

    def stored(self, pattern: str = "/files/") -> Counter[str]:
        """How often a PUT of each target was carried out by the archive."""
        return Counter(
            s.target.partition("?")[0]
            for s in self.requests
            if s.method == "PUT" and s.stored and re.search(pattern, s.target)
        )


class Handler(DroppingHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    server: Server

    def log_message(self, *args: object) -> None:
        pass

    def _serve(self) -> None:
        proxy = self.server.proxy
        headers = {key.lower(): value for key, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers)
        with proxy.lock:
            proxy.requests.append(seen)
            number = len(proxy.requests)
        try:
            if proxy.delay_s:
                time.sleep(proxy.delay_s)
            proxy.on_request(number, self, seen)
            reply = self._faulty(seen) or self._limited(seen) or self.forward(seen)
            self.send(seen, reply)
        except (HangupError, ConnectionError, http.client.HTTPException):
            self.close_connection = True

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815

    def _faulty(self, seen: Seen) -> Reply | None:
        proxy = self.server.proxy
        with proxy.lock:
            for fault in proxy.faults:
                if fault.left > 0 and fault.method in {seen.method, "*"} and fault.pattern.search(seen.target):
                    fault.left -= 1
                    fault.hits += 1
                    break
            else:
                return None
        reply = fault.act(self, seen)
        if reply is not None:
            self.read_body(seen)
        return reply

    def _limited(self, seen: Seen) -> Reply | None:
        limit = self.server.proxy.body_limit
        if limit is None or int(seen.headers.get("content-length", 0)) <= limit:
            return None
        if self.server.proxy.cuts:
            self.read_body(seen, most=limit)
            self.reset()
        return Reply(
            413, b"<html><head><title>413 Request Entity Too Large</title></head></html>", {"Connection": "close"}
        )

    def read_body(self, seen: Seen, most: int | None = None) -> None:
        size = int(seen.headers.get("content-length", 0))
        left = size - len(seen.body)
        seen.body += self.rfile.read(left if most is None else min(left, most))
        if most is None and len(seen.body) < size:
            raise HangupError

    def forward(self, seen: Seen, *, body: bytes | None = None, target: str | None = None) -> Reply:
        """Let the archive answer."""
        self.read_body(seen)
        proxy = self.server.proxy
        resource = re.match(r".*/resources/[^/?]+", seen.path)
        writes = seen.method in {"PUT", "POST", "DELETE"} and resource is not None
        with proxy.lock:
            if writes:
                proxy.writers[resource[0]] += 1
                if proxy.writers[resource[0]] > 1:
                    proxy.crowded.add(resource[0])
        try:
            upstream = http.client.HTTPConnection(proxy.target.hostname, proxy.target.port, timeout=30)
            kept = {
                k: v
                for k, v in seen.headers.items()
                if k not in {"connection", "host", "accept-encoding", "content-length"}
            }
            sent = seen.body if body is None else body
            upstream.request(
                seen.method,
                target or seen.target,
                body=sent or None,
                headers={**kept, "Content-Length": str(len(sent))},
            )
            answer = upstream.getresponse()
            data = answer.read()
            upstream.close()
        finally:
            with proxy.lock:
                if writes:
                    proxy.writers[resource[0]] -= 1
        seen.stored = answer.status < 300
        dropped = {"content-length", "transfer-encoding", "connection", "date", "server"}
        reply = Reply(answer.status, data, {k: v for k, v in answer.getheaders() if k.lower() not in dropped})
        return self._aged(seen, reply)

    def _aged(self, seen: Seen, reply: Reply) -> Reply:
        """The answer without digests, as 1.6.4 gives them."""
        proxy = self.server.proxy
        if proxy.era == OLD and "/buildInfo" in seen.target:
            return Reply(404)
        if seen.method != "GET" or reply.status != 200:
            return reply
        path = seen.path
        if re.search(r"/files$", path) and b'"ResultSet"' in reply.body:
            table = json.loads(reply.body)
            for row in table["ResultSet"]["Result"]:
                if proxy.era == OLD:
                    row.pop("digest", None)
                elif not proxy.digests:
                    row["digest"] = ""
            reply.body = json.dumps(table).encode()
        elif not proxy.digests and re.search(r"/resources/[^/]+$", path):
            reply.body = re.sub(rb' digest="[^"]*"', b"", reply.body)
        return reply

    def send(self, seen: Seen, reply: Reply) -> None:
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(reply.body)
        self.wfile.flush()
        seen.status = reply.status
        if reply.headers.get("Connection") == "close":
            self.close_connection = True


class Server(DroppingServer):
    def __init__(self, proxy: Proxy) -> None:
        super().__init__(Handler)
        self.proxy = proxy


@contextmanager
def running_proxy(target: str, era: str = NEW) -> Iterator[Proxy]:
    """Serve a new proxy before *target* on a free port until the block ends."""
    proxy = Proxy(target, era)
    server = Server(proxy)
    proxy.url = server.url
    with server.serving():
        yield proxy


# What goes wrong


def busy(status: int = 503, after: str = "0") -> Reply:
    """A temporary refusal."""
    return Reply(status, b"<html><head><title>Service Unavailable</title></head></html>", {"Retry-After": after})


def page(status: int, message: str) -> Reply:
    return Reply(
        status, f"<html>\n<body>\n<h3>{message}</h3>\n</body>\n</html>\n".encode(), {"Content-Type": "text/html"}
    )


def empty_200(handler: Handler, seen: Seen) -> Reply:
    """200, and nothing was stored."""
    return Reply(200, b"", {"Content-Type": "text/plain"})


def lost_reply(handler: Handler, seen: Seen) -> None:
    """Everything is done, and the connection drops before the answer."""
    handler.forward(seen)
    handler.reset()


def late_504(handler: Handler, seen: Seen) -> Reply:
    """The gateway does not wait for the answer; the server has done everything."""
    handler.forward(seen)
    return page(504, "Gateway Time-out")


def landed_500(handler: Handler, seen: Seen) -> Reply:
    """The bytes are stored, and the answer is a failure."""
    handler.forward(seen)
    return page(500, "Another thread or process modified the catalog since I last read it.")


def reset_in_body(handler: Handler, seen: Seen) -> None:
    handler.read_body(seen, most=1000)
    handler.reset()


def closed(handler: Handler, seen: Seen) -> None:
    handler.read_body(seen)
    raise HangupError


def cut_in_body(handler: Handler, seen: Seen) -> None:
    """The archive gets half of the body, then the end of the connection: both ends of the way break."""
    half = int(seen.headers.get("content-length", 0)) // 2
    handler.read_body(seen, most=half)
    head = "".join(f"{name}: {value}\r\n" for name, value in seen.headers.items())
    proxy = handler.server.proxy
    with socket.create_connection((proxy.target.hostname, proxy.target.port), timeout=30) as upstream:
        upstream.sendall(f"{seen.method} {seen.target} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + seen.body)
        upstream.shutdown(socket.SHUT_WR)
        while upstream.recv(65536):  # the archive closes when it has put away what came
            pass
    handler.reset()


def cut_answer(handler: Handler, seen: Seen) -> None:
    """Half of the answer, then the end of the connection."""
    reply = handler.forward(seen)
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(reply.body)))
    handler.end_headers()
    handler.wfile.write(reply.body[: len(reply.body) // 2])
    handler.wfile.flush()
    raise HangupError


def dripping(handler: Handler, seen: Seen) -> None:
    """The answer comes in drops."""
    reply = handler.forward(seen)
    handler.send_response(reply.status)
    for name, value in reply.headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(reply.body)))
    handler.end_headers()
    step = max(1, len(reply.body) // 20)
    for start in range(0, len(reply.body), step):
        handler.wfile.write(reply.body[start : start + step])
        handler.wfile.flush()
        time.sleep(0.01)
    seen.status = reply.status
    raise HangupError


def slow_reader(handler: Handler, seen: Seen) -> None:
    """The body is taken in drops; then everything is as usual."""
    size = int(seen.headers.get("content-length", 0))
    while len(seen.body) < size:
        handler.read_body(seen, most=max(1, size // 10))
        time.sleep(0.01)


def spoilt(handler: Handler, seen: Seen) -> Reply:
    """One byte is another when it is stored."""
    handler.read_body(seen)
    return handler.forward(seen, body=seen.body[:-1] + bytes([seen.body[-1] ^ 1]))
