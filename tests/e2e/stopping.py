"""Commands that stop at a call of the operating system that a test names, and go on when told."""

from __future__ import annotations

import subprocess
import sys

#: Stops at the call number COUNT of the kind EVENT that names PLACE.
_STOPPED = """
import sys

event, place, count = sys.argv.pop(1), sys.argv.pop(1), int(sys.argv.pop(1))
seen = []


def stop(name, arguments):
    if name == event and any(place in str(one) for one in arguments):
        seen.append(name)
        if len(seen) != count:
            return
        print("stopped", file=sys.stderr, flush=True)
        sys.stdin.readline()


sys.addaudithook(stop)
from xnatferry.cli import main

sys.exit(main())
"""


class Command:
    """A command that stops at a point, or runs freely."""

    def __init__(self, ferry, *arguments, at=("", "", 0), env=None):
        self.process = subprocess.Popen(
            [sys.executable, "-c", _STOPPED, *map(str, (*at, *arguments))],
            env=ferry.environment | (env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.said = ""

    def until(self, words):
        """Read what it says until it says *words*."""
        for line in self.process.stderr:
            self.said += line
            if words in line:
                return
        raise AssertionError(f"never said {words!r}: {self.said}")

    def go_on(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def ended(self, code=0):
        """Wait for its end; returns what it wrote to stdout."""
        out, err = self.process.communicate()
        self.said += err
        assert self.process.returncode == code, self.said + out
        return out
