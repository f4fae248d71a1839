"""Standard streams: results on stdout, messages about the run on stderr; with ``--json`` only JSON on stdout."""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from xnatferry.errors import StoppedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def _console(*, stderr: bool) -> Console:
    # Paths and addresses are printed as they are: no highlighting, no wrapping, no markup from file names.
    return Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


@dataclass(slots=True)
class Screen:
    """One run's output.

    Attributes:
        json: Print JSON lines on stdout and nothing else there.
        quiet: Print no trees, notes and progress.
        verbose: Print every file and every note.
        yes: Every question has been answered with yes.
    """

    json: bool = False
    quiet: bool = False
    verbose: bool = False
    yes: bool = False
    out: Console = field(default_factory=lambda: _console(stderr=False))
    err: Console = field(default_factory=lambda: _console(stderr=True))

    def lines(self, lines: Iterable[Text | str]) -> None:
        """Print results, unless only JSON is wanted."""
        if not self.json:
            for line in lines:
                self.out.print(line)

    def records(self, records: Iterable[Mapping[str, object]]) -> None:
        """Print JSON records, if wanted."""
        if self.json:
            for record in records:
                sys.stdout.write(json.dumps(record) + "\n")
            sys.stdout.flush()

    def note(self, text: Text | str, *, style: str = "dim") -> None:
        """Print a message about the run, unless *quiet*."""
        if not self.quiet:
            self.err.print(text if isinstance(text, Text) else Text(text, style=style))

    def waiting(self, what: str) -> AbstractContextManager[object]:
        """Show on a terminal that work is in progress."""
        if self.quiet or not self.err.is_terminal:
            return nullcontext()
        return self.err.status(what)

    def error(self, text: str) -> None:
        """Print an error; also when *quiet*."""
        self.err.print(Text.assemble(("error: ", "bold red"), text))

    def warn(self, text: str) -> None:
        """Print a warning; also when *quiet*."""
        self.err.print(Text.assemble(("warning: ", "bold yellow"), text))

    def confirm(self, question: str) -> None:
        """Ask before something is written; any answer but yes stops.

        Raises:
            UsageError: Standard input is no terminal, and ``--yes`` was not given.
            StoppedError: The answer is no.
        """
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{question} Cannot ask for confirmation (no terminal). Add --yes to continue.")
        self.err.print(Text(f"{question} [y/N] "), end="")
        if input().strip().lower() not in {"y", "yes"}:
            raise StoppedError("Stopped. Nothing was changed.")
