"""Standard streams: results on stdout, messages about the run on stderr; with ``--json`` only JSON on stdout."""

from __future__ import annotations

import json
import re
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from xnatferry.errors import StoppedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import ConsoleOptions, RenderableType

#: What a terminal obeys: C0 but for line ends and tabs, DEL, C1, and what turns the direction of the text around.
_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class SafeConsole(Console):
    """A console that shows control characters of names and messages, which a server or a file chose, as escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Turn *renderable* into segments; all that rich prints comes through here."""
        for segment in super().render(renderable, options):
            if segment.control or not _OBEYED.search(segment.text):
                yield segment
            else:
                yield Segment(_OBEYED.sub(_escaped, segment.text), segment.style)


def _escaped(found: re.Match[str]) -> str:
    return ascii(found[0])[1:-1]


def _console(*, stderr: bool) -> SafeConsole:
    # Paths and addresses are printed as they are: no highlighting, no wrapping, no markup from file names.
    return SafeConsole(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)


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
