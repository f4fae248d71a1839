"""XNAT's catalog XML: what a resource holds, in the namespace ``http://nrg.wustl.edu/catalog``.

Shape read from ``CatCatalogBean`` and ``CatEntryBean`` and recorded from a genuine server: one ``cat:entry`` a file,
with its path below the resource in ``URI``, its MD5 in ``digest`` and its size in the metafield ``SIZE`` (older
servers: ``size_in_bytes``). Pure: text in, values out, and back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.xnat.xml import XmlError, read_xml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

_NAMESPACE = "http://nrg.wustl.edu/catalog"
_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"
_SIZE_FIELDS = ("SIZE", "size_in_bytes")

# Line breaks and tabs inside an attribute become blanks when read unless they are written as references; other control
# characters cannot stand in XML 1.0 at all.
_ESCAPED = dict.fromkeys(range(0x20), "\ufffd") | {
    ord("\n"): "&#10;",
    ord("\r"): "&#13;",
    ord("\t"): "&#9;",
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord('"'): "&quot;",
    0xFFFE: "\ufffd",
    0xFFFF: "\ufffd",
}


class CatalogError(ValueError):
    """The text is no catalog."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """One file of a catalog.

    Attributes:
        name: Path inside the resource, with ``/`` (attribute ``URI``).
        size_bytes: Size, or None where the catalog says none.
        digest: MD5 as 32 hex digits, or "".
        format: Format, e.g. ``NIFTI``.
        content: Content, e.g. ``T1w``.
        description: Free words.
        tags: Tags in the order given.
        created_by: Login of who stored it.
        created_at: Local time, ``2024-01-02T03:04:05.678``.
        modified_by: Login of who replaced it last, or "".
        modified_at: When, or "".
        created_event, modified_event: Numbers of the events that did so, or "".
    """

    name: str
    size_bytes: int | None = None
    digest: str = ""
    format: str = ""
    content: str = ""
    description: str = ""
    tags: tuple[str, ...] = ()
    created_by: str = ""
    created_at: str = ""
    modified_by: str = ""
    modified_at: str = ""
    created_event: str = ""
    modified_event: str = ""


@dataclass(frozen=True, slots=True)
class Catalog:
    """A catalog: the name of the resource and its files.

    Attributes:
        id: Name of the catalog, normally the label of the resource.
        entries: Its files.
        meta: Metafields of the catalog itself, e.g. ``CATALOG_LOCATION``.
    """

    id: str
    entries: Sequence[CatalogEntry] = ()
    meta: Mapping[str, str] = field(default_factory=dict)


def encode_catalog(catalog: Catalog) -> str:
    """Write *catalog* as XNAT does, a line an element.

    ``<cat:Catalog`` stands on the line right after the XML declaration: xnatpy recognises a catalog by that.
    """
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<cat:Catalog{_attributes(ID=catalog.id)} xmlns:cat="{_NAMESPACE}" xmlns:xsi="{_INSTANCE}">',
    ]
    lines += _meta_lines(catalog.meta, "")
    if catalog.entries:
        lines.append("<cat:entries>")
        for entry in catalog.entries:
            lines += _entry_lines(entry)
        lines.append("</cat:entries>")
    lines.append("</cat:Catalog>")
    return "\n".join(lines) + "\n"


def _entry_lines(entry: CatalogEntry) -> Iterator[str]:
    attributes = _attributes(
        ID=entry.name,
        URI=entry.name,
        cachePath=entry.name,
        name=entry.name.rpartition("/")[2],
        description=entry.description,
        format=entry.format,
        content=entry.content,
        createdBy=entry.created_by,
        createdTime=entry.created_at,
        createdEventId=entry.created_event,
        modifiedBy=entry.modified_by,
        modifiedTime=entry.modified_at,
        modifiedEventId=entry.modified_event,
        digest=entry.digest,
    )
    meta = {} if entry.size_bytes is None else {_SIZE_FIELDS[0]: str(entry.size_bytes)}
    if not meta and not entry.tags:
        yield f"\t<cat:entry{attributes}/>"
        return
    yield f"\t<cat:entry{attributes}>"
    yield from _meta_lines(meta, "\t\t")
    if entry.tags:
        yield "\t\t<cat:tags>"
        for tag in entry.tags:
            yield f"\t\t\t<cat:tag>{_escaped(tag)}</cat:tag>"
        yield "\t\t</cat:tags>"
    yield "\t</cat:entry>"


def _meta_lines(meta: Mapping[str, str], indent: str) -> Iterator[str]:
    if meta:
        yield f"{indent}<cat:metaFields>"
        for name, value in meta.items():
            yield f"{indent}\t<cat:metaField{_attributes(name=name)}>{_escaped(value)}</cat:metaField>"
        yield f"{indent}</cat:metaFields>"


def _attributes(**values: str) -> str:
    return "".join(f' {name}="{_escaped(value)}"' for name, value in values.items() if value)


def _escaped(text: str) -> str:
    return text.translate(_ESCAPED)


def decode_catalog(text: str | bytes) -> Catalog:
    """Read a catalog, also one of imported DICOM (``cat:DCMCatalog``) and one of an older server.

    Raises:
        CatalogError: The text is no XML, declares entities, or is no catalog.
    """
    try:
        root = read_xml(text)
    except XmlError as error:
        raise CatalogError(f"not a catalog: {error}") from error
    if root.tag not in {f"{{{_NAMESPACE}}}Catalog", f"{{{_NAMESPACE}}}DCMCatalog"}:
        raise CatalogError(f"not a catalog: its root is {root.tag!r}")
    entries = tuple(_entry(found) for found in root.iterfind(f"{{{_NAMESPACE}}}entries/{{{_NAMESPACE}}}entry"))
    return Catalog(id=root.get("ID") or root.get("UID") or "", entries=entries, meta=_meta(root))


def _entry(element: Element) -> CatalogEntry:
    name = element.get("URI") or element.get("ID")
    if not name:
        raise CatalogError("a file of the catalog has no name")
    meta = _meta(element)
    size = next((meta[key] for key in _SIZE_FIELDS if meta.get(key, "").isdecimal()), None)
    tags = element.iterfind(f"{{{_NAMESPACE}}}tags/{{{_NAMESPACE}}}tag")
    return CatalogEntry(
        name=name,
        size_bytes=None if size is None else int(size),
        digest=element.get("digest", ""),
        format=element.get("format", ""),
        content=element.get("content", ""),
        description=element.get("description", ""),
        tags=tuple(tag.text or "" for tag in tags),
        created_by=element.get("createdBy", ""),
        created_at=element.get("createdTime", ""),
        modified_by=element.get("modifiedBy", ""),
        modified_at=element.get("modifiedTime", ""),
        created_event=element.get("createdEventId", ""),
        modified_event=element.get("modifiedEventId", ""),
    )


def _meta(element: Element) -> dict[str, str]:
    fields = element.iterfind(f"{{{_NAMESPACE}}}metaFields/{{{_NAMESPACE}}}metaField")
    return {name: found.text or "" for found in fields if (name := found.get("name"))}
