"""A map on a few threads with bounded memory."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

#: Finished results per thread that may wait for an earlier one.
_AHEAD: Final = 16


def thread_map(act: Callable[[T], R], items: Iterable[T], *, workers: int | None) -> Iterator[R]:
    """The results of *act* for each of *items*, in their order.

    Unlike `concurrent.futures.Executor.map`, which creates a future for every item first, this keeps only a few at a
    time.

    Args:
        act: Called on several threads at once.
        items: Read during the work.
        workers: How many threads; as many as there are processors when None.

    Raises:
        Exception: The first that *act* raised, in the order of *items*; no other call was started after that.
    """
    workers = workers or os.cpu_count() or 1
    running: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                running.append(pool.submit(act, item))
                if len(running) > _AHEAD * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()
