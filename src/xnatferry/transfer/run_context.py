"""Shared state of all workers of a run: limits, stop event, outage of the server."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.errors import StoppedError, UnavailableError
from xnatferry.transfer.batching import BodySizeLimit

if TYPE_CHECKING:
    from xnatferry.transfer.earlier_runs import EarlierRuns
    from xnatferry.transfer.rate_limit import RateLimit
    from xnatferry.transfer.snapshot_pool import SnapshotPool

#: Number of consecutive failed steps, each tried several times, after which nothing more is tried.
GIVE_UP_AFTER = 3


class Outage:
    """Detects that a server is unavailable, so that not every file waits for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._last = ""

    def failed(self, error: UnavailableError) -> None:
        """A step failed after its last try."""
        with self._lock:
            self._failures += 1
            self._last = str(error)

    def succeeded(self) -> None:
        """A request was answered."""
        with self._lock:
            self._failures = 0

    def check(self) -> None:
        """Check before the next step.

        Raises:
            UnavailableError: The server has been unavailable too often in a row.
        """
        with self._lock:
            if self._failures >= GIVE_UP_AFTER:
                raise UnavailableError(
                    f"not tried: server unavailable ({self._last}); run the same command again to continue"
                )


@dataclass(frozen=True, slots=True)
class RunContext:
    """Shared state of all workers of a run.

    Attributes:
        stop: Set when the user stops the run.
        rate_limit: The limit on bytes per second, if any.
        body_size_limit: The largest body that the server accepts.
        outage: Whether the server is unavailable.
        snapshot_pool: Makes snapshots, if the plan has some.
        earlier: Earlier runs to the same project, if known.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    rate_limit: RateLimit | None = None
    body_size_limit: BodySizeLimit = field(default_factory=BodySizeLimit)
    outage: Outage = field(default_factory=Outage)
    snapshot_pool: SnapshotPool | None = None
    earlier: EarlierRuns | None = None

    def check(self) -> None:
        """Check that the next step may start.

        Raises:
            StoppedError: The user has stopped the run.
            UnavailableError: The server has been unavailable too often in a row.
        """
        self.check_stop()
        self.outage.check()

    def check_stop(self) -> None:
        """Check that the user has not stopped the run.

        Raises:
            StoppedError: The user has stopped it.
        """
        if self.stop.is_set():
            raise StoppedError("Stopped by the user")

    def pause(self, seconds: float) -> None:
        """Wait; return early when the user stops the run.

        Raises:
            StoppedError: The user has stopped the run.
        """
        if self.stop.wait(seconds):
            raise StoppedError("Stopped by the user")
