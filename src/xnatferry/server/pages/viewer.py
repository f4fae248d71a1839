"""The page of the 3-D viewer (NiiVue), which reads images from the archive's REST addresses with the login cookie."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from xnatferry.server.pages import static
from xnatferry.server.pages.page_path import page_path_of
from xnatferry.server.pages.rendering import page, page_route
from xnatferry.server.pages.viewable_files import offer_of
from xnatferry.server.request_scope import Refusal, Route, Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from xnatferry.server.pages.viewable_files import Offer, Viewable

#: NiiVue keeps its font and its textures as data addresses in its code.
_POLICY: Final[Mapping[str, str]] = {"img-src": "'self' data: blob:", "connect-src": "'self' data:"}


def view(scope: Scope) -> Response:
    """GET .../sessions/{experiment}/view?image=&overlay=&surface=&values=&layout=: files of the session only."""
    with scope.archive.database.read() as connection:
        page_path = page_path_of(connection, scope)
        offer = offer_of(connection, page_path)
    if not offer:
        raise Refusal(404, "This session has no image that the viewer can show")
    wanted = {name: scope.query.get(name) for name in ("image", "overlay", "surface", "values")}
    images = {**offer.volumes, **offer.labels}
    if wanted["image"] not in images:
        wanted["image"] = "" if wanted["surface"] in offer.surfaces else offer.first
    if not wanted["image"] and wanted["surface"] not in offer.surfaces:
        wanted["surface"] = next(iter(offer.surfaces), "")
    there = static.is_there(static.VIEWER_BUNDLE)
    return page(
        scope,
        "view",
        policy=_POLICY,
        page_path=page_path,
        crumbs=[*page_path.crumbs, ("View", f"{page_path.address}/view")],
        offer=offer,
        images=images,
        wanted=wanted,
        title=_title(offer, wanted),
        scene=json.dumps({**_scene(offer, images, wanted), "layout": scope.query.get("layout")}),
        bundle=static.address_of(static.VIEWER_BUNDLE) if there else "",
    )


def _scene(offer: Offer, images: Mapping[str, Viewable], wanted: Mapping[str, str]) -> dict[str, object]:
    """What the script is to load."""
    volumes = []
    if wanted["image"]:
        one = images[wanted["image"]]
        volumes.append({"url": one.url, "name": one.name, "labels": one.key in offer.labels})
    if wanted["image"] and wanted["overlay"] in images and wanted["overlay"] != wanted["image"]:
        one = images[wanted["overlay"]]
        volumes.append({"url": one.url, "name": one.name, "labels": one.key in offer.labels})
    layers = {one.name[:2]: one for one in offer.values.get(wanted["values"], [])}
    meshes = [
        {"url": one.url, "name": one.name, "layer": _layer(layers.get(one.name[:2]))}
        for one in offer.surfaces.get(wanted["surface"], [])
    ]
    return {"volumes": volumes, "meshes": meshes}


def _layer(one: Viewable | None) -> dict[str, str] | None:
    return {"url": one.url, "name": one.name} if one is not None else None


def _title(offer: Offer, wanted: Mapping[str, str]) -> str:
    key = wanted["image"] or wanted["surface"]
    found = offer.volumes.get(key) or offer.labels.get(key)
    return found.words if found else key.rpartition("/files/")[2]


ROUTES: Final = (
    Route(("GET",), "/projects/{project}/subjects/{subject}/sessions/{experiment}/view", page_route(view)),
)
