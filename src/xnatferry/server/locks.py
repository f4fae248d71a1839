"""Locks by name, and a gate that many may pass at once or one alone."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Gate", "Locks"]


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


class Gate:
    """Many may be inside together, or one alone. Who wants to be alone goes before those who come later.

    Not reentrant.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._alone = False
        self._wanting = 0

    @contextmanager
    def together(self) -> Iterator[None]:
        """Be inside while nobody is alone."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._wanting)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside while nobody else is."""
        with self._changed:
            self._wanting += 1
            self._changed.wait_for(lambda: not self._alone and not self._together)
            self._wanting -= 1
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()
