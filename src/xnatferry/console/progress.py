"""A running push: a live block on a terminal, plain lines at intervals elsewhere, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Self

from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from xnatferry.console.screen import SafeConsole
from xnatferry.planning.plan import Decision
from xnatferry.transfer.events import Began, BytesSent, Event, Outcome, Receipt, Verdict
from xnatferry.transfer.journal import event_to_dict
from xnatferry.wording import EXAMPLES, counted, human_bytes, human_seconds, shortened

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console

    from xnatferry.planning.plan import Plan
    from xnatferry.xnat.model import Address

#: Seconds between two plain lines.
INTERVAL_S = 10.0
#: Files from this size on have a line of their own in the live block.
BIG_FILE_BYTES = 8_000_000
#: Lines for files in the live block.
MOST_LINES = 6


class Tally:
    """What has been done so far, and an estimate of the remaining time.

    Attributes:
        objects: Projects, subjects, sessions, scans and resources that have been made.
        files: Files that have been sent.
        verified: Files that have been verified.
        failed: Steps that have failed.
        sent_bytes: Bytes that have been sent.
    """

    def __init__(self, plan: Plan) -> None:
        self.all_files = sum(step.sends for step in plan.files)
        self.all_objects = sum(s.decision is Decision.CREATE for s in plan.steps if s.payload is None)
        self.all_to_verify = len(plan.files)
        self.all_bytes = plan.sends_bytes
        self.objects = self.files = self.verified = self.failed = self.sent_bytes = 0
        self._started = time.monotonic()

    def take(self, event: Event) -> None:
        """Count one event."""
        if isinstance(event, BytesSent):
            self.sent_bytes += event.size_bytes
        elif isinstance(event, Verdict):
            self.verified += event.proof.good
        elif isinstance(event, Receipt):
            if event.outcome in {Outcome.FAILED, Outcome.STOPPED}:
                self.failed += 1
            elif event.address.file is None:
                self.objects += 1
            else:
                self.files += 1

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._started

    @property
    def rate(self) -> float:
        """Bytes a second, on average."""
        return self.sent_bytes / self.seconds if self.seconds > 0 else 0.0

    def line(self) -> str:
        """The state of the push in one line."""
        parts = [f"Sent {self.files:,} of {counted(self.all_files, 'file')}"]
        parts.append(f"{human_bytes(self.sent_bytes)} of {human_bytes(self.all_bytes)} at {human_bytes(self.rate)}/s")
        if self.rate > 0 and self.sent_bytes < self.all_bytes:
            parts.append(f"{human_seconds((self.all_bytes - self.sent_bytes) / self.rate)} left")
        parts.append(f"{self.verified:,} verified")
        if self.failed:
            parts.append(f"{self.failed:,} failed")
        return ", ".join(parts)


def progress(plan: Plan, *, quiet: bool = False) -> PushProgress:
    """A listener for `xnatferry.push` that draws bars in a notebook or terminal, and prints lines elsewhere.

    with xnatferry.progress(plan) as show:
        xnatferry.push(plan, remote, listener=show)
    """
    return PushProgress(SafeConsole(stderr=True, highlight=False, markup=False, emoji=False), plan, quiet=quiet)


class PushProgress:
    """Shows a push while it runs; use it as a context manager and call it with events, from any thread.

    Args:
        console: Where it prints.
        plan: The plan of the push.
        quiet: Show nothing.
    """

    def __init__(self, console: Console, plan: Plan, *, quiet: bool = False) -> None:
        self._console = console
        self._quiet = quiet
        self._tally = Tally(plan)
        self._sizes = {step.address: step.size_bytes for step in plan.files if step.size_bytes >= BIG_FILE_BYTES}
        self._lock = threading.Lock()
        self._next_line_s = INTERVAL_S
        self._stages: set[str] = set()
        self._failures: Counter[str] = Counter()
        self._files: dict[Address, TaskID] = {}
        self._block = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=console,
            disable=quiet or not (console.is_terminal or console.is_jupyter),
            transient=True,
        )
        self._total = self._block.add_task("sending", total=self._tally.all_bytes or None, note="")

    def __enter__(self) -> Self:
        self._block.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._block.__exit__(kind, error, trace)
        for message, number in self._failures.items():
            if (more := number - EXAMPLES) > 0:
                why = shortened(message, 40)
                self._console.print(Text.assemble(("failed", "red"), f" {counted(more, 'more step')}: {why}"))
        if kind is None and not self._quiet:
            self._print_stage("verified", self._tally.verified, self._tally.all_to_verify, "file")

    def __call__(self, event: Event) -> None:
        """Show one event."""
        with self._lock:
            tally = self._tally
            tally.take(event)
            if isinstance(event, Receipt) and event.outcome is Outcome.FAILED:
                self._print_failure(event)
            if self._quiet:
                return
            self._print_stages()
            if not self._block.disable:
                self._draw(event)
            elif tally.seconds >= self._next_line_s:
                self._next_line_s = tally.seconds + INTERVAL_S
                self._console.print(Text(tally.line()))

    def _print_failure(self, receipt: Receipt) -> None:
        """A line for a failed step, also when quiet: it is the cause; three lines for one reason."""
        self._failures[receipt.message] += 1
        if self._failures[receipt.message] <= EXAMPLES:
            why = shortened(receipt.message, len(str(receipt.address)) + 9)
            self._console.print(Text.assemble(("failed", "red"), f" {receipt.address}: {why}"), soft_wrap=True)

    def _print_stages(self) -> None:
        tally = self._tally
        if tally.all_objects and tally.objects >= tally.all_objects:
            self._print_stage("created", tally.objects, tally.all_objects, "object")
        if tally.all_files and tally.files >= tally.all_files:
            size = f", {human_bytes(tally.sent_bytes)} at {human_bytes(tally.rate)}/s"
            self._print_stage("sent", tally.files, tally.all_files, "file", size)

    def _print_stage(self, name: str, done: int, of: int, noun: str, more: str = "") -> None:
        """A line for a stage that has ended: what was done, and when."""
        if name in self._stages:
            return
        self._stages.add(name)
        count = counted(done, noun) if done == of else f"{done:,} of {counted(of, noun)}"
        self._console.print(
            Text(f"{name.capitalize()} {count}{more} ({human_seconds(self._tally.seconds)})", style="dim")
        )

    def _draw(self, event: Event) -> None:
        tally = self._tally
        if isinstance(event, BytesSent):
            self._block.update(self._total, completed=tally.sent_bytes)
            if event.address in self._files:
                self._block.advance(self._files[event.address], event.size_bytes)
        elif isinstance(event, Began):
            for address in event.addresses:
                if address in self._sizes and address not in self._files and len(self._files) < MOST_LINES:
                    name = (address.file or "").rpartition("/")[2]
                    self._files[address] = self._block.add_task(f"  {name}", total=self._sizes[address], note="")
        elif isinstance(event, Receipt) and (task := self._files.pop(event.address, None)) is not None:
            self._block.remove_task(task)
        note = f"{tally.files:,}/{tally.all_files:,} files, {tally.verified:,} verified"
        if tally.failed:
            note += f", {tally.failed:,} failed"
        self._block.update(self._total, note=note)


class JsonProgress:
    """Everything but bytes in flight as JSON lines on stdout."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        sys.stdout.flush()

    def __call__(self, event: Event) -> None:
        """Print one event."""
        if not isinstance(event, BytesSent):
            sys.stdout.write(json.dumps(event_to_dict(event), ensure_ascii=False) + "\n")
