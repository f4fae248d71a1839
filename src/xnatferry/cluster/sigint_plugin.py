"""Workers that do not listen to Ctrl-C."""

from __future__ import annotations

import signal
from typing import Any

from distributed import WorkerPlugin

__all__ = ["IgnoreSigint"]


class IgnoreSigint(WorkerPlugin):  # type: ignore[misc]  # distributed ships no types
    """Ctrl-C in a terminal reaches every process started there; it is for the push, which tells its workers itself."""

    def setup(self, worker: Any) -> None:  # noqa: ARG002  # Dask's signature
        """Called in the main thread of each worker, also of one that replaces another."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
