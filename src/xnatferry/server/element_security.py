"""Element security: the data types that a site has set up, which clients list, search and offer for making.

XNAT gives rights to a type when an administrator sets it up: only such types are listed and may be deleted, items of
others are stored, and are read by their path. A stock site has set up the types of the vendor's
``init_security_000.sql``; a strict archive has these. Any other archive has set up all types, so that nothing stored is
hidden, and offers the stock ones and those that it holds.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from xnatferry.server.request_scope import Refusal
from xnatferry.xnat.datatypes import data_type, extends

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from xnatferry.server.objects import Item
    from xnatferry.server.settings import ServerSettings


class ElementName(NamedTuple):
    """What people call a data type: one, and several."""

    singular: str
    plural: str


#: Types that only others extend; nobody sets them up.
_ABSTRACT: Final = frozenset(
    {"xnat:experimentData", "xnat:subjectAssessorData", "xnat:imageSessionData", "xnat:imageAssessorData"}
)
#: Types that a stock site has set up, in the order in which XNAT lists them.
STOCK: Final = {
    "xnat:projectData": ElementName("Project", "Projects"),
    "xnat:subjectData": ElementName("Subject", "Subjects"),
    "xnat:mrSessionData": ElementName("MR Session", "MR Sessions"),
    "xnat:ctSessionData": ElementName("CT Session", "CT Sessions"),
    "xnat:petmrSessionData": ElementName("PET MR Session", "PET MR Sessions"),
    "xnat:crSessionData": ElementName("CR Session", "CR Sessions"),
    "xnat:petSessionData": ElementName("PET Session", "PET Sessions"),
    "xnat:qcAssessmentData": ElementName("Auto QC", "Auto QCs"),
    "xnat:qcManualAssessorData": ElementName("Manual QC", "Manual QCs"),
    "xnat:pVisitData": ElementName("Visit", "Visits"),
}


def is_set_up(settings: ServerSettings, type_name: str) -> bool:
    """Whether the site has set up the type *type_name*; types that are no experiments need it not."""
    if settings.strict and extends(type_name, "xnat:experimentData"):
        return type_name in STOCK
    return type_name not in _ABSTRACT and data_type(type_name) is not None


def require_set_up(settings: ServerSettings, items: Iterable[Item]) -> None:
    """Refuse to delete experiments whose type nobody has rights to.

    Raises:
        Refusal: 403, with XNAT's words.
    """
    for item in items:
        if not is_set_up(settings, item.xsi_type):
            raise Refusal(403, f"User cannot delete experiments for project {item.project}")


def element_name(type_name: str) -> ElementName:
    """What people call *type_name*; of a type that is not set up, its element in words."""
    if type_name in STOCK:
        return STOCK[type_name]
    of_type = data_type(type_name)
    element = (of_type.element if of_type else "") or type_name.partition(":")[2]
    words = re.sub(r"([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", element)
    return ElementName(words, f"{words}s")


def offered_types(connection: sqlite3.Connection, settings: ServerSettings, projects: Iterable[str]) -> list[str]:
    """The types that a site offers: the stock ones, and those set up of which *projects* (IDs) hold items."""
    kept, found = set(projects), dict.fromkeys(STOCK)
    for row in connection.execute("SELECT DISTINCT xsi_type, project FROM items WHERE level <> 'scan' ORDER BY 1"):
        if row["project"] in kept and is_set_up(settings, row["xsi_type"]):
            found[row["xsi_type"]] = None
    return list(found)


def display_of(type_name: str) -> dict[str, object]:
    """What ``/xapi/access/displays`` says of a type (``ElementDisplayModel``)."""
    name = element_name(type_name)
    kinds = {
        "experiment": "experimentData",
        "subjectAssessor": "subjectAssessorData",
        "imageAssessor": "imageAssessorData",
        "imageSession": "imageSessionData",
        "imageScan": "imageScanData",
    }
    return {
        "elementName": type_name,
        "properName": (of_type.element if (of_type := data_type(type_name)) else "") or name.singular,
        "singular": name.singular,
        "plural": name.plural,
        "xsDescription": of_type.description if of_type else "",
        "supportsBrief": True,
        "supportsDetailed": True,
        "actions": {},
        **{key: extends(type_name, f"xnat:{base}") for key, base in kinds.items()},
    }
