"""Finds fields that a server refuses, ignores or stores differently.

XNAT ignores an unknown field in a query (200), refuses a document with an unknown field (422) and an invalid value
(400), removes fractions of seconds, and moves a date like 31 February to March (recorded: 1.8.11). Only reading the
object afterwards shows what was stored.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from xnatferry.errors import RefusedError
from xnatferry.xnat.records import Attributes, FieldChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from xnatferry.client.responses import ServerResponse
    from xnatferry.xnat.records import ScanDocument

#: Statuses of a request whose content is refused.
_REFUSED_CONTENT = frozenset({400, 422})
_TYPE_PREFIX = re.compile(r"^[a-z]\w*:\w+/")
_TYPE_BRACKET = re.compile(r"\[@xsi:type=[^\]]*\]")


def with_fields_taken(
    put: Callable[[Mapping[str, str]], ServerResponse], fields: Mapping[str, str]
) -> tuple[ServerResponse, dict[str, str]]:
    """Send an object with as many of *fields* as the server accepts.

    If the server refuses the request and names fields, it is sent again without these; if it names none, without any.

    Args:
        put: Sends the object with some fields.
        fields: All fields.

    Returns:
        The answer of the server, and the fields that were not sent.

    Raises:
        RemoteError: The object itself is refused; the message is that of the first refusal.
    """
    left = dict(fields)
    first: RefusedError | None = None
    while True:
        try:
            return put(left), {path: value for path, value in fields.items() if path not in left}
        except RefusedError as error:
            first = first or error
            if error.status not in _REFUSED_CONTENT:
                raise
            if not left:
                raise first from None
            words = set(re.findall(r"\w+", str(error).partition(" [")[0]))
            named = {path for path in left if _name(path) in words}
        left = {path: value for path, value in left.items() if path not in named} if named else {}


def field_changes(
    sent: Mapping[str, str], held: Attributes, scans: Sequence[ScanDocument] = ()
) -> tuple[FieldChange, ...]:
    """Compare the fields that were sent, of an object and of its scans, with those that the server returns."""
    found = list(_compared(sent, held, ""))
    for scan in scans:
        found += _compared(scan.fields, held.scans.get(scan.id, Attributes("")), f"scan {scan.id}")
    return tuple(found)


def _compared(sent: Mapping[str, str], held: Attributes, part: str) -> Iterator[FieldChange]:
    stored = {_plain(path): value for path, value in held.fields.items()}
    by_name: dict[str, str | None] = {}
    for path, value in stored.items():  # a short name is used if only one path ends with it
        name = path.rpartition("/")[2]
        by_name[name] = None if name in by_name else value
    unreadable = {_plain(path) for path in held.unsettable}
    for path, value in sent.items():
        plain = _plain(path)
        if value == "" or re.search(r"\[\d+\]", plain) or any(plain.startswith(above) for above in unreadable):
            continue
        there = stored.get(plain, by_name.get(plain) if "/" not in plain else None)
        if there is None or not _same(value, there):
            yield FieldChange(part, path, value, there)


def _plain(path: str) -> str:
    return _TYPE_BRACKET.sub("", _TYPE_PREFIX.sub("", path)).replace("@", "").lower()


def _name(path: str) -> str:
    """The name of a field in a refusal: the last element of its path, without brackets and without the scan."""
    return re.split(r"[/\n]", path)[-1].partition("[")[0].lstrip("@")


def _same(sent: str, stored: str) -> bool:
    """Whether two texts are the same value in XNAT, which collapses blanks and writes ``2000.0`` for ``2000``."""
    if " ".join(sent.split()) == " ".join(stored.split()):
        return True
    if {sent.lower(), stored.lower()} in ({"true", "1"}, {"false", "0"}):
        return True
    try:
        one, other = float(sent), float(stored)
    except ValueError:
        return False
    return one == other or abs(one - other) <= 1e-6 * max(abs(one), abs(other))  # stored in single precision
