"""Listings of items: XNAT's columns, filters, sorting and paging (``QueryOrganizer``, xnat-rest.md 11).

A listing has a *root* type. Columns and filters name fields by short name or by path; a path of a type that extends the
root narrows the listing to that type. The header of a column is the short name whose path it is, else the path in lower
case; beside what is asked for stand the key of the root type and ``URI``, as recorded from a genuine server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from xnatferry.server.fields import short_names
from xnatferry.server.objects import Level
from xnatferry.server.wildcards import fits
from xnatferry.xnat.datatypes import data_type, extends, kind_of, resolve, type_names
from xnatferry.xnat.tables import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xnatferry.server.objects import Item
    from xnatferry.server.scope import Query

__all__ = ["Listing", "Row", "table_of", "value_of"]

_SUBJECT_NAMES: Final = {
    "subject_label": "xnat:subjectData/label",
    "subject_project": "xnat:subjectData/project",
}
_SESSION_NAMES: Final = {
    "session_ID": "xnat:imageSessionData/ID",
    "session_label": "xnat:imageSessionData/label",
    "session_project": "xnat:imageSessionData/project",
}
#: Types whose listings show the type and project of each row even when other columns are asked for.
_MIXED: Final = {"xnat:experimentData", "xnat:subjectAssessorData", "xnat:imageSessionData", "xnat:imageAssessorData"}


@dataclass(slots=True)
class Row:
    """One line of a listing.

    Attributes:
        item: The item listed.
        subject: Subject of an experiment.
        session: Session of an assessor, scan or reconstruction.
        scan: A scan joined to an experiment.
        label: Label to show, when a share gives another.
        assessor: An assessor joined to its session.
    """

    item: Item
    subject: Item | None = None
    session: Item | None = None
    scan: Item | None = None
    label: str = ""
    assessor: Item | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """What a collection lists.

    Attributes:
        root: Root type when the request does not narrow it.
        defaults: Short names of the columns shown when none are asked for.
        key: Short name of the key; with *typed_key* shown as ``<root type>/id`` instead.
        uri: Address of a row.
        typed_key: Whether the key column carries the root type in its name.
        title: ``title`` of the JSON.
        filtered: Whether query keys filter.
        paged: Whether ``limit`` and ``offset`` count.
        detailed: Whether a listing narrowed by ``xsiType`` shows subject or session as well.
    """

    root: str
    defaults: Sequence[str]
    key: str
    uri: Callable[[Row], str]
    typed_key: bool = False
    title: str | None = None
    filtered: bool = True
    paged: bool = True
    detailed: bool = False


@dataclass(slots=True)
class _Column:
    header: str
    path: str


@dataclass(slots=True)
class _Asked:
    """The request, read: root type, columns and filters as full paths."""

    listing: Listing
    query: Query
    root: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    columns: list[_Column] = field(default_factory=list)
    filters: list[tuple[str, str]] = field(default_factory=list)

    def paths(self) -> list[str]:
        """Every path that a column or filter names."""
        return [*(one.path for one in self.columns), *(path for path, _ in self.filters)]

    def path_of(self, name: str) -> str:
        """The full path of a short name, or of a path in the schema's spelling of its type; "" when it is none."""
        if name in self.names:
            return self.names[name]
        owner, slash, rest = name.partition("/")
        found = data_type(owner) if slash else None
        return f"{found.name}/{rest}" if found else ""

    def header_of(self, path: str) -> str:
        """The short name whose path this is, else the path in lower case."""
        lower = path.lower()
        return next((name for name, one in self.names.items() if one.lower() == lower), lower)


def table_of(
    listing: Listing,
    query: Query,
    rows: Sequence[Row],
    children_of: Callable[[Item, Level], Sequence[Item]] | None = None,
) -> Table:
    """The listing of *rows* that *query* asks for.

    *children_of* gives an experiment's scans or assessors, for columns about them. With ``fields=`` it lists the short
    names instead (11.4).
    """
    asked = _read(listing, query)
    if query.has("fields"):
        return Table(("key", "xpath"), [{"key": name, "xpath": path} for name, path in asked.names.items()])
    kept = [row for row in rows if extends(row.item.xsi_type, asked.root)]
    relations = {_relation(path) for path in asked.paths()}
    if children_of and "scan" in relations:
        kept = list(_with_scans(kept, asked, lambda item: children_of(item, Level.SCAN)))
    if children_of and "assessor" in relations:
        kept = [replace(row, assessor=one) for row in kept for one in children_of(row.item, Level.ASSESSOR) or (None,)]
    kept = [row for row in kept if all(_matches(row, path, wanted) for path, wanted in asked.filters)]
    values = [{one.header: value_of(row, one.path) for one in asked.columns} for row in kept]
    for value, row in zip(values, kept, strict=True):
        value["URI"] = listing.uri(row)
    headers = list(dict.fromkeys([*(one.header for one in asked.columns), "URI"]))
    values = _sorted(values, query)
    paged = listing.paged and (query.has("limit") or query.has("offset"))
    if paged:
        values = _page(values, query)
    return Table(headers, values, title=listing.title, counted=not paged)


