"""Collects FreeSurfer measurements from a server; downloads statistics files only."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Final

from xnatferry.errors import ForbiddenError, NotFoundError, RefusedError
from xnatferry.freesurfer.stats_file import StatisticsError
from xnatferry.freesurfer.table_files import TableFiles, locate
from xnatferry.freesurfer.versions import newness
from xnatferry.results.stats_runs import Collected, assembled, read_run, table_named
from xnatferry.results.stats_table import Place, Remark, RemarkKind, StatsTable
from xnatferry.sources.folder_walk import natural_key
from xnatferry.xnat.model import Address, Level
from xnatferry.xnat.records import ProjectListing
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xnatferry.client.remote_reader import RemoteReader
    from xnatferry.freesurfer.measurements import Table
    from xnatferry.results.stats_cache import StatsCache
    from xnatferry.xnat.records import RemoteFile
    from xnatferry.xnat.result_set import Row

_AGE: Final = "xnat:subjectAssessorData/age"
_SUBJECT_FIELDS: Final = ("gender", "dob", "age")


def remote_stats(
    name: str,
    remote: RemoteReader,
    address: Address,
    *,
    cache: StatsCache,
    resource: str | None = None,
    workers: int = 4,
) -> StatsTable:
    """One kind of measurements of a project, subject, session or resource.

    The sessions are read in parallel, with one request each; a statistics file is downloaded only if the cache does not
    have its MD5.

    Args:
        name: ``aseg``, ``aparc`` ...
        remote: The server.
        address: The object to read, with everything below it.
        cache: Files of earlier calls.
        resource: Label of the resource to read; None uses the newest one with the table.
        workers: How many sessions are read at the same time.

    Raises:
        UsageError: The table is unknown.
        NotFoundError: *address* does not exist.
        AuthenticationError: Wrong user name or password.
        UnavailableError: The server does not answer; downloaded files are in the cache.
    """
    reading = _Reading(table_named(name), remote, address, address.resource or resource, cache)
    places = _places(remote, address.container, itself=address.resource is not None)
    bare = [one for one in places if not one.session and address.resource is None]
    found = list(thread_map(reading.read, [one for one in places if one not in bare], workers=workers))
    none = [Collected(place, None, (_nothing(place, "no session"),)) for place in bare]
    gathered = sorted([*found, *none], key=lambda one: (natural_key(one.place.subject), natural_key(one.place.session)))
    return replace(assembled(name, gathered), fetched_files=cache.fetched, cached_files=cache.reused)


def _places(remote: RemoteReader, container: Address, *, itself: bool) -> list[Place]:
    """The sessions at and below *container* and subjects without sessions, or only *itself*."""
    where = remote.connection.url
    project = container.project
    try:
        listed = remote.read_project(project, subject_fields=_SUBJECT_FIELDS, session_fields=(_AGE,))
    except NotFoundError:
        listed = ProjectListing()
    subjects = {row["label"]: row for row in listed.subjects}
    if not listed.subjects and not remote.project_exists(project):
        raise NotFoundError(f"{project}: project not found on {where}, or not visible for this account")
    if (
        container.subject is not None
        and container.subject not in subjects
        and not listed.sessions_of(container.subject)
    ):
        raise NotFoundError(f"{Address(project, container.subject)}: subject not found on {where}")
    if itself and container.session is None:
        label = container.subject
        return [Place(project) if label is None else _subject_place(project, label, subjects.get(label, {}))]
    rows = [
        row
        for row in listed.sessions_of(container.subject)
        if row["xsiType"].endswith("essionData") and container.session in {None, row["label"]}
    ]
    if container.session is not None and not rows:
        session = Address(project, container.subject, container.session)
        raise NotFoundError(f"{session}: session not found on {where}")
    places = [_place(project, row, subjects.get(row["subject_label"], {})) for row in rows]
    alone = set(subjects) - {place.subject for place in places}
    alone &= set(subjects) if container.subject is None else {container.subject}
    return [*places, *(_subject_place(project, label, subjects[label]) for label in sorted(alone))]


def _place(project: str, row: Row, subject: Row) -> Place:
    plain = _subject_place(project, row["subject_label"], subject)
    day = row.get("date", "")
    age = _number(row.get(_AGE, ""))
    if age is None:
        age = _years(subject.get("dob", ""), day)
    return replace(
        plain,
        session=row["label"],
        experiment_id=row["ID"],
        date=day,
        age=plain.age if age is None else age,
    )


def _subject_place(project: str, label: str, row: Row) -> Place:
    return Place(project, label, sex=row.get("gender", ""), age=_number(row.get("age", "")))


def _number(text: str) -> float | None:
    try:
        return float(text) if text.strip() else None
    except ValueError:
        return None


def _years(born: str, day: str) -> float | None:
    """Age in years with two decimals, from two dates as XNAT lists them."""
    try:
        days = (date.fromisoformat(day[:10]) - date.fromisoformat(born[:10])).days
    except ValueError:
        return None
    return round(days / 365.25, 2) if days >= 0 else None


@dataclass(frozen=True, slots=True)
class _Reading:
    """One table, read from many places of a server."""

    table: Table
    remote: RemoteReader
    asked: Address
    resource: str | None
    cache: StatsCache

    def read(self, place: Place) -> Collected:
        """Read the table of one session, or of the requested object."""
        home = self.asked.container if self.asked.resource else Address(place.project, place.subject, place.session)
        try:
            held, remarks = _chosen(self.table, place, self.remote.list_files(home), self.resource)
            if held is None:
                return Collected(place, None, tuple(remarks))
            label, located, listed = held
            place = replace(place, resource=label)
            where = home.child(Level.RESOURCE, label)
            if any(file.digest is None for file in listed.values()):
                listed = self._with_digests(where, listed)

            def content(name: str) -> bytes:
                return self.cache.content(self.remote, where.child(Level.FILE, name), listed[name])

            stamp = _tagged(next(iter(listed.values())).tags)
            read = read_run(self.table, place, located, content, stamp=stamp)
        except (NotFoundError, ForbiddenError, RefusedError) as error:
            return Collected(place, None, (Remark(RemarkKind.BROKEN, str(place), str(error)),))
        return replace(read, remarks=(*remarks, *read.remarks))

    def _with_digests(self, where: Address, listed: dict[str, RemoteFile]) -> dict[str, RemoteFile]:
        """The files with the digests of the catalog document, as listings of 1.6.4 have none."""
        try:
            digests = self.remote.list_digests(where)
        except RefusedError:  # without MD5, the file is downloaded
            return listed
        return {name: replace(file, digest=digests.get(name)) for name, file in listed.items()}


def _tagged(tags: str) -> str:
    match = re.search(r"(?<![\d.])\d+\.\d+(\.\d+)?(?![\d.])", tags)
    return match[0] if match is not None else ""


_Held = tuple[str, TableFiles, "dict[str, RemoteFile]"]


def _chosen(
    table: Table, place: Place, files: Sequence[RemoteFile], resource: str | None
) -> tuple[_Held | None, list[Remark]]:
    """The resource to read with its files of the table, and remarks about the choice."""
    by_resource: dict[str, dict[str, RemoteFile]] = defaultdict(dict)
    for file in files:
        if file.scan is None and resource in {None, file.resource}:
            by_resource[file.resource][file.name] = file
    located: dict[str, tuple[TableFiles, dict[str, RemoteFile]]] = {}
    remarks: list[Remark] = []
    for label, named in by_resource.items():
        try:
            found = locate(table, named)
        except StatisticsError as error:
            remarks.append(Remark(RemarkKind.BROKEN, str(place), f"{label}: {error}"))
            continue
        if found is not None:
            located[label] = (found, {name: named[name] for name in found.by_side.values()})
    if not located:
        if not remarks:
            remarks.append(_nothing(place, _why_nothing(table, by_resource, resource)))
        return None, remarks

    def rank(label: str) -> tuple[int, tuple[int, ...], int, int]:
        return newness(label, next(iter(located[label][1].values())).tags)

    newest, *others = sorted(located, key=rank, reverse=True)
    if others:
        words = f"reads {newest}, not {', '.join(others)}; to read another one, use --resource"
        remarks.append(Remark(RemarkKind.CHOICE, str(place), words))
    return (newest, *located[newest]), remarks


def _why_nothing(table: Table, by_resource: dict[str, dict[str, RemoteFile]], resource: str | None) -> str:
    if not by_resource:
        return f"no resource {resource}" if resource else "no resource with files"
    return f"no {table.shown} in its resources ({', '.join(sorted(by_resource))})"


def _nothing(place: Place, why: str) -> Remark:
    return Remark(RemarkKind.SUBJECT, str(place), why)
