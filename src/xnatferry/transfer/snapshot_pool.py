"""Makes snapshots and thumbnails in worker processes of low priority.

Processes, because drawing holds the interpreter lock; not those of `multiprocessing`, which import the main script of
the user again (`xnatferry.pictures.worker` is started instead).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Self

from xnatferry.errors import DataError, TransferError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from xnatferry.sources.model import LocalFile

#: Images that are drawn in advance; about 60 kB each.
AHEAD = 256
_MOST_PROCESSES = 8


class SnapshotPool:
    """Snapshots of images, drawn in advance in the order of the plan.

    Args:
        wanted: The files to be made, in the order of the plan.
        workers: Processes; one for every processor when None, but no more than 8.
        small: Make only thumbnails, which do not read complete series; see `thumbnail`.
    """

    def __init__(self, wanted: Iterable[LocalFile], *, workers: int | None = None, small: bool = False) -> None:
        self._small = small
        self._coming = deque(dict.fromkeys(file.path for file in wanted))
        self._begun: dict[Path, Future[dict[str, bytes]]] = {}
        self._lock = threading.Lock()
        self._processes = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []
        count = workers or min(_MOST_PROCESSES, max(2, os.cpu_count() or 2))
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="snapshots")
        with self._lock:
            self._fill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End the processes without waiting for unfinished images."""
        with self._lock:
            self._coming.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._all:
            process.kill()
        self._pool.shutdown(wait=True)
        for process in self._all:
            process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()

    def picture(self, file: LocalFile) -> bytes:
        """The bytes of a snapshot; waits for them.

        Raises:
            DataError: The image cannot be shown.
            TransferError: The worker process has died.
        """
        assert file.made is not None  # noqa: S101  # callers ask for snapshots only
        return self._found(file.path)[file.made.content]

    def thumbnail(self, path: Path) -> bytes:
        """A thumbnail of an image as WebP, for a page; waits for it. Only if the pool is *small*.

        Raises:
            DataError: The image cannot be shown.
            TransferError: The worker process has died.
        """
        return self._found(path)["SKETCH"]

    def _found(self, path: Path) -> dict[str, bytes]:
        with self._lock:
            if path not in self._begun:
                self._begin(path)
            future = self._begun[path]
        found = future.result()
        with self._lock:
            self._fill()
        return found

    def _fill(self) -> None:
        """Start the next images, at most `AHEAD` in advance; drop the oldest ones that were fetched."""
        while self._coming and sum(not future.done() for future in self._begun.values()) < AHEAD:
            path = self._coming.popleft()
            if path not in self._begun:
                self._begin(path)
        for path in list(self._begun)[: -2 * AHEAD]:
            if self._begun[path].done():
                del self._begun[path]

    def _begin(self, path: Path) -> None:
        self._begun[path] = self._pool.submit(self._draw, path)

    def _draw(self, path: Path) -> dict[str, bytes]:
        process = self._process()
        assert process.stdin is not None  # noqa: S101  # both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            query = {"sketch": os.fspath(path)} if self._small else os.fspath(path)
            process.stdin.write(json.dumps(query).encode() + b"\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline() or b"{}")
            pictures = {word: _exactly(process.stdout, size) for word, size in answer.get("pictures", {}).items()}
        except (OSError, EOFError, ValueError) as error:
            raise TransferError(
                f"{path}: the worker process that draws its snapshot has ended; run the command again"
            ) from error
        if "error" in answer:
            raise DataError(f"{path}: {answer['error']}")
        if not pictures:
            raise TransferError(f"{path}: the worker process that draws its snapshot has ended; run the command again")
        return pictures

    def _process(self) -> subprocess.Popen[bytes]:
        """The worker process of this thread; started again if it has died."""
        process: subprocess.Popen[bytes] | None = getattr(self._processes, "own", None)
        if process is None or process.poll() is not None:
            process = subprocess.Popen(  # our own module
                [sys.executable, "-P", "-m", "xnatferry.pictures.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=os.name == "posix",  # the push handles Ctrl-C and ends them
            )
            self._processes.own = process
            self._all.append(process)
        return process


def _exactly(stream: IO[bytes], size_bytes: int) -> bytes:
    found = stream.read(size_bytes)
    if len(found) != size_bytes:
        raise EOFError
    return found
