"""Locks by name."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Locks"]


class Locks:
    """Locks by name, kept only while somebody holds or wants them."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[object, tuple[threading.Lock, int]] = {}

    @contextmanager
    def hold(self, name: object) -> Iterator[None]:
        """Wait until nobody else holds *name*, and hold it for the block."""
        with self._guard:
            lock, wanted = self._held.get(name, (threading.Lock(), 0))
            self._held[name] = (lock, wanted + 1)
        try:
            with lock:
                yield
        finally:
            with self._guard:
                lock, wanted = self._held[name]
                if wanted == 1:
                    del self._held[name]
                else:
                    self._held[name] = (lock, wanted - 1)
