"""Decodes listings and items of different XNAT versions into one form."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.sax.saxutils import unescape

from xnatferry.errors import NotXnatError
from xnatferry.xnat.digest import normal_digest
from xnatferry.xnat.records import RemoteFile
from xnatferry.xnat.result_set import Row, TableError, decode_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xnatferry.client.responses import ServerResponse

#: ``data_fields`` of an item, with its data type under ``xsi:type``.
Item = dict[str, str]

#: Columns with parts of a path.
_PATHS = frozenset({"URI", "Name"})
_IN_RESOURCE = re.compile(r"/resources/([^/]+)/files/(.*)", re.DOTALL)
_OWNER = re.compile(r"/(scans|assessors|reconstructions)/([^/]+)/")


def decode_listing(response: ServerResponse, columns: Sequence[str] = ()) -> list[Row]:
    """The rows of a ``ResultSet``.

    Args:
        response: A listing asked for as JSON.
        columns: Names of columns in the result, whatever their case or path in the listing.

    Raises:
        NotXnatError: The answer is not a listing.
    """
    try:
        rows = decode_rows(response.text)
    except TableError:
        raise NotXnatError(
            f"{response.url.partition('?')[0]}: the answer is not an XNAT listing; check the server address",
            status=response.status,
            method=response.method,
            url=response.url.partition("?")[0],
        ) from None
    return [_with_columns({key: _plain(key, value) for key, value in row.items()}, columns) for row in rows]


def remote_file(row: Row) -> RemoteFile:
    """A file from its row. Only the URI has the path in the resource; ``Name`` is its last part.

    The name is not decoded: it is stored like this, is the name in downloaded zips, and is requested like this.

    Rows of 1.6.4 have no digest, and rows of 1.8 an empty one if checksums are disabled.
    """
    low = {key.lower(): value for key, value in row.items()}
    uri = low.get("uri") or ""
    inside = _IN_RESOURCE.search(uri)
    if inside is not None:
        name = inside[2]
    else:
        _, found, name = uri.partition("/files/")
        name = name if found else low.get("name", "")
    before = uri[: inside.start()] if inside is not None else uri
    owner = {found[1]: unquote(found[2]) for found in _OWNER.finditer(f"{before}/")}
    size = low.get("size", "").strip()
    return RemoteFile(
        resource=low.get("collection") or (unquote(inside[1]) if inside is not None else ""),
        name=name,
        size_bytes=int(size) if size.isdecimal() else 0,
        digest=normal_digest(low.get("digest")),
        uri=uri,
        scan=owner.get("scans"),
        assessor=owner.get("assessors"),
        reconstruction=owner.get("reconstructions"),
        format=low.get("file_format", ""),
        content=low.get("file_content", ""),
        tags=low.get("file_tags", ""),
    )


def decode_item(response: ServerResponse) -> Item:
    """The fields of the one item in an item JSON, by path; ``meta`` only for ``xsi:type``.

    Raises:
        NotXnatError: The answer is not an item.
    """
    return item_fields(first_item(response))


def first_item(response: ServerResponse) -> dict[str, Any]:
    """The first item of an item JSON, as it is; the others are older versions of it.

    Raises:
        NotXnatError: The answer is not an item.
    """
    try:
        item: Any = json.loads(response.text)["items"][0]
        fields, meta = item["data_fields"], item.setdefault("meta", {})
        if isinstance(fields, dict) and isinstance(meta, dict) and isinstance(item.setdefault("children", []), list):
            return dict(item)
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise not_an_item(response)


def not_an_item(response: ServerResponse) -> NotXnatError:
    """The error for an answer that is not an item although one was requested."""
    return NotXnatError(
        f"{response.url.partition('?')[0]}: the answer is not an XNAT item; check the server address",
        status=response.status,
        method=response.method,
        url=response.url.partition("?")[0],
    )


def item_fields(item: Mapping[str, Any]) -> Item:
    """The ``data_fields`` of one item of an item JSON, with its data type under ``xsi:type``."""
    fields = {str(key): "" if value is None else str(value) for key, value in item["data_fields"].items()}
    return {**fields, "xsi:type": str(item.get("meta", {}).get("xsi:type", ""))}


def _plain(key: str, value: str) -> str:
    """The value without XML entities, with which XNAT stores query parameters (``TurbineUtils.escapeParam``)."""
    if "&" not in value or key in _PATHS:
        return value
    return unescape(value, {"&quot;": '"', "&apos;": "'"})


def _with_columns(row: Row, columns: Sequence[str]) -> Row:
    if not columns:
        return row
    low = {key.lower().rpartition("/")[2]: value for key, value in row.items()}
    low |= {key.lower(): value for key, value in row.items()}
    return {**row, **{column: row.get(column) or low.get(column.lower(), "") for column in columns}}
