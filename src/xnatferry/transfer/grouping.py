"""Groups the steps of a plan by session."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.planning.plan import Decision
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from xnatferry.planning.plan import Plan, Step

#: Resource steps with their file steps.
Resources = dict[Address, tuple["Step", list["Step"]]]


@dataclass(slots=True)
class SessionSteps:
    """The steps of one session; or those of a project or subject with its own resources.

    Attributes:
        step: Of the session, project or subject itself.
        scans: Of its scans.
        assessors: Of its assessors.
        resources: Resources with their files, of all of these.
        pictures: Snapshot resources, whose files are made during the push; they are sent last.
    """

    step: Step
    scans: list[Step] = field(default_factory=list)
    assessors: list[Step] = field(default_factory=list)
    resources: Resources = field(default_factory=dict)
    pictures: Resources = field(default_factory=dict)


def by_session(plan: Plan) -> list[SessionSteps]:
    """Every session of *plan* with its steps, and whatever else has resources, in the order of the plan."""
    found: dict[Address, SessionSteps] = {}
    for step in plan.steps:
        address = step.address
        session = Address(address.project, address.subject, address.session)
        if address == session:
            found[session] = SessionSteps(step)
        elif address.level is Level.SCAN:
            found[session].scans.append(step)
        elif address.level is Level.ASSESSOR:
            found[session].assessors.append(step)
        elif address.level is Level.RESOURCE:
            found[session].resources[address] = (step, [])
        elif address.parent is not None:
            found[session].resources[address.parent][1].append(step)
    for one in found.values():
        one.pictures = {address: files for address, files in one.resources.items() if any(map(_is_made, files[1]))}
        for address in one.pictures:
            del one.resources[address]
    return [session for address, session in found.items() if address.session is not None or session.resources]


def subjects_of_documents(plan: Plan) -> frozenset[Address]:
    """New subjects that are created by the document of their session.

    Not those of several new sessions, which would race for them, nor those with fields or resources.
    """
    owners = {step.address.container for step in plan.steps if step.address.level is Level.RESOURCE}
    sessions = Counter(
        step.address.subject
        for step in plan.steps
        if step.address.level is Level.SESSION and step.decision is Decision.CREATE
    )
    return frozenset(
        step.address
        for step in plan.steps
        if step.address.level is Level.SUBJECT
        and step.decision is Decision.CREATE
        and sessions[step.address.subject] == 1
        and not step.fields
        and step.address not in owners
    )


def _is_made(step: Step) -> bool:
    return step.payload is not None and step.payload.local.made is not None
