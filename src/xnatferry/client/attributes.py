"""All attributes of an object, as a whole: what its item JSON says of it and of the scans and assessors in it.

``data_fields`` hold what the schema flattens; named contents (``demographics``) and elements of lists
(``fields/field``) are children. Here they are one flat mapping of paths in the spelling that a ``PUT`` takes:
``demographics[@xsi:type=xnat:demographicData]/gender``, ``fields/field[name=site]/field``.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import unescape

from xnatferry.errors import NotXnatError
from xnatferry.xnat.records import Attributes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xnatferry.client.responses import ServerResponse

__all__ = ["decode_attributes"]

#: Lists of items that have addresses of their own, or belong to one server alone.
_OWN_ADDRESS = re.compile(
    r"(scans/scan|assessors/assessor|experiments/experiment|reconstructions/reconstructedImage|regions/region"
    r"|resources/resource|sharing/share|(in|out)/file|file|studyProtocol|publications/.*)"
)
#: What a server makes itself: accession IDs, keys of rows (``xnat_imageScanData_id``), places on its disk.
_SERVER_MADE = re.compile(
    r"ID|id|project|label|subject_ID|image_?session_ID|prearchivePath|URI|\w+_\w+_id", re.IGNORECASE
)
_PART_LABELS = {"scans/scan": "ID", "assessors/assessor": "label"}
#: A name that may stand in brackets of a path.
_NAMEABLE = re.compile(r"[^\[\]/'\"=]+")


def decode_attributes(response: ServerResponse) -> Attributes:
    """Read the first item of an item JSON; earlier forms of it stand behind.

    Raises:
        NotXnatError: The answer is no item.
    """
    try:
        return _facts(json.loads(response.text)["items"][0])
    except (ValueError, LookupError, TypeError, AttributeError):
        url = response.url.partition("?")[0]
        raise NotXnatError(
            f"{url} answers with something that is no item; is this an XNAT?",
            status=response.status,
            method=response.method,
            url=url,
        ) from None


def _facts(item: Mapping[str, Any]) -> Attributes:
    fields: dict[str, str] = {}
    unspoken: list[str] = []
    parts: dict[str, dict[str, Attributes]] = {path: {} for path in _PART_LABELS}
    for child in item.get("children", ()):
        if child["field"] in parts:
            named = ((str(one["data_fields"].get(_PART_LABELS[child["field"]], "")), one) for one in child["items"])
            parts[child["field"]] |= {label: _facts(one) for label, one in named if label}
    for path, value in _walk(item, ""):
        if value is None:
            unspoken.append(path)
        else:
            fields[path] = value
    own = item["data_fields"]
    return Attributes(
        str(item.get("meta", {}).get("xsi:type", "")),
        fields,
        tuple(unspoken),
        parts["scans/scan"],
        parts["assessors/assessor"],
        str(own.get("subject_ID") or ""),
    )


def _walk(item: Mapping[str, Any], above: str) -> Iterator[tuple[str, str | None]]:
    """Every path with its value; None for what no path can name."""
    for key, value in item["data_fields"].items():
        if value is not None and str(value) != "" and not _SERVER_MADE.fullmatch(key):
            yield above + key, _text(value)
    for child in item.get("children", ()):
        path = child["field"]
        if _OWN_ADDRESS.fullmatch(path):
            continue
        inner = child["items"]
        for one in inner:
            name = str(one["data_fields"].get("name") or "")
            listed = name != "" or len(inner) > 1
            if listed and _NAMEABLE.fullmatch(name):
                named = (pair for pair in _walk(one, f"{above}{path}[name={name}]/"))
                yield from ((at, value) for at, value in named if not at.endswith("]/name"))
            elif listed:
                yield above + path, None
            else:
                kind = str(one.get("meta", {}).get("xsi:type", ""))
                bracket = f"[@xsi:type={kind}]" if path == "demographics" and kind else ""
                yield from _walk(one, f"{above}{path}{bracket}/")


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    # Values that came in by a query are stored with their XML entities (``TurbineUtils.escapeParam``).
    return unescape(str(value), {"&quot;": '"', "&apos;": "'"})
