"""Resolves the first part of a resource address to the items that have the resources.

The same parents come before ``/resources`` and ``/files`` at every level, so this module makes their routes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from xnatferry.server import access, objects, resources
from xnatferry.server.objects import Item, Level
from xnatferry.server.request_scope import Refusal, Route
from xnatferry.xnat.labels import resource_label_problem

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from xnatferry.server.accounts import Account
    from xnatferry.server.request_scope import Scope
    from xnatferry.server.resources import Resource

_SESSIONS: Final = (
    "/projects/{project}/subjects/{subject}/experiments/{experiment}",
    "/projects/{project}/experiments/{experiment}",
    "/experiments/{experiment}",
)
_PARENTS: Final = (
    "/projects/{project}",
    "/projects/{project}/subjects/{subject}",
    "/subjects/{subject}",
    *_SESSIONS,
    *(f"{session}/scans/{{scan}}" for session in _SESSIONS),
    *(
        f"{session}/{word}{direction}"
        for session in _SESSIONS
        for word in ("assessors/{assessor}", "reconstructions/{reconstruction}")
        for direction in ("", "/in", "/out")
    ),
)
_DIRECTION: Final = re.compile(r"/(?:assessors|reconstructions)/[^/]+/(in|out)/(?:resources|files)(?:/|$)")
_BELOW: Final = {"scan", "assessor", "reconstruction"}


@dataclass(frozen=True, slots=True)
class ResourceContainer:
    """What an address means, without its resource.

    Attributes:
        items: The items of the resources: one item, or several for ``scans/ALL`` and lists.
        direction: ``in``, ``out``, or "" where the address says neither.
        problem: Why there are no items, in XNAT's words.
        project: Project named in the address, None for a site-level address.
        subject: Subject named in the address.
        direct: Whether the address ends at an experiment, which may be an assessor addressed as one.
    """

    items: Sequence[Item]
    direction: str = ""
    problem: str = ""
    project: Item | None = None
    subject: Item | None = None
    direct: bool = False

    @property
    def unknown(self) -> bool:
        """Whether nothing in the address is there: XNAT has no project then, and its lists fail."""
        return not self.items and self.project is None

    @property
    def only(self) -> Item:
        """The one item that a change must be about.

        Raises:
            Refusal: 404, there is none or more than one.
        """
        if len(self.items) != 1:
            raise Refusal(404, self.problem or "Unable to identify scan")
        return self.items[0]


@dataclass(frozen=True, slots=True)
class ContainerResources:
    """A resource and its item.

    Attributes:
        item: Its item.
        resource: The resource.
        base: Address of the item as listings spell it: with ids, ``/data/experiments/XNAT_E00001/scans/1``.
        folder: Its folder on disk.
    """

    item: Item
    resource: Resource
    base: str
    folder: str


def resource_routes(methods: Sequence[str], suffix: str, handler: Callable[[Scope], Any]) -> tuple[Route, ...]:
    """Routes that answer *methods* for *suffix* below everything that can have resources."""
    return tuple(Route(methods, parent + suffix, handler) for parent in _PARENTS)


def segment(scope: Scope) -> str | None:
    """The resource that the address names: label, number, or a list of them with commas; None when it names none.

    XNAT keeps percent escapes in a label (xnat-rest.md 0.2); those of letters it allows are read as the letters.
    """
    raw = scope.raw_params.get("resource")
    if raw is None:
        return None
    plain = unquote(raw)
    return plain if all(part.isdecimal() or not resource_label_problem(part) for part in plain.split(",")) else raw


def container_of(connection: sqlite3.Connection, scope: Scope) -> ResourceContainer:
    """What the address of *scope* means, for reading.

    A missing subject or project is refused; deeper items may be missing, then there are no items (xnat-rest.md 7.1).

    Raises:
        Refusal: 404, with XNAT's words.
    """
    path = scope.request.scope.get("raw_path", b"").decode("latin-1")
    said = _DIRECTION.search(path)
    return find_container(connection, scope.account, scope.params, said[1] if said else "")


def find_container(
    connection: sqlite3.Connection, account: Account | None, params: Mapping[str, str], direction: str = ""
) -> ResourceContainer:
    """As `container_of`, from path variables."""
    project = subject = None
    if "project" in params:
        project = objects.find_project(connection, params["project"])
        if project is None or not access.may_read(connection, account, project.id):
            raise Refusal(404, "Unable to identify project")
    if "subject" in params:
        subject = objects.find_subject(connection, params["subject"], project)
        if subject is None or not access.may_read(connection, account, (project or subject).project):
            raise Refusal(404, "Unable to identify subject")
    items, problem = [subject or project], ""
    if "experiment" in params:
        items, problem = _experiments(connection, account, params, project)
    found = [item for item in items if item is not None]
    direct = not _BELOW & params.keys()
    return ResourceContainer(found, direction, "" if found else problem, project, subject, direct)


def _experiments(
    connection: sqlite3.Connection, account: Account | None, params: Mapping[str, str], project: Item | None
) -> tuple[list[Item | None], str]:
    """The experiments of an address, or what it names below them."""
    sessions = []
    if project is not None and "," in params["experiment"]:
        raise Refusal(404)  # lists of IDs are understood without a project only
    for name in params["experiment"].split(","):
        session = objects.find_experiment(connection, name, project)
        if session is not None and access.may_read(connection, account, (project or session).project):
            sessions.append(session)
    below = _BELOW & params.keys()
    if not sessions:
        return [], "Unable to identify image session" if below and project else "Unable to identify experiment"
    found: list[Item | None] = []
    for session in sessions:
        if "scan" in params:
            found += objects.scans_named(connection, session, params["scan"])
        elif "assessor" in params:
            found += [objects.find_assessor(connection, name, session) for name in params["assessor"].split(",")]
        elif "reconstruction" in params:
            found.append(objects.find_reconstruction(connection, params["reconstruction"], session))
        else:
            found.append(session)
    words = {"scan": "scan", "reconstruction": "reconstruction", "assessor": "experiment"}
    return found, f"Unable to identify {words[next(iter(below), 'assessor')]}"


def experiment_of(connection: sqlite3.Connection, scope: Scope) -> Item | None:
    """The one experiment of the address; None when it, or its project, is not there or may not be read."""
    project = None
    if "project" in scope.params:
        project = objects.find_project(connection, scope.params["project"])
        if project is None:
            return None
    found = objects.find_experiment(connection, scope.params["experiment"], project)
    if found is None or not access.may_read(connection, scope.account, (project or found).project):
        return None
    return found


def resources_by_container(
    connection: sqlite3.Connection, container: ResourceContainer, names: str | None = None, *, everything: bool = False
) -> list[ContainerResources]:
    """The resources at *container*: those that *names* lists by label or number, or all of them.

    With *everything* also those of the scans, assessors and reconstructions of a session (``all=true``).
    """
    items = list(container.items)
    if container.direct and len(items) > 1 and not everything:
        return []  # of several sessions XNAT gives what is below them, not their own
    if everything:
        for item in container.items:
            if item.level is Level.EXPERIMENT:
                for level in (Level.SCAN, Level.RECONSTRUCTION, Level.ASSESSOR):
                    items += objects.children(connection, item, level)
    by_key = {item.key: item for item in items}
    # Without a direction XNAT looks for what came out of an assessor or reconstruction only.
    found = resources.resources_of(connection, by_key, container.direction or "out")
    if names is not None:
        found = resources.chosen(found, names)
    bases = {key: _base(connection, container, item, spelled=names is not None) for key, item in by_key.items()}
    return [
        ContainerResources(
            by_key[one.item_key],
            one,
            bases[one.item_key] + (f"/{one.direction}" if one.direction else ""),
            resources.folder_of(by_key[one.item_key], one),
        )
        for one in found
    ]


def _base(connection: sqlite3.Connection, container: ResourceContainer, item: Item, *, spelled: bool) -> str:
    """How listings spell the address of *item*: as it was asked for when a resource was named, else short."""
    if item.level is Level.PROJECT:
        return f"/data/projects/{item.id}"
    if item.level is Level.SUBJECT:
        return f"/data/projects/{(container.project or item).project}/subjects/{item.id}"
    above = "/data"
    if spelled and container.project is not None:
        above += f"/projects/{container.project.id}"
        above += f"/subjects/{container.subject.id}" if container.subject is not None else ""
    if item.level is Level.EXPERIMENT or (
        item.level is Level.ASSESSOR and container.direct and item in container.items
    ):
        return f"{above}/experiments/{item.id}"
    session = objects.by_key(connection, item.parent_key)
    id_ = item.id
    if spelled and item.level is Level.SCAN:
        # XNAT writes the whole list there when a list of scans was asked for one resource (recorded).
        id_ = ",".join(scan.id for scan in container.items)
    return f"{above}/experiments/{session.id}/{item.level}s/{id_}"
