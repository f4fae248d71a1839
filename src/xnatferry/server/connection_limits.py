"""Limits of connections: how many one address may have, and how long one may be silent.

Without them, whoever opens a thousand connections and sends nothing takes all file descriptors of the archive.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

#: How often a connection is looked at.
_CHECKS: Final = 4
_TOO_MANY: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 2\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """Limits of connections.

    Attributes:
        head_s: A request's head is whole so many seconds after its first byte, or after the connection was made.
        stalled_s: So many seconds a body may come, or an answer be read, without a byte.
        per_address: Connections that one address may have.
    """

    head_s: float = 30
    stalled_s: float = 60
    per_address: int = 256


class LimitedHttp(HttpToolsProtocol):
    """uvicorn's HTTP protocol with `ConnectionLimits`; by itself it only limits idle time after an answer."""

    def __init__(self, *args: Any, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(*args, **options)
        self._limits = limits
        self._head_since: float | None = None
        self._progress = self._unsent = 0.0

    def connection_made(self, transport: Any) -> None:
        """A client has connected."""
        super().connection_made(transport)
        self._head_since = self._progress = self.loop.time()
        self._look_later()
        mine = sum(1 for one in self.connections if _address(one) == _address(self))
        if mine > self._limits.per_address or len(self.connections) > _most_connections():
            transport.write(_TOO_MANY)
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        if self.transport.is_closing():
            return
        self._progress = self.loop.time()
        if not self._answering and self._head_since is None:
            self._head_since = self._progress
        super().data_received(data)
        if self._answering:
            self._head_since = None

    @property
    def _answering(self) -> bool:
        """Whether the head of a request is read, and its answer not yet sent."""
        return self.cycle is not None and not self.cycle.response_complete

    def _look_later(self) -> None:
        shortest = min(self._limits.head_s, self._limits.stalled_s)
        self.loop.call_later(shortest / _CHECKS, self._look)

    def _look(self) -> None:
        """Close the connection if the client is too slow. Time that the archive itself needs does not count."""
        if self.parser is None:  # the connection has ended
            return
        now, unsent = self.loop.time(), self.transport.get_write_buffer_size()
        cycle = self.cycle
        if unsent:
            if unsent != self._unsent:
                self._progress = now
            too_slow = now - self._progress > self._limits.stalled_s
        elif not self._answering:
            too_slow = self._head_since is not None and now - self._head_since > self._limits.head_s
        elif cycle.more_body and not cycle.waiting_for_100_continue and not self.flow.read_paused:
            too_slow = now - self._progress > self._limits.stalled_s
        else:
            self._progress, too_slow = now, False
        self._unsent = unsent
        if too_slow:
            self.transport.abort()
        else:
            self._look_later()


def _address(connection: Any) -> str:
    client = getattr(connection, "client", None)
    return client[0] if client else ""


def _most_connections() -> int:
    """Three quarters of the file descriptors that this process may have; the rest is for files."""
    if sys.platform == "win32":
        return 4096
    import resource  # noqa: PLC0415  not on Windows

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 65_536 if soft == resource.RLIM_INFINITY else soft * 3 // 4
