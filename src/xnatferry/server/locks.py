"""A lock for many shared holders or one exclusive holder, and such locks by name."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class SharedLock:
    """A lock with many shared holders or one exclusive holder.

    A waiting exclusive holder goes before later shared ones.

    Not reentrant.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._alone = False
        self._wanting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock together with other shared holders."""
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
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone."""
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


class Locks:
    """Locks by name, kept only while they are held or waited for."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._held: dict[object, tuple[SharedLock, int]] = {}

    @contextmanager
    def hold(self, name: object) -> Iterator[None]:
        """Hold *name* exclusively for the block."""
        with self._gate(name) as gate, gate.exclusive():
            yield

    @contextmanager
    def attempt(self, name: object) -> Iterator[bool]:
        """Hold *name* for the block if nobody has or wants it; gives whether it is held. Nobody waits."""
        with self._guard:
            is_free = name not in self._held
            if is_free:
                self._held[name] = (SharedLock(), 1)
        try:
            yield is_free
        finally:
            if is_free:
                with self._guard:
                    del self._held[name]

    @contextmanager
    def share(self, name: object) -> Iterator[None]:
        """Hold *name* shared for the block."""
        with self._gate(name) as gate, gate.shared():
            yield

    @contextmanager
    def _gate(self, name: object) -> Iterator[SharedLock]:
        with self._guard:
            gate, wanted = self._held.get(name) or (SharedLock(), 0)
            self._held[name] = (gate, wanted + 1)
        try:
            yield gate
        finally:
            with self._guard:
                gate, wanted = self._held[name]
                if wanted == 1:
                    del self._held[name]
                else:
                    self._held[name] = (gate, wanted - 1)
