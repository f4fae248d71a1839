"""Files of a session that the 3-D viewer can show: volumes, label maps, surfaces and values on surfaces."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from xnatferry.server import objects, resources
from xnatferry.server.objects import Level
from xnatferry.xnat.model import quote_name

if TYPE_CHECKING:
    import sqlite3

    from xnatferry.server.pages.page_path import PagePath
    from xnatferry.server.resources import Resource

_VOLUME: Final = re.compile(r"\.(nii|nii\.gz|mgz|mgh)$", re.IGNORECASE)
#: Volumes whose numbers are names of structures (FreeSurfer's mri folder).
_LABELS: Final = re.compile(r"(^|/)(aseg|wmparc|ribbon|aparc[\w.]*\+aseg|[\w.+]*\.?aseg[\w.]*)\.(mgz|nii|nii\.gz)$")
_SURFACE: Final = re.compile(r"(?:^|(?<=/))(lh|rh)\.(pial|white|inflated|smoothwm|orig|sphere)$")
_VALUES: Final = re.compile(r"(?:^|(?<=/))(lh|rh)\.(thickness|sulc|curv|area|volume|[\w.]+\.annot)$")
#: The first of these that is there is shown first.
_BEST: Final = ("mri/brain.mgz", "mri/T1.mgz", "mri/orig.mgz")


@dataclass(frozen=True, slots=True)
class Viewable:
    """A file that the viewer can show.

    Attributes:
        key: Its path below the session, in the viewer's address.
        words: Its display name.
        url: Where its bytes are (REST).
        name: Its name, by which the viewer knows its format.
    """

    key: str
    words: str
    url: str
    name: str


@dataclass(slots=True)
class Offer:
    """All viewable files of a session.

    Attributes:
        volumes: Images that are no label maps.
        labels: Label maps.
        surfaces: Name of a surface (with its folder) to the files of its hemispheres.
        values: Name of a measure or annotation (with its folder) to the files of its hemispheres.
    """

    volumes: dict[str, Viewable] = field(default_factory=dict)
    labels: dict[str, Viewable] = field(default_factory=dict)
    surfaces: dict[str, list[Viewable]] = field(default_factory=dict)
    values: dict[str, list[Viewable]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.volumes or self.labels or self.surfaces)

    @property
    def first(self) -> str:
        """Key of the volume to begin with; "" when there is none."""
        for ending in _BEST:
            for key in self.volumes:
                if key.endswith(ending):
                    return key
        return next(iter(self.volumes), next(iter(self.labels), ""))


def is_viewable(name: str) -> bool:
    """Whether the viewer can show a file of that name by itself."""
    return bool(_VOLUME.search(name) or _SURFACE.search(name))


def is_volume(name: str) -> bool:
    """Whether a file of that name holds voxels."""
    return bool(_VOLUME.search(name))


def viewer_address(page_path: PagePath, resource: Resource, name: str) -> str:
    """The address of the viewer with a file of *resource* open."""
    key = _key(page_path, resource, name)
    surface = _SURFACE.search(name)
    word, shown = ("surface", _pair(key, surface)) if surface else ("image", key)
    return f"{_session(page_path).address}/view?{word}={quote(shown, safe='/')}"


def offer_of(connection: sqlite3.Connection, page_path: PagePath) -> Offer:
    """The viewable files of the session of *page_path*."""
    offer = Offer()
    session = page_path.item
    places = [page_path.at(item) for item in objects.children(connection, session, Level.SCAN)]
    places += [page_path, *(page_path.at(item) for item in objects.children(connection, session, Level.ASSESSOR))]
    for place in places:
        for resource in resources.resources_of(connection, [place.item.key]):
            for file in resources.files_of(connection, [resource]):
                _add(offer, place, resource, file.name)
    return offer


def _add(offer: Offer, place: PagePath, resource: Resource, name: str) -> None:
    key = _key(place, resource, name)
    url = f"{place.rest_files(resource)}/{quote_name(name)}"
    scan = f"{place.below.label} {place.below.fields.get('type', '')}: " if place.below is not None else ""
    one = Viewable(key, f"{scan}{name}", url, name.rpartition("/")[2])
    if _LABELS.search(name):
        offer.labels[key] = one
    elif _VOLUME.search(name):
        offer.volumes[key] = one
    elif found := _SURFACE.search(name):
        offer.surfaces.setdefault(_pair(key, found), []).append(one)
    elif found := _VALUES.search(name):
        offer.values.setdefault(_pair(key, found), []).append(one)


def _key(place: PagePath, resource: Resource, name: str) -> str:
    return place.file_address(resource, name).removeprefix(_session(place).address + "/")


def _pair(key: str, found: re.Match[str]) -> str:
    """The key of both hemispheres' files: without the name of the hemisphere."""
    folder, slash, _ = key.rpartition("/")
    return f"{folder}{slash}{found[2]}"


def _session(page_path: PagePath) -> PagePath:
    return page_path if page_path.below is None else page_path.above
