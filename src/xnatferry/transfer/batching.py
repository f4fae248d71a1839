"""Groups files into uploads: one, or several if the server or a proxy limits the size of a request."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xnatferry.planning.plan import Step


class BodySizeLimit:
    """The largest body that the server accepts, learnt from accepted and refused uploads; shared by all workers.

    Args:
        most: The most that the user allows, in bytes of file content.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._taken = 0
        self._refused: int | None = None

    def taken(self, size_bytes: int) -> None:
        """A body of this size was accepted."""
        with self._lock:
            self._taken = max(self._taken, size_bytes)
            if self._refused is not None and self._refused <= self._taken:
                self._refused = None  # the size was not the reason

    def refused(self, size_bytes: int) -> None:
        """A body of this size was refused, or cut off twice."""
        with self._lock:
            if size_bytes > self._taken:
                self._refused = size_bytes if self._refused is None else min(size_bytes, self._refused)

    @property
    def limit(self) -> int | None:
        """Limit in bytes of file content; None while no limit is known."""
        with self._lock:
            learnt = None if self._refused is None else max(self._taken, self._refused // 2)
            return min((limit for limit in (learnt, self._most) if limit is not None), default=None)


def batches(steps: Iterable[Step], limit: int | None) -> list[list[Step]]:
    """Cut *steps*, in their order, into groups of at most *limit* bytes; a larger file is a group of its own."""
    found: list[list[Step]] = []
    left = 0
    for step in steps:
        if not found or (limit is not None and step.size_bytes > left):
            found.append([])
            left = limit if limit is not None else 0
        found[-1].append(step)
        left -= step.size_bytes
    return found


def halves(steps: Sequence[Step]) -> list[list[Step]]:
    """Cut a group of two or more in two of about the same number of bytes."""
    half = sum(step.size_bytes for step in steps) / 2
    passed = 0
    for index, step in enumerate(steps[:-1], start=1):
        passed += step.size_bytes
        if passed >= half or index == len(steps) - 1:
            return [list(steps[:index]), list(steps[index:])]
    return [list(steps)]
