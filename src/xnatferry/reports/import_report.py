"""The report of an import: what was planned, done, verified and refused; its tree, its images, and the next commands.

from xnatferry.reports.import_report import Import

html = Import.of_run(run).html()            # a past run, or all shares of one
html = Import(plan).html()                  # a plan before the upload
"""

from __future__ import annotations

import shlex
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.finding_catalog import CATALOGUE
from xnatferry.errors import UsageError
from xnatferry.reports.import_statistics import measured
from xnatferry.reports.import_tree import decisions, outline
from xnatferry.reports.thumbnails import draw_gallery
from xnatferry.sources.model import Severity
from xnatferry.transfer.events import Outcome, Proof, Receipt, Verdict
from xnatferry.wording import counted, human_bytes, human_seconds
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from xnatferry.planning.plan import Plan
    from xnatferry.sources.model import Finding
    from xnatferry.transfer.runs import Run
    from xnatferry.xnat.model import Address

_MOODS: Final = {
    "done": "good",
    "planned": "info",
    "up to date": "good",
    "interrupted": "warning",
    "running": "info",
}
_WARNED: Final = {"stopped", "partly refused"}


@dataclass(frozen=True, slots=True)
class FindingGroup:
    """All findings with one id.

    Attributes:
        id: Stable id.
        title: Title of the id.
        severity: Its severity.
        messages: Messages, each with its paths.
    """

    id: str
    title: str
    severity: Severity
    messages: Mapping[str, Sequence[str]]

    @property
    def count(self) -> int:
        """How many findings it holds."""
        return sum(len(places) for places in self.messages.values())


