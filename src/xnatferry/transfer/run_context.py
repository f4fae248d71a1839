"""What all workers of one run share: how much the way takes, how fast, and whether the server is there at all."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.errors import StoppedError, UnavailableError
from xnatferry.transfer.batching import BodySizeLimit

if TYPE_CHECKING:
    from xnatferry.transfer.rate_limit import RateLimit
    from xnatferry.transfer.snapshot_pool import SnapshotPool

__all__ = ["Outage", "RunContext"]

#: Acts in a row that a server may be unavailable for, each tried several times, until nothing more is tried.
GIVE_UP_AFTER = 3


class Outage:
    """Notices when a server has gone away, so that ten thousand files do not wait for it one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._last = ""

    def failed(self, error: UnavailableError) -> None:
        """An act was given up after its last try."""
        with self._lock:
            self._failures += 1
            self._last = str(error)

    def worked(self) -> None:
        """The server has answered."""
        with self._lock:
            self._failures = 0

    def check(self) -> None:
        """Look before the next act.

        Raises:
            UnavailableError: The server has been unavailable too often in a row.
        """
        with self._lock:
            if self._failures >= GIVE_UP_AFTER:
                raise UnavailableError(f"not tried any more: {self._last}; the same push goes on from here")


@dataclass(frozen=True, slots=True)
class RunContext:
    """What all workers of one run share.

    Attributes:
        stop: Set when the user wants to stop.
        rate_limit: The limit on bytes a second, if there is one.
        body_size_limit: The largest body that arrives.
        outage: Whether the server is there.
        snapshot_pool: Where pictures are made, when the plan has some.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    rate_limit: RateLimit | None = None
    body_size_limit: BodySizeLimit = field(default_factory=BodySizeLimit)
    outage: Outage = field(default_factory=Outage)
    snapshot_pool: SnapshotPool | None = None

    def check(self) -> None:
        """Look whether the next act may begin.

        Raises:
            StoppedError: The user wants to stop.
            UnavailableError: The server has been unavailable too often in a row.
        """
        self.check_stop()
        self.outage.check()

    def check_stop(self) -> None:
        """Look whether the user wants to stop.

        Raises:
            StoppedError: Yes.
        """
        if self.stop.is_set():
            raise StoppedError("stopped by the user")

    def pause(self, seconds: float) -> None:
        """Wait, and wake up at once when the user wants to stop.

        Raises:
            StoppedError: The user wants to stop.
        """
        if self.stop.wait(seconds):
            raise StoppedError("stopped by the user")