def _read(listing: Listing, query: Query) -> _Asked:
    asked = _Asked(listing, query, root=listing.root)
    narrowed = query.get("xsiType")
    of_type = data_type(narrowed) if narrowed and "," not in narrowed else None
    if of_type is not None:
        asked.root = of_type.name
    asked.names = _names(listing.root, asked.root)
    wanted = _wanted(asked)
    asked.filters = list(_filters(asked)) if listing.filtered else []
    paths = [path for name in wanted if (path := asked.path_of(name))]
    for path in [*paths, *(path for path, _ in asked.filters)]:
        _narrow(asked, path)
    key = _Column(listing.key, asked.names[listing.key])
    if listing.typed_key and asked.root != "xnat:experimentData":
        key = _Column(f"{asked.root.lower()}/id", key.path)
    elif asked.root != listing.root and extends(asked.root, "xnat:imageScanData"):
        key = _Column(f"{asked.root.lower()}/{listing.key}", key.path)
    columns = [key, *(_Column(asked.header_of(path), path) for path in paths)]
    if query.has("columns") and asked.root in _MIXED:
        columns += [_Column(name, asked.names[name]) for name in ("xsiType", "project")]
    if asked.root not in _MIXED and any(_relation(path) == "subject" for path in paths) and listing.typed_key:
        columns.append(_Column(f"{asked.root.lower()}/subject_id", f"{asked.root}/subject_ID"))
    asked.columns = list({one.header: one for one in columns}.values())
    return asked


def _names(root: str, narrowed: str) -> dict[str, str]:
    names = {**short_names(root), **short_names(narrowed)}
    if extends(root, "xnat:experimentData"):
        names["subject_ID"] = "xnat:subjectAssessorData/subject_ID"
        names |= _SUBJECT_NAMES | _SESSION_NAMES
        for one in type_names():
            if extends(one, "xnat:imageSessionData"):
                names = {**short_names(one), **names}
    return names


def _wanted(asked: _Asked) -> list[str]:
    """The columns to show, as the request names them."""
    defaults = list(asked.listing.defaults)
    if asked.listing.detailed and asked.root != asked.listing.root:
        if extends(asked.root, "xnat:subjectAssessorData"):
            defaults += ["subject_ID", "subject_label"]
        elif extends(asked.root, "xnat:imageAssessorData"):
            defaults += ["session_ID", "session_label"]
    text = unquote_plus(asked.query.get("columns"))
    wanted: list[str] = []
    for name in (part.strip() for part in text.split(",")):
        wanted += defaults if name == "DEFAULT" else [name] if name else []
    return wanted if text else defaults


def _filters(asked: _Asked) -> Iterator[tuple[str, str]]:
    for key, value in asked.query:
        if key != "xsiType" and (key in asked.names or "/" in key) and (path := asked.path_of(key)):
            yield path, value


def _narrow(asked: _Asked, path: str) -> None:
    """Let *path* narrow the root: to its own type, or to subject assessors when it is about their subject."""
    owner = path.partition("/")[0]
    if _relation(path) == "subject" and extends("xnat:subjectAssessorData", asked.root):
        owner = "xnat:subjectAssessorData"
    if owner != asked.root and extends(owner, asked.root) and not _short_path(asked, path):
        asked.root = owner


def _short_path(asked: _Asked, path: str) -> bool:
    """Whether *path* is that of a short name: one of a type below the root shows an empty cell rather than narrows."""
    return path in asked.names.values() and not path.startswith("xnat:subject")


def _relation(path: str) -> str:
    """Which item of a row *path* is about: ``item``, ``subject``, ``scan``, ``assessor``."""
    owner, _, rest = path.partition("/")
    if owner == "xnat:subjectData":
        return "subject"
    if extends(owner, "xnat:imageScanData") or rest.lower().startswith("scans/scan/"):
        return "scan"
    return "assessor" if rest.lower().startswith("assessors/assessor/") else "item"


