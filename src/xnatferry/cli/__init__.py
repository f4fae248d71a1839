"""The command line. A command imports what it needs when it runs, so that ``--help`` is fast."""

from __future__ import annotations

import sys

from xnatferry import __version__


def main() -> int:
    """Run the command line; returns the exit code."""
    if sys.argv[1:] == ["--version"]:  # scripts ask this often; it needs no option parser
        sys.stdout.write(f"xnatferry, version {__version__}\n")
        return 0
    from xnatferry.cli.commands import run

    return run()
