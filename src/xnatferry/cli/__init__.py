"""The command line. Its modules stay light: a command imports what it needs when it runs."""

from __future__ import annotations

import sys

from xnatferry import __version__

__all__ = ["main"]


def main() -> int:
    """Run the command line; returns the exit code."""
    if sys.argv[1:] == ["--version"]:  # scripts ask this often, and it needs no parser of options
        sys.stdout.write(f"xnatferry, version {__version__}\n")
        return 0
    from xnatferry.cli.commands import run

    return run()
