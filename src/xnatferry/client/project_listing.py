"""All subjects and sessions of a project, from two listings that are complete together.

XNAT 1.8.11 omits sessions from ``.../experiments`` if the site has not set up their type, for every account. They can
be read by their path, and are in the listing of *subjects* with the field paths of their sessions. That listing lacks
sessions that are shared into the project without their subject; the first one has them. Both were recorded.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from xnatferry.client.http import Request
from xnatferry.client.listings import decode_listing, first_item, item_fields
from xnatferry.errors import ForbiddenError, NotFoundError, RefusedError
from xnatferry.xnat.model import Address
from xnatferry.xnat.records import ProjectListing
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence

    from xnatferry.client.requester import Requester
    from xnatferry.xnat.result_set import Row

#: Columns of ``.../experiments``.
_SESSION: Final = ("ID", "label", "subject_ID", "subject_label", "xsiType", "date")
_BELOW_SUBJECT: Final = "xnat:subjectData/experiments/experiment"
_WORKERS: Final = 8


def read_project(
    requester: Requester,
    project: str,
    *,
    subject_fields: Sequence[str] = (),
    session_fields: Sequence[str] = (),
    details: Container[str] | None = None,
) -> ProjectListing:
    """The subjects and sessions of a project: two requests, and one for each session that only its subject lists.

    If the server does not list sessions as columns of their subjects, the document of each subject is read.

    Args:
        requester: The server.
        project: Project ID.
        subject_fields: Further columns of subjects, short names.
        session_fields: Further columns of sessions, full paths.
        details: Labels of the sessions whose type, date and fields are needed; None for all. Others may lack them.

    Raises:
        NotFoundError: The project does not exist, or is not visible for this account.
        RefusedError: A listed session cannot be read, or has no subject.
    """
    path = Address(project).path
    subjects, joined = _subjects(requester, path, subject_fields)
    shown = _list(requester, f"{path}/experiments", (*_SESSION, *session_fields))
    if not joined:  # refused, or nothing shows that the server follows these paths
        joined = _in_documents(requester, project, subjects)
    labels = {row["ID"]: row["label"] for row in subjects}
    taken = set(labels.values())
    sessions = []
    for row in shown:
        known = joined.pop(row["ID"], None)
        subject = known["subject_ID"] if known else row["subject_ID"]
        owner = labels.get(subject) if subject else row["subject_label"]
        if owner not in taken:
            sessions.append(_without_subject(requester, project, row, taken))
        else:
            sessions.append({**row, "subject_label": owner, "project": known["project"] if known else project})
    read = partial(_hidden, requester, project, session_fields, details)
    hidden = thread_map(read, joined.values(), workers=_WORKERS)
    sessions += [{**row, "subject_label": labels[row["subject_ID"]]} for row in hidden if row is not None]
    return ProjectListing(tuple(subjects), tuple(sessions))


def _list(requester: Requester, path: str, columns: Sequence[str]) -> list[Row]:
    query = (("format", "json"), ("columns", ",".join(columns)))
    return decode_listing(requester.ask(Request("GET", path, query)), columns)


def _subjects(requester: Requester, path: str, more: Sequence[str]) -> tuple[list[Row], dict[str, Row]]:
    """The subjects, and their sessions of all projects by ID: ``ID label project subject_ID``."""
    plain = ("ID", "label", *more)
    columns = {name: f"{_BELOW_SUBJECT}/{name}" for name in ("ID", "label", "project")}
    try:
        rows = _list(requester, f"{path}/subjects", (*plain, *columns.values()))
    except (RefusedError, ForbiddenError):
        rows = _list(requester, f"{path}/subjects", plain)
    subjects = {row["ID"]: {name: row[name] for name in plain} for row in rows}
    sessions = (
        {**{name: row.get(column, "") for name, column in columns.items()}, "subject_ID": row["ID"]} for row in rows
    )
    return list(subjects.values()), {session["ID"]: session for session in sessions if session["ID"]}


def _in_documents(requester: Requester, project: str, subjects: Iterable[Row]) -> dict[str, Row]:
    """As `_subjects`, from the document of each subject."""

    def read(subject: Row) -> list[Row]:
        item = _item(requester, Address(project, subject["label"]).path) or {}
        below = [child for child in item.get("children", ()) if child["field"] == "experiments/experiment"]
        return [item_fields(one) for child in below for one in child["items"]]

    found: dict[str, Row] = {}
    for subject, sessions in zip(subjects, thread_map(read, subjects, workers=_WORKERS), strict=True):
        found |= {one["ID"]: {**one, "subject_ID": subject["ID"]} for one in sessions}
    return found


def _item(requester: Requester, path: str) -> dict[str, Any] | None:
    try:
        return first_item(requester.ask(Request("GET", path, (("format", "json"),))))
    except NotFoundError as error:
        if error.status is None:  # no server answered at all
            raise
        return None


def _hidden(
    requester: Requester, project: str, fields: Sequence[str], details: Container[str] | None, known: Row
) -> Row | None:
    """A session that only its subject lists: of a type that is not set up, or of another project.

    None if it is not in *project*: it was removed a moment ago, or its subject is shared without it.
    """
    if known["project"] == project and details is not None and known["label"] not in details:
        return {**dict.fromkeys((*_SESSION, *fields), ""), **known}
    item = _item(requester, f"{Address(project).path}/experiments/{known['ID']}")
    if item is None:
        return None
    found = item_fields(item)
    shares = [
        one["data_fields"] for child in item["children"] if child["field"] == "sharing/share" for one in child["items"]
    ]
    label = {str(share.get("project")): str(share.get("label") or found["label"]) for share in shares}
    label[found["project"]] = found["label"]
    if project not in label:
        return None
    row = {name: found.get(name, "") for name in (*_SESSION, "project")}
    row |= {path: found.get(path.rpartition("/")[2], "") for path in fields}
    return {**row, "label": label[project], "xsiType": found["xsi:type"], "subject_ID": known["subject_ID"]}


def _without_subject(requester: Requester, project: str, row: Row, taken: set[str]) -> Row:
    """A session that is shared into *project* without its subject, below a subject label that is not used here.

    Raises:
        RefusedError: It cannot be read, or has no subject.
    """
    ask: list[Callable[[], dict[str, Any] | None]] = [
        lambda: _item(requester, f"/data/experiments/{row['ID']}"),
        lambda: _item(requester, f"{Address(project).path}/experiments/{row['ID']}"),
    ]
    item = next((found for one in ask if (found := one()) is not None), None)
    fields = item_fields(item) if item is not None else {}
    subject_id = row["subject_ID"] or fields.get("subject_ID", "")
    name = next((one for one in (row["subject_label"], subject_id) if one and one not in taken), "")
    if item is None or not name:
        why = "the server does not tell its subject" if item is not None else "it is listed, but cannot be read"
        raise RefusedError(
            f"{project}: session {row['label']} ({row['ID']}): {why}; try again, or ask the project owner to check it"
        )
    return {**row, "subject_label": name, "subject_ID": subject_id, "project": fields.get("project", "")}
