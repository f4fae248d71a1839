"""A thread pool whose tasks can return more tasks."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A task; a list that it returns contains further tasks.
Work = Callable[[], object]

#: Seconds that running tasks have to stop after the user has stopped the run.
GRACE_S = 5.0
_POLL_S = 0.1


class CompletionLatch:
    """Returns a follow-up task when the last of several tasks is done."""

    def __init__(self, count: int, then: Work) -> None:
        self._count = count
        self._then = then
        self._lock = threading.Lock()

    def count_down(self) -> list[Work]:
        """One task is done."""
        with self._lock:
            self._count -= 1
            return [self._then] if self._count == 0 else []


class TaskPool:
    """A pool of threads that runs follow-up tasks before other tasks.

    The threads are daemons: a request that hangs must not block the end of the program.

    Args:
        workers: How many threads.
        stop: Set when the user stops the run; set here on Ctrl-C and when a task fails.
    """

    def __init__(self, workers: int, stop: threading.Event) -> None:
        self._workers = workers
        self._stop = stop
        self._changed = threading.Condition()
        self._waiting: deque[Work] = deque()
        self._running = 0
        self._error: BaseException | None = None

    def run(self, work: Sequence[Work]) -> None:
        """Run *work* and the tasks that it returns; returns when all are done, or soon after the stop.

        Raises:
            BaseException: What a task raised; no other task was started after that.
        """
        self._waiting.extend(work)
        threads = [
            threading.Thread(target=self._work, name=f"worker-{number}", daemon=True) for number in range(self._workers)
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive() and not self._stop.is_set():
                    thread.join(_POLL_S)
        except KeyboardInterrupt:
            self._stop.set()
        with self._changed:
            self._changed.notify_all()
        deadline = time.monotonic() + GRACE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()) if self._stop.is_set() else None)
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
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
        """The next task; None when all are done, or when the user stops the run."""
        with self._changed:
            while not self._waiting and self._running and not self._stop.is_set():
                self._changed.wait(1.0)
            if not self._waiting or self._stop.is_set():
                return None
            self._running += 1
            return self._waiting.popleft()
