"""Runs work whose results are more work, on a bounded number of threads."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CompletionLatch", "TaskPool", "Work"]

#: A piece of work; a list that it returns is more of it.
Work = Callable[[], object]

#: Seconds that running work gets to notice that the user wants to stop.
GRACE_S = 5.0
_LOOK_S = 0.1


class CompletionLatch:
    """Gives out one follow-up when the last of several pieces of work is done."""

    def __init__(self, count: int, then: Work) -> None:
        self._count = count
        self._then = then
        self._lock = threading.Lock()

    def one_less(self) -> list[Work]:
        """One piece is done."""
        with self._lock:
            self._count -= 1
            return [self._then] if self._count == 0 else []


class TaskPool:
    """A pool of threads that finishes what it has begun before it begins something else.

    The threads are daemons: a request that hangs must not keep a stopped program alive.

    Args:
        workers: How many threads.
        stop: Set when the user wants to stop; set here on Ctrl-C and when a piece of work fails.
    """

    def __init__(self, workers: int, stop: threading.Event) -> None:
        self._workers = workers
        self._stop = stop
        self._changed = threading.Condition()
        self._waiting: deque[Work] = deque()
        self._running = 0
        self._error: BaseException | None = None

    def run(self, work: Sequence[Work]) -> None:
        """Do *work* and what follows from it; returns when none is left, or soon after the stop.

        Raises:
            BaseException: What a piece of work raised; nothing new has begun since.
        """
        self._waiting.extend(work)
        threads = [
            threading.Thread(target=self._serve, name=f"ferry-{number}", daemon=True) for number in range(self._workers)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive() and not self._stop.is_set():
                    thread.join(_LOOK_S)
        except KeyboardInterrupt:
            self._stop.set()
        with self._changed:
            self._changed.notify_all()
        deadline = time.monotonic() + GRACE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()) if self._stop.is_set() else None)
        if self._error is not None:
            raise self._error

    def _serve(self) -> None:
        while (piece := self._next()) is not None:
            more: object = None
            try:
                more = piece()
            except BaseException as error:  # noqa: BLE001  # handed to the caller of run
                self._error = self._error or error
                self._stop.set()
            with self._changed:
                self._running -= 1
                if isinstance(more, list):
                    self._waiting.extendleft(reversed(more))
                self._changed.notify_all()

    def _next(self) -> Work | None:
        """The next piece; None when there is none and none can come, or when the user wants to stop."""
        with self._changed:
            while not self._waiting and self._running and not self._stop.is_set():
                self._changed.wait(1.0)
            if not self._waiting or self._stop.is_set():
                return None
            self._running += 1
            return self._waiting.popleft()
