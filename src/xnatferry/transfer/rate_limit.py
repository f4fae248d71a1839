"""A limit on bytes per second, shared by all uploads of a run."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

#: Pieces are split so that each takes at most this, in seconds: proxies drop idle uploads.
_LONGEST_PIECE_S = 0.25


class RateLimit:
    """A token bucket; safe for any number of threads.

    Args:
        bytes_per_s: Limit of all uploads together, in bytes per second.
        clock: Seconds from any start.
        wait: Waits some seconds.
    """

    def __init__(
        self,
        bytes_per_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rate = bytes_per_s
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._free_at = 0.0

    @property
    def bytes_per_s(self) -> float:
        """The limit."""
        return self._rate

    def limited(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield *pieces* at the limited rate, split when the limit is low."""
        most = max(1, int(self._rate * _LONGEST_PIECE_S))
        for piece in pieces:
            for start in range(0, len(piece), most):
                part = piece[start : start + most]
                self.take(len(part))
                yield part

    def take(self, size_bytes: int) -> None:
        """Wait until *size_bytes* may be sent."""
        with self._lock:
            now = self._clock()
            begins = max(now, self._free_at)
            self._free_at = begins + size_bytes / self._rate
        if begins > now:
            self._wait(begins - now)
