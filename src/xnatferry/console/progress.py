"""A running push: a bar with bytes, rate and time left on a terminal; JSON lines for programs; silence otherwise."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from xnatferry.transfer.events import BytesSent, Event, Outcome, Receipt, Verdict
from xnatferry.transfer.journal import event_to_dict

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from xnatferry.planning.plan import Plan

__all__ = ["JsonProgress", "PushProgress"]


class PushProgress:
    """A bar on *console*, when that is a terminal. Use it as a context manager and call it with events."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._task = self._bar.add_task("sending", total=plan.sends_bytes or None)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if isinstance(event, BytesSent):
            self._bar.advance(self._task, event.size_bytes)
        elif isinstance(event, Receipt) and event.outcome is Outcome.FAILED:
            self._bar.print(f"[red]failed[/] {event.address}: {event.message}", soft_wrap=True)
        elif isinstance(event, Verdict):
            self._bar.update(self._task, description="verifying")


class JsonProgress:
    """Receipts and verdicts as JSON lines on stdout; bytes in flight are not worth a line."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def __call__(self, event: Event) -> None:
        """Print one event."""
        if not isinstance(event, BytesSent):
            sys.stdout.write(json.dumps(event_to_dict(event)) + "\n")
