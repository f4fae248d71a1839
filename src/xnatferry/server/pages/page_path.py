"""Resolves the address of a page to project, subject, session, and scan or assessor; and builds such addresses.

Looked up by the REST API's own rules (`xnatferry.server.resource_paths`), so that a page can show nothing that REST
would not.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from xnatferry.server import access, objects, resources
from xnatferry.server.objects import Item, Level
from xnatferry.server.pages.rendering import address
from xnatferry.server.request_scope import Refusal
from xnatferry.xnat.model import Address, quote_name

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from xnatferry.server.request_scope import Scope
    from xnatferry.server.resources import Resource

_BELOW = {Level.SCAN: "scans", Level.ASSESSOR: "assessors", Level.RECONSTRUCTION: "reconstructions"}


@dataclass(frozen=True, slots=True)
class PagePath:
    """The items that the address of a page names.

    Attributes:
        project: The project.
        subject: The subject; None on pages of the project.
        session: The session; None above it.
        below: Scan, assessor or reconstruction of the session; None above it.
        subject_label: The subject's label in this project.
        session_label: The session's label in this project.
    """

    project: Item
    subject: Item | None = None
    session: Item | None = None
    below: Item | None = None
    subject_label: str = ""
    session_label: str = ""

    @property
    def item(self) -> Item:
        """The deepest of them."""
        return self.below or self.session or self.subject or self.project

    @property
    def _pairs(self) -> Iterator[tuple[str, str, str]]:
        """Word in page addresses, word in REST addresses, label; from the project down."""
        yield "projects", "projects", self.project.id
        if self.subject is not None:
            yield "subjects", "subjects", self.subject_label
        if self.session is not None:
            yield "sessions", "experiments", self.session_label
        if self.below is not None:
            word = _BELOW[self.below.level]
            yield word, word, self.below.label or self.below.id

    @property
    def address(self) -> str:
        """The page's address."""
        return address(*(part for word, _, label in self._pairs for part in (word, label)))

    @property
    def rest(self) -> str:
        """The REST address of the same thing."""
        return "/data" + address(*(part for _, word, label in self._pairs for part in (word, label)))

    @property
    def crumbs(self) -> list[tuple[str, str]]:
        """Labels and addresses of everything above, and of this."""
        found, segments = [("Projects", "/projects")], []
        for word, _, label in self._pairs:
            segments += [word, label]
            found.append((label, address(*segments)))
        return found

    @property
    def above(self) -> PagePath:
        """The path of the session that this scan, assessor or reconstruction belongs to."""
        return replace(self, below=None)

    def at(self, below: Item) -> PagePath:
        """The path of a scan, assessor or reconstruction of this session."""
        return replace(self, below=below)

    def resource_address(self, resource: Resource) -> str:
        """The page of a resource here."""
        return self.address + address("resources", _named(resource))

    def file_address(self, resource: Resource, name: str) -> str:
        """The page of a file in a resource here."""
        return f"{self.resource_address(resource)}/files/{quote_name(name)}"

    def rest_files(self, resource: Resource) -> str:
        """The REST address of the files of a resource here."""
        direction = f"/{resource.direction}" if resource.direction else ""
        return self.rest + direction + address("resources", resource.label or str(resource.id), "files")

    def ferry_address(self, resource: Resource, name: str) -> str:
        """The address of a file of a resource as in receipts (`xnatferry.xnat.model.Address`)."""
        scan = self.below.label if self.below is not None and self.below.level is Level.SCAN else None
        assessor = self.below.label if self.below is not None and self.below.level is Level.ASSESSOR else None
        return str(
            Address(
                self.project.id,
                self.subject_label or None,
                self.session_label or None,
                scan=scan,
                assessor=assessor,
                resource=resource.label or str(resource.id),
                file=name,
            )
        )


def _named(resource: Resource) -> str:
    """A resource in a page's address: by label, where that is unique, else by number."""
    return resource.label if resource.label and resource.direction != "in" else str(resource.id)


def page_path_of(connection: sqlite3.Connection, scope: Scope) -> PagePath:
    """What the path variables of *scope* name.

    Raises:
        Refusal: 404 with XNAT's message, also without read permission.
    """
    params = scope.params
    project = objects.find_project(connection, params["project"])
    if project is None or not access.may_read(connection, scope.account, project.id):
        raise Refusal(404, "Unable to identify project")
    if "experiment" in params:
        return _session(connection, scope, project)
    if "subject" not in params:
        return PagePath(project)
    subject = objects.find_subject(connection, params["subject"], project)
    if subject is None:
        raise Refusal(404, "Unable to identify subject")
    return PagePath(project, subject, subject_label=label_in(connection, subject, project))


def _session(connection: sqlite3.Connection, scope: Scope, project: Item) -> PagePath:
    params = scope.params
    session = objects.find_experiment(connection, params["experiment"], project)
    if session is None or session.level is not Level.EXPERIMENT:
        raise Refusal(404, "Unable to identify experiment")
    subject = objects.by_key(connection, session.parent_key)
    label = label_in(connection, subject, project)
    if params.get("subject", label) not in {label, subject.id}:
        raise Refusal(404, "Unable to identify experiment")
    found = PagePath(project, subject, session, None, label, label_in(connection, session, project))
    below: Item | None = None
    if "scan" in params:
        below = objects.find_scan(connection, params["scan"], session)
    elif "assessor" in params:
        below = objects.find_assessor(connection, params["assessor"], session)
    elif "reconstruction" in params:
        below = objects.find_reconstruction(connection, params["reconstruction"], session)
    else:
        return found
    if below is None:
        raise Refusal(404, "Unable to identify scan" if "scan" in params else "Unable to identify experiment")
    return found.at(below)


def label_in(connection: sqlite3.Connection, item: Item, project: Item) -> str:
    """The label of *item* in *project*: its own, or that of its share; its ID where it has none."""
    if item.project == project.id:
        return item.label or item.id
    row = connection.execute(
        "SELECT label FROM shares WHERE item_key = ? AND project = ?", (item.key, project.id)
    ).fetchone()
    return (row and row["label"]) or item.label or item.id


def resource_at(connection: sqlite3.Connection, scope: Scope, page_path: PagePath) -> Resource:
    """The resource that the path names, by label or number.

    Raises:
        Refusal: 404, there is none.
    """
    name = scope.params["resource"]
    found = [
        one for one in resources.resources_of(connection, [page_path.item.key]) if name in {one.label, str(one.id)}
    ]
    if not found:
        raise Refusal(404, "Unable to identify resource")
    return min(found, key=lambda one: (_named(one) != name, one.id))