def _with_scans(rows: Sequence[Row], asked: _Asked, scans_of: Callable[[Item], Sequence[Item]]) -> Iterator[Row]:
    """One row a scan; an experiment without any keeps one row. Scans of other types than the columns' are left out."""
    owners = {path.partition("/")[0] for path in asked.paths()}
    types = [owner for owner in owners if extends(owner, "xnat:imageScanData")]
    for row in rows:
        scans = [scan for scan in scans_of(row.item) if all(extends(scan.xsi_type, one) for one in types)]
        for scan in scans:
            yield Row(row.item, row.subject, row.session, scan, row.label)
        if not scans:
            yield row


def value_of(row: Row, path: str) -> str:
    """The field at the full *path* (``xnat:subjectData/label``) of the item of *row* that it is about; "" for none."""
    owner, _, rest = path.partition("/")
    relation = _relation(path)
    item: Item | None = row.item
    if relation == "subject" and not extends(row.item.xsi_type, "xnat:subjectData"):
        item = row.subject
    elif relation == "scan" and not extends(row.item.xsi_type, "xnat:imageScanData"):
        item, rest = row.scan, re.sub(r"(?i)^scans/scan/", "", rest)
        owner = owner if extends(owner, "xnat:imageScanData") else "xnat:imageScanData"
    elif relation == "assessor":
        item, rest, owner = row.assessor, rest[len("assessors/assessor/") :], "xnat:experimentData"
    elif not extends(row.item.xsi_type, owner) and row.session is not None:
        item = row.session
    if item is None or not extends(item.xsi_type, owner):
        return ""
    return _field(row, item, rest)


def _field(row: Row, item: Item, rest: str) -> str:
    """The field *rest* of *item*."""
    own = {
        "id": item.id,
        "label": row.label if item is row.item and row.label else item.label,
        "project": item.project,
        "extension_item/element_name": item.xsi_type,
        "meta/insert_date": item.inserted,
        "meta/insert_user/login": item.inserted_by,
        "meta/last_modified": item.modified,
        "subject_id": row.subject.id if row.subject else "",
        "image_session_id": row.session.id if row.session else "",
        "imagesession_id": row.session.id if row.session else "",
        "xnat_imagescandata_id": str(item.key),
        "xnat_reconstructedimagedata_id": str(item.key),
    }
    if rest.lower() in own:
        return own[rest.lower()]
    resolved = resolve(item.xsi_type, rest)
    return item.fields.get(resolved.path, "") if resolved else ""


def _matches(row: Row, path: str, wanted: str) -> bool:
    """Whether the field at *path* is what a filter wants: commas are *or*, ``%`` and ``*`` stand for anything."""
    value = value_of(row, path)
    owner, _, rest = path.partition("/")
    resolved = resolve(owner, rest)
    kind = kind_of(resolved.node) if resolved else "string"
    return any(_one_matches(value, part.strip(), kind) for part in wanted.split(","))


def _one_matches(value: str, wanted: str, kind: str) -> bool:
    if kind in {"date", "integer", "float"}:
        low, dash, high = wanted.partition("-")
        try:
            if dash and low and high:
                return bool(value) and _number(low, kind) <= _number(value, kind) <= _number(high, kind)
            return bool(value) and _number(value, kind) == _number(wanted, kind)
        except ValueError:
            return value == wanted
    if "%" in wanted or "*" in wanted:
        return fits(value.casefold(), re.split(r"[%*]+", wanted.casefold()))
    return value == wanted


def _number(text: str, kind: str) -> float:
    if kind != "date":
        return float(text)
    for pattern in ("%m/%d/%Y", "%Y-%m-%d"):
        try:
            return datetime.strptime(text.strip(), pattern).toordinal()  # noqa: DTZ007  a date has no zone
        except ValueError:
            continue
    raise ValueError(text)


def _sorted(values: list[dict[str, str]], query: Query) -> list[dict[str, str]]:
    """Sort by the columns that ``sortBy`` names, ignoring case, as PostgreSQL does; empty values last."""
    backwards = query.get("sortOrder").upper() == "DESC"
    for name in reversed([part.strip() for part in query.get("sortBy").split(",") if part.strip()]):
        values.sort(key=lambda one: ((text := one.get(name, "")) == "", text.casefold(), text), reverse=backwards)
    return values


def _page(values: list[dict[str, str]], query: Query) -> list[dict[str, str]]:
    start = _count(query.get("offset", "0"), 0)
    limit = query.get("limit", "100")
    return values[start:] if limit == "*" else values[start : start + _count(limit, 100)]


def _count(text: str, default: int) -> int:
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else default
