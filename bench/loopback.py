"""A proxy on loopback that counts requests and adds latency, the same for every client that is measured."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import contextmanager
from urllib.parse import urlsplit

PIECE = 1 << 16


class Loopback:
    """Counts and delays HTTP/1.1 requests on their way to one server."""

    def __init__(self, url: str, latency_s: float = 0.0) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname, parts.port)
        self._latency_s = latency_s
        self.requests: Counter[str] = Counter()
        self.url = ""

    @property
    def total(self) -> int:
        return sum(self.requests.values())

    async def serve(self, started: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, limit=1 << 20)
        self.url = "http://{}:{}".format(*server.sockets[0].getsockname())
        started.set()
        async with server:
            await stop.wait()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(self._latency_s)  # the handshake of a new connection
        there, back = await asyncio.open_connection(*self._target, limit=1 << 20)
        answers = asyncio.create_task(self._pipe(there, writer))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests[head.partition(b" ")[0].decode()] += 1
                await asyncio.sleep(self._latency_s)  # there and back, taken at once
                back.write(head)
                await self._body(head, reader, back)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            answers.cancel()
            back.close()
            writer.close()

    async def _body(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fields = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head.split(b"\r\n")[1:])
        }
        left = int(fields.get(b"content-length", 0))
        while left:
            piece = await reader.read(min(left, PIECE))
            if not piece:
                raise ConnectionResetError
            left -= len(piece)
            writer.write(piece)
            await writer.drain()
        if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            while True:
                line = await reader.readuntil(b"\r\n")
                size = int(line.split(b";")[0], 16)
                writer.write(line + await reader.readexactly(size + 2))
                await writer.drain()
                if size == 0:
                    return

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(PIECE):
                writer.write(piece)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()


@contextmanager
def loopback(url: str, latency_s: float = 0.0):
    """Run a proxy in front of *url*; yields it."""
    proxy, started, loop = Loopback(url, latency_s), threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    def run() -> None:
        loop.run_until_complete(proxy.serve(started, stop))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    started.wait()
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=5)
