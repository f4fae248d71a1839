"""Workers that ignore Ctrl-C."""

from __future__ import annotations

import signal
from typing import Any

from distributed import WorkerPlugin


class IgnoreSigint(WorkerPlugin):  # type: ignore[misc]  # distributed ships no types
    """A terminal sends Ctrl-C to all processes started in it; the push handles it and stops its workers itself."""

    def setup(self, worker: Any) -> None:  # noqa: ARG002  # Dask's signature
        """Called in the main thread of each worker, also of one that replaces another."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
