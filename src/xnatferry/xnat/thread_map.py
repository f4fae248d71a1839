"""The same act for many things on a few threads."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from concurrent.futures import Future

__all__ = ["thread_map"]

T = TypeVar("T")
R = TypeVar("R")

#: Results for each thread that may wait for a slower one before them.
_AHEAD: Final = 16


def thread_map(act: Callable[[T], R], items: Iterable[T], *, workers: int | None) -> Iterator[R]:
    """What *act* makes of each of *items*, in their order.

    Unlike `concurrent.futures.Executor.map`, which takes half a kilobyte for each of a hundred thousand files before it
    begins, this keeps a few of them under way at a time.

    Args:
        act: Called on several threads at once.
        items: Asked for as the work goes on.
        workers: How many threads; as many as there are processors when None.

    Raises:
        Exception: The first that *act* raised, in the order of *items*; nothing new has begun since.
    """
    workers = workers or os.cpu_count() or 1
    under_way: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                under_way.append(pool.submit(act, item))
                if len(under_way) > _AHEAD * workers:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()
