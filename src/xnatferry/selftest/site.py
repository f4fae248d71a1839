"""The server and scratch project of a self-test, for its probes."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from xnatferry import pipeline
from xnatferry.client.http import Request
from xnatferry.errors import RemoteError, XnatferryError
from xnatferry.planning.mapping import MappingRules
from xnatferry.results.operations import begin_run, earlier_runs
from xnatferry.sources.discovery import discover
from xnatferry.transfer.engine import carry_out
from xnatferry.xnat.model import Address

if TYPE_CHECKING:
    from pathlib import Path
    from threading import Event as StopEvent

    from xnatferry.client.remote import Remote
    from xnatferry.planning.plan import Plan
    from xnatferry.transfer.events import Listener, PushResult


class ProbeFailedError(XnatferryError):
    """A probe failed; the message says what it found."""


@dataclass(slots=True)
class Site:
    """One self-test.

    Attributes:
        remote: The server and account.
        project: The scratch project.
        folder: A temporary local folder for test data and runs.
        prefix: Every label of the test begins with it.
        facts: Facts about the server, for people.
    """

    remote: Remote
    project: str
    folder: Path
    prefix: str
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def runs(self) -> Path:
        """The folder of the journals."""
        return self.folder / "runs"

    def session(self, name: str) -> Address:
        """The address of a session of the test."""
        subject = f"{self.prefix}_{name}"
        return Address(self.project, subject, f"{subject}_MR1")

    def data(self, name: str, files: dict[str, bytes]) -> Path:
        """Write a local folder with the files of one subject."""
        folder = self.folder / name / f"{self.prefix}_{name}"
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return folder.parent

    def plan(self, source: Path) -> Plan:
        """The plan of a push of a folder of images."""
        earlier = earlier_runs(self.remote, self.project, folder=self.runs)
        return pipeline.plan(discover(source), self.remote, MappingRules(self.project), earlier=earlier)

    def push(self, plan: Plan, *, listener: Listener = lambda _: None, stop: StopEvent | None = None) -> PushResult:
        """Carry out a plan, with a journal."""
        with begin_run(plan, self.remote, source="selftest", folder=self.runs) as journal:
            result = carry_out(plan, self.remote, listener=listener, journal=journal, stop=stop)
            journal.end(result.exit_code)
        return result

    def ask_json(self, path: str) -> Any | None:
        """The JSON answer of the server; None if it has no such page, or not for this account."""
        try:
            return json.loads(self.remote.requester.ask(Request("GET", path)).text)
        except (RemoteError, ValueError):
            return None


def require(holds: object, seen: str) -> None:
    """Raise `ProbeFailedError` with the message *seen* unless *holds* is true."""
    if not holds:
        raise ProbeFailedError(seen)