@dataclass(frozen=True, slots=True)
class Import:
    """A plan and its result.

    Attributes:
        plan: The plan.
        run: The run of the plan; None for a plan alone.
        receipts: The last outcome, by address.
        verdicts: The result of verification, by address.
        command: The command line of the plan.
        attributes: Of the run.
        ran: Whether there is an outcome to show.
    """

    plan: Plan
    run: Run | None = None
    receipts: Mapping[Address, Receipt] = field(default_factory=dict)
    verdicts: Mapping[Address, Verdict] = field(default_factory=dict)
    command: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    ran: bool = False

    @classmethod
    def of_run(cls, run: Run) -> Import:
        """The report of a past run, or of all shares of one.

        Raises:
            UsageError: It has no plan.
        """
        plan = run.plan
        if plan is None:
            raise UsageError(f"{run.name} has no plan; reports exist for pushes and copies")
        receipts = {receipt.address: receipt for receipt in run.receipts()}
        verdicts = {verdict.address: verdict for verdict in run.verdicts()}
        return cls(plan, run, receipts, verdicts, str(run.attributes.get("command", "")), run.attributes, ran=True)

    @classmethod
    def unneeded(cls, plan: Plan, verdicts: Iterable[Verdict], command: str) -> Import:
        """The report of a push that had nothing to send."""
        return cls(plan, verdicts={verdict.address: verdict for verdict in verdicts}, command=command, ran=True)

    @property
    def word(self) -> str:
        """The result of the run in one or two words."""
        if self.run is not None:
            return self.run.verdict
        return "up to date" if self.ran else "blocked" if self.plan.blocked else "planned"

    @property
    def mood(self) -> str:
        """The colour of `word`."""
        return _MOODS.get(self.word) or ("warning" if self.word in _WARNED or "shares" in self.word else "error")

    def html(self) -> str:
        """The whole page."""
        from xnatferry.reports.page import render  # noqa: PLC0415  # jinja2 is loaded where a page is made

        groups, others = measured(self.plan)
        odd = {name for group in groups for measure in group.measures for name, _ in measure.odd}
        verb = str(self.attributes.get("verb", "push"))
        title = f"{'Plan of a push into' if not self.ran else verb.capitalize() + ' into'} {self.plan.project}"
        return render(
            "import.html",
            title=title,
            report=self,
            verb=verb,
            attributes=self._facts(),
            tiles=self._tiles(),
            decisions=decisions(self.plan),
            level=Level,
            tree=outline(self.plan, self.receipts, self.verdicts, ran=self.ran),
            troubles=self._troubles(),
            findings=_grouped(self.plan.findings),
            groups=groups,
            others=others,
            gallery=draw_gallery(self.plan, odd),
            odd=odd,
            commands=self._commands(),
            counted=counted,
            size=human_bytes,
        )

    def _facts(self) -> dict[str, str]:
        """Facts about the run."""
        where = f"{self.plan.server} (the local archive)" if self.plan.local else self.plan.server
        attributes = {"server": where, "project": self.plan.project}
        attributes |= {name: str(self.attributes[name]) for name in ("user", "source") if self.attributes.get(name)}
        if self.run is None:
            return attributes
        attributes["run"] = self.run.name
        began, ended = self._times()
        if began is not None:
            attributes["started"] = f"{began:%Y-%m-%d %H:%M:%S} UTC"
        if began is not None and ended is not None:
            seconds = max((ended - began).total_seconds(), 0.001)
            attributes["duration"] = f"{human_seconds(seconds)} ({human_bytes(self._stored_bytes() / seconds)}/s)"
        requests = [end["requests"] for end in self.run.records() if end.get("record") == "end" and "requests" in end]
        if requests:
            attributes["requests"] = f"{sum(requests):,}"
        return attributes

    def _times(self) -> tuple[datetime | None, datetime | None]:
        """Time of the start and of the last record."""
        moments = [_moment(record.get("at")) for record in self.run.records()] if self.run is not None else []
        known = [moment for moment in (_moment(self.attributes.get("started")), *moments) if moment is not None]
        return (min(known), max(known)) if known else (None, None)

    def _stored_bytes(self) -> int:
        return sum(one.size_bytes for one in self.receipts.values() if one.outcome is Outcome.STORED)

    def _tiles(self) -> list[tuple[str, str, str, str]]:
        """Heading, number, detail and colour: planned, done, verified, refused."""
        plan = self.plan
        sends = sum(step.sends for step in plan.files)
        drawn = any(step.sends and step.payload and step.payload.local.made for step in plan.files)
        detail = f"{human_bytes(plan.sends_bytes)} to send{', and snapshots' if drawn else ''}"
        tiles = [("planned", counted(sends, "file"), detail, "info")]
        if self.ran:
            outcomes = Counter(receipt.outcome for receipt in self.receipts.values())
            made = outcomes[Outcome.CREATED] + outcomes[Outcome.CHANGED]
            stored = f"{human_bytes(self._stored_bytes())}; {counted(made, 'object')} created or changed"
            failed = outcomes[Outcome.FAILED] + outcomes[Outcome.STOPPED]
            detail = f"{stored}; {failed} failed" if failed else stored
            tiles.append(("done", counted(outcomes[Outcome.STORED], "file"), detail, "error" if failed else "good"))
            tiles.append(self._proofs())
        refused = len(plan.refusals) + len(plan.blocked)
        tiles.append(
            ("refused", counted(refused, "source"), "see below" if refused else "", "error" if refused else "")
        )
        return tiles

    def _proofs(self) -> tuple[str, str, str, str]:
        proofs = Counter(verdict.proof for verdict in self.verdicts.values())
        good = sum(number for proof, number in proofs.items() if proof.good)
        parts = [f"{proofs[proof]:,} {proof.value}" for proof in Proof if proofs[proof]]
        detail = ", ".join(parts) or "no file is verified"
        whole = good == len(self.plan.files) and good > 0
        return ("verified", f"{good:,} of {len(self.plan.files):,}", detail, "good" if whole else "warning")

    def _troubles(self) -> list[tuple[str, str, str]]:
        """Address, outcome and reason of everything that failed."""
        found = [
            (str(one.address), one.outcome.value, one.message) for one in self.receipts.values() if one.exit_code != 0
        ]
        failed = {address for address, _, _ in found}
        found += [
            (str(one.address), one.proof.value, one.message)
            for one in self.verdicts.values()
            if not one.proof.good and str(one.address) not in failed
        ]
        return found

    def _commands(self) -> list[tuple[str, str]]:
        """Purpose and command line."""
        if self.run is None:
            return [("Push it" if not self.ran else "Check again", self.command)] if self.command else []
        name = shlex.quote(self.run.name)
        commands = []
        if self.word != "done" and self.command:
            commands.append(("Continue the push (uploaded files are not sent again)", self.command))
        commands.append(("Verify again, by MD5", f"xnatferry verify {name}"))
        commands.append(("Download and compare every byte", f"xnatferry verify {name} --deep"))
        if self.run.undoable:
            commands.append(("Show what undo would remove", f"xnatferry undo {name} --dry-run"))
            commands.append(("Undo: remove what this run created", f"xnatferry undo {name}"))
        return commands


def _grouped(findings: Iterable[Finding]) -> list[FindingGroup]:
    """The most severe first, then by id."""
    order = list(Severity)
    found: defaultdict[tuple[Severity, str], defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for finding in findings:
        found[finding.severity, finding.id][finding.message].append(finding.where)
    return [
        FindingGroup(name, CATALOGUE[name][1] if name in CATALOGUE else "", severity, messages)
        for (severity, name), messages in sorted(found.items(), key=lambda one: (order.index(one[0][0]), one[0][1]))
    ]


def _moment(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None
