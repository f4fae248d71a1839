"""Listings of items: XNAT's columns, filters, sorting and paging (``QueryOrganizer``, xnat-rest.md 11).

A listing has a *root* type. Columns and filters name fields by short name or by path; a path of a type that extends the
root narrows the listing to that type. The header of a column is the short name whose path it is, else the path in lower
case; beside what is asked for stand the key of the root type and ``URI``, as recorded from a genuine server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_plus

from xnatferry.server.element_security import is_set_up
from xnatferry.server.fields import short_names
from xnatferry.server.joins import join, target_of, value_at
from xnatferry.server.request_scope import Refusal
from xnatferry.server.wildcards import fits
from xnatferry.xnat.datatypes import data_type, extends, kind_of, resolve, type_names
from xnatferry.xnat.result_set import Table

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xnatferry.server.joins import Row, Target
    from xnatferry.server.request_scope import Query, Scope

_SUBJECT_NAMES: Final = {
    "subject_label": "xnat:subjectData/label",
    "subject_project": "xnat:subjectData/project",
}
_SESSION_NAMES: Final = {
    "session_ID": "xnat:imageSessionData/ID",
    "session_label": "xnat:imageSessionData/label",
    "session_project": "xnat:imageSessionData/project",
}
#: Kinds of values that filters compare by size.
_ORDERED: Final = frozenset({"date", "integer", "float"})


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
        mixed: Whether rows of several types show their type and project beside the columns asked for.
        silent: Whether a request that cannot be answered is answered with an empty 200, as ``ProjSubExptList`` does.
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
    mixed: bool = False
    silent: bool = False


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


def table_of(listing: Listing, scope: Scope, rows: Sequence[Row], connection: sqlite3.Connection) -> Table:
    """The listing of *rows* that the query of *scope* asks for.

    With ``fields=`` it lists the short names instead (11.4).

    Raises:
        Refusal: 500, a column or filter names a field that is none, or a filter's value has the wrong form; as an empty
            200 where XNAT says nothing of it.
    """
    try:
        return _table(listing, scope, rows, connection)
    except LookupError as error:
        raise Refusal(200, bare=True) if listing.silent else Refusal(500) from error


def _table(listing: Listing, scope: Scope, rows: Sequence[Row], connection: sqlite3.Connection) -> Table:
    query = scope.query
    asked = _read(listing, scope)
    if query.has("fields"):
        return Table(("key", "xpath"), [{"key": name, "xpath": path} for name, path in asked.names.items()])
    targets = {path: _target(asked, path) for path in asked.paths()}
    kept = [row for row in rows if extends(row.item.xsi_type, asked.root)]
    kept = join(connection, kept, targets.values())
    kept = [row for row in kept if all(_matches(row, targets[path], wanted) for path, wanted in asked.filters)]
    values = [{one.header: value_at(row, targets[one.path]) for one in asked.columns} for row in kept]
    for value, row in zip(values, kept, strict=True):
        value["URI"] = listing.uri(row)
    headers = list(dict.fromkeys([*(one.header for one in asked.columns), "URI"]))
    if any(target.lists for target in targets.values()):
        # XNAT unites what a project owns with what is shared into it: equal rows are there once (buildFullQuery).
        values = list({tuple(value.values()): value for value in values}.values())
    values = _sorted(values, query)
    paged = listing.paged and (query.has("limit") or query.has("offset"))
    if paged:
        values = _page(values, query)
    return Table(headers, values, title=listing.title, counted=not paged)


def _target(asked: _Asked, path: str) -> Target:
    """What *path* leads to.

    Raises:
        LookupError: It is no field, or nothing joins it with the root.
    """
    target = target_of(asked.root, path)
    if target is None:
        raise LookupError(path)
    return target


def _read(listing: Listing, scope: Scope) -> _Asked:
    query = scope.query
    asked = _Asked(listing, query, root=listing.root)
    narrowed = query.get("xsiType")
    of_type = data_type(narrowed) if narrowed and "," not in narrowed else None
    if of_type is not None:
        asked.root = of_type.name
    elif narrowed and "," not in narrowed:
        raise LookupError(narrowed)
    asked.names = _names(listing.root, asked.root)
    wanted = _wanted(asked)
    filters = list(_filters(asked)) if listing.filtered else []
    paths = [path for name in wanted if (path := asked.path_of(name))]
    if of_type is None:
        for path in [*paths, *(path for path, _ in filters)]:
            _narrow(asked, path)
    # A filter on a field that is none is passed over (QueryOrganizerResource.processQueryCriteria).
    asked.filters = [(path, value) for path, value in filters if _checked(target_of(asked.root, path), value)]
    key = _Column(listing.key, asked.names[listing.key])
    if listing.typed_key:
        key = _Column(asked.header_of(f"{asked.root}/ID"), f"{asked.root}/ID")
    elif asked.root != listing.root and extends(asked.root, "xnat:imageScanData"):
        key = _Column(f"{asked.root.lower()}/{listing.key}", key.path)
    columns = [key, *(_Column(asked.header_of(path), path) for path in paths)]
    if query.has("columns") and listing.mixed and not is_set_up(scope.archive.settings, asked.root):
        columns += [_Column(name, asked.names[name]) for name in ("xsiType", "project") if name in asked.names]
    concrete = asked.root not in {"xnat:subjectAssessorData", "xnat:imageSessionData", "xnat:imageAssessorData"}
    if concrete and any(path.startswith("xnat:subjectData/") for path in paths) and listing.typed_key:
        columns.append(_Column(f"{asked.root.lower()}/subject_id", f"{asked.root}/subject_ID"))
    asked.columns = list({one.header: one for one in columns}.values())
    return asked


def _checked(target: Target | None, wanted: str) -> bool:
    """Whether there is a field to filter; LookupError when *wanted* has not the form of its values."""
    if target is not None and (kind := _kind(target)) in _ORDERED:
        for part in wanted.split(","):
            _bounds(part.strip(), kind)
    return target is not None


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
    """Let *path* narrow the root to its own type."""
    owner = path.partition("/")[0]
    if owner != asked.root and extends(owner, asked.root):
        asked.root = owner


def _matches(row: Row, target: Target, wanted: str) -> bool:
    """Whether the field of *target* is what a filter wants: commas are *or*, ``%`` and ``*`` stand for anything."""
    value, kind = value_at(row, target), _kind(target)
    return any(_one_matches(value, part.strip(), kind) for part in wanted.split(","))


def _kind(target: Target) -> str:
    resolved = resolve(target.owner, target.path)
    return kind_of(resolved.node) if resolved else "string"


def _one_matches(value: str, wanted: str, kind: str) -> bool:
    if kind in _ORDERED:
        low, high = _bounds(wanted, kind)
        try:
            return bool(value) and low <= _number(value, kind) <= high
        except LookupError:
            return False
    if "%" in wanted or "*" in wanted:
        return fits(value.casefold(), re.split(r"[%*]+", wanted.casefold()))
    return value == wanted


def _bounds(wanted: str, kind: str) -> tuple[float, float]:
    """The ends of ``LOW-HIGH``, or the same value twice. A ``-`` always parts two values, also in ``2020-01-02``."""
    low, dash, high = wanted.partition("-")
    return _number(low, kind), _number(high if dash else low, kind)


def _number(text: str, kind: str) -> float:
    """What a date or number counts as.

    Raises:
        LookupError: It is none; the database of XNAT refuses the whole search.
    """
    try:
        return float(text) if kind != "date" else _date(text)
    except ValueError as error:
        raise LookupError(text) from error


def _date(text: str) -> int:
    pattern = "%m/%d/%Y" if "/" in text else "%Y-%m-%d"
    return datetime.strptime(text.strip(), pattern).toordinal()  # noqa: DTZ007  a date has no zone


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
