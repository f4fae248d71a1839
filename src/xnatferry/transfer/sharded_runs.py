"""Joins the runs of a job array, which carried out parts of one plan, into one run."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from xnatferry.errors import UsageError
from xnatferry.planning.plan import Plan, in_tree_order
from xnatferry.planning.undo_plan import RunEffects
from xnatferry.transfer.runs import Run, list_runs, read_run
from xnatferry.transfer.step_counts import Counts
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from xnatferry.planning.shards import Shard

_PREFIX = "shares-"


def shard_facts(shard: Shard, *, server: str, project: str, source: Path) -> dict[str, Any]:
    """Attributes of a run of one part; ``shares`` is equal for all jobs of one array.

    Runs belong together when source (for a stored plan, its bytes), server, project and number of parts are equal.
    """
    what = str(source.absolute()).encode("utf-8", "surrogateescape")
    if source.is_file():
        with source.open("rb") as stream:
            what = hashlib.file_digest(stream, "md5").digest()
    key = hashlib.md5(b"\0".join((server.encode(), project.encode(), what)), usedforsecurity=False).hexdigest()[:8]
    return {"share": str(shard), "shares": f"{_PREFIX}{shard.of}-{key}"}


@dataclass(frozen=True, slots=True)
class ShardedRun(Run):
    """The runs of all shares of one push.

    Attributes:
        parts: One run a share, or several where a job was started again; oldest first.
    """

    parts: tuple[Run, ...] = ()

    @property
    def name(self) -> str:
        """What the parts have in common."""
        return str(self.attributes["shares"])

    def records(self) -> Iterator[Mapping[str, Any]]:
        """The lines of all journals, one after the other."""
        for part in self.parts:
            yield from part.records()

    @property
    def counts(self) -> Counts:
        """What came of all their steps."""
        return Counts.together(part.counts for part in self.parts)

    @property
    def newest(self) -> dict[int, Run]:
        """The last run of every share that was begun, by number."""
        return {int(str(part.attributes["share"]).partition("/")[0]): part for part in self.parts}

    @property
    def of(self) -> int:
        """How many shares there are."""
        return int(str(self.parts[0].attributes["share"]).partition("/")[2])

    @property
    def end(self) -> Mapping[str, Any] | None:
        """The last record: the joint exit code of all parts; None while one is missing or has not ended."""
        ends = [part.end for part in self.newest.values()]
        if len(ends) < self.of or None in ends:
            return None
        codes = {end["exit_code"] for end in ends if end is not None}
        bad = sorted(codes - {0})
        return {"record": "end", "exit_code": 0 if not bad else bad[0] if len(bad) == 1 else 1}

    @property
    def unended(self) -> str:
        """How many parts have ended."""
        done = sum(part.end is not None for part in self.newest.values())
        return f"{done} of {counted(self.of, 'part')} done"

    @property
    def has_plan(self) -> bool:
        """Whether any share has a plan, without reading it."""
        return any(part.has_plan for part in self.newest.values())

    @property
    def plan(self) -> Plan | None:
        """The plan of all shares together."""
        plans = [plan for part in self.newest.values() if (plan := part.plan) is not None]
        if not plans:
            return None
        steps = {step.address: step for plan in plans for step in plan.steps}
        refusals = {refusal.relative: refusal for plan in plans for refusal in plan.refusals}
        return replace(plans[0], steps=in_tree_order(steps.values()), refusals=tuple(refusals.values()))

    def effects(self) -> RunEffects:
        """The effects of all parts."""
        whole = RunEffects()
        for part in self.parts:
            one = part.effects()
            whole = RunEffects(
                {**one.created, **whole.created},
                {**whole.stored, **one.stored},
                {**whole.replaced, **one.replaced},
                {**one.changed, **whole.changed},
                {**one.backups, **whole.backups},
                whole.uncertain | one.uncertain,
            )
        return whole


def together(runs: Iterable[Run]) -> list[Run]:
    """*runs*, newest first, with the parts of one push joined into one run at the position of its newest part."""
    families: defaultdict[str, list[Run]] = defaultdict(list)
    order: dict[str, Run] = {}
    for run in runs:
        key = str(run.attributes.get("shares") or run.name)
        families[key].append(run)
        order.setdefault(key, run)
    return [_joined(families[key]) if "shares" in run.attributes else run for key, run in order.items()]


def _joined(newest_first: Sequence[Run]) -> ShardedRun:
    parts = tuple(reversed(newest_first))
    attributes = {name: value for name, value in parts[0].attributes.items() if name not in {"run", "share", "command"}}
    return ShardedRun(parts[0].folder, attributes, parts)


def find_run(runs: Path, name: str) -> Run:
    """The run called *name*, or all shares of one; ``latest`` is the newest push or copy.

    Raises:
        UsageError: There is none of this name.
    """
    if name == "latest" or name.startswith(_PREFIX):
        for run in together(list_runs(runs)):
            if run.name == name or (name == "latest" and run.undoable):
                return run
    elif (runs / name / "run.json").is_file() and "/" not in name:
        return read_run(runs / name)
    raise UsageError(f"run {name!r} does not exist; 'xnatferry runs' lists all runs")
