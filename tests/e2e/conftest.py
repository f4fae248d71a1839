"""The command line as a user types it: the installed console script, folders of its own, a real archive on a socket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Ended:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict]:
        """Its JSON lines; every line of stdout must be one."""
        return [json.loads(line) for line in self.out.splitlines()]

    def record(self, kind: str) -> dict:
        (found,) = [record for record in self.records if record["record"] == kind]
        return found

    @property
    def text(self) -> str:
        return self.out + self.err


@dataclass(frozen=True)
class Ferry:
    """Runs xnatferry with a home of its own."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("XNAT", "XDG_"))}
        return kept | {
            "HOME": str(self.home),
            "XNATFERRY_ROOT": str(self.home / "archive"),
            "XNATFERRY_STATE": str(self.home / "state"),
            "NO_COLOR": "1",
        }

    def command(self, *arguments: object) -> list[str]:
        script = shutil.which("xnatferry", path=str(Path(sys.executable).parent)) or "xnatferry"
        return [script, *map(str, arguments)]

    def __call__(self, *arguments: object, stdin: str | None = None, env: dict[str, str] | None = None) -> Ended:
        done = subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            input=stdin if stdin is not None else "",
            env=self.environment | (env or {}),
            timeout=110,
            check=False,
        )
        assert "Traceback" not in done.stderr + done.stdout, done.stderr + done.stdout
        return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def ferry(tmp_path: Path) -> Ferry:
    home = tmp_path / "home"
    home.mkdir()
    return Ferry(home)
