"""Splits a plan for workers: one part per subject.

A subject is never split. So no two workers create the same subject or session, which fails in XNAT (see
`xnatferry.planning.shards`), and every resource has one writer.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xnatferry.planning.plan import Decision, Plan, Step
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a plan, in the order they are carried out.

    Attributes:
        before: The project itself; None when nothing is to be done for it.
        subjects: For the workers: a plan for each subject with steps to carry out.
        here: Subjects without changes, and last the resources of the project itself: a BIDS manifest must not list
            data before it exists. None when there are none.
    """

    before: Plan | None
    subjects: tuple[Plan, ...]
    here: Plan | None


def split(plan: Plan) -> Parts:
    """Split *plan*; every step that sends is in exactly one part."""
    project: Step | None = None
    own: list[Step] = []
    by_subject: defaultdict[str, list[Step]] = defaultdict(list)
    for step in plan.steps:
        if step.address.level is Level.PROJECT:
            project = step
        elif step.address.subject is None:
            own.append(step)
        else:
            by_subject[step.address.subject].append(step)
    idle = [steps for steps in by_subject.values() if not any(step.sends for step in steps)]
    busy = [steps for steps in by_subject.values() if any(step.sends for step in steps)]
    stay = [step for steps in idle for step in steps] + own
    made = [replace(project, decision=Decision.SAME, fields={}, changes={})] if project is not None and own else []
    return Parts(
        before=_part(plan, [project]) if project is not None and project.sends else None,
        subjects=tuple(_part(plan, steps) for steps in busy),
        here=_part(plan, [*made, *stay]) if stay else None,
    )


def subject_of(part: Plan) -> Address:
    """The subject of a part."""
    address = part.steps[0].address
    return Address(address.project, address.subject)


def first_file(plan: Plan) -> Path | None:
    """The first local file that a plan sends; None when it sends none."""
    for step in plan.files:
        if step.sends and step.payload is not None and step.payload.local.data is None:
            return step.payload.local.path
    return None


def _part(plan: Plan, steps: Iterable[Step]) -> Plan:
    return replace(plan, steps=tuple(steps), refusals=(), findings=(), blocked=())
