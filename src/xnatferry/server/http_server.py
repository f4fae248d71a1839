"""uvicorn, as the archive uses it: bounded request heads, TLS, a clean shutdown, and an event when it listens."""

from __future__ import annotations

import logging
import signal
import ssl
import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from xnatferry.errors import ArchiveError
from xnatferry.server.connection_limits import LimitedHttp

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator

    from xnatferry.server.settings import ServerSettings

#: Longest request line with its headers. Tomcat takes 8 KiB; long filters and names may need more.
_HEAD_BYTES: Final = 64 << 10
_TOO_LONG: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class _BoundedHttp(LimitedHttp):
    """uvicorn's HTTP protocol, which by itself would collect a request head of any length."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._head_bytes = self._heads = 0

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        heads, was_in_head = self._heads, self._in_head
        super().data_received(data)
        # A piece in which a head ends counts as nothing; it is one piece from the socket, at most.
        unended = was_in_head and self._in_head and heads == self._heads
        self._head_bytes = self._head_bytes + len(data) if unended else 0
        if self._head_bytes > _HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LONG)
            self.transport.close()

    def on_headers_complete(self) -> None:
        """The head of a request is read."""
        self._in_head = False
        self._heads += 1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is read; the head of the next one may follow."""
        self._in_head = True
        super().on_message_complete()


class Server(uvicorn.Server):
    """uvicorn's server with a callback when it listens; Ctrl-C is a normal end."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self.ready = threading.Event()
        self._on_ready = on_ready

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop; `ready` is set at the end too, so that who waits for a start that fails goes on."""
        try:
            super().run(sockets)
        finally:
            self.ready.set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self.ready.set()
        self._on_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, without raising them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {name: signal.signal(name, self.handle_exit) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)


def server_for(app: Any, settings: ServerSettings, on_ready: Callable[[], object] = lambda: None) -> Server:
    """A server that answers with *app*.

    Raises:
        ArchiveError: The certificate or its key cannot be used.
    """
    config = uvicorn.Config(
        app,
        http=partial(_BoundedHttp, limits=settings.connections),  # type: ignore[arg-type]  # makes a protocol, too
        ws="none",
        log_level="error",
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=75,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        timeout_graceful_shutdown=10,
        ssl_certfile=settings.certfile,
        ssl_keyfile=settings.keyfile,
    )
    # Both log every malformed request as a warning, so any client could fill the log.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    try:
        config.load()
    except (ssl.SSLError, OSError) as error:
        raise ArchiveError(
            f"{settings.certfile} cannot be used for HTTPS ({error}); check --certfile and --keyfile"
        ) from error
    return Server(config, on_ready)
