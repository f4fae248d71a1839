"""The archive's web pages, outside the paths of XNAT's REST API.

Addresses are readable and made of labels (``/projects/P/subjects/S/sessions/E``). Everything except the 3-D
viewer works without scripts. `xnatferry.server.access` decides what may be seen, as for the REST API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.server.pages import accounts, files, imports, login_page, pictures, projects, sessions, static, viewer

if TYPE_CHECKING:
    from xnatferry.server.request_scope import Route

#: Every page. They answer at the top of the site, never below ``/data``.
PAGE_ROUTES: Final[tuple[Route, ...]] = (
    *static.ROUTES,
    *login_page.ROUTES,
    *imports.ROUTES,
    *accounts.ROUTES,
    *projects.ROUTES,
    *sessions.ROUTES,
    *files.ROUTES,
    *pictures.ROUTES,
    *viewer.ROUTES,
)
_FAMILIES: Final = frozenset(route.template.split("/")[1] for route in PAGE_ROUTES)


def is_page(path: str) -> bool:
    """Whether *path* is that of a page: a browser without a login is redirected to the login page, not challenged."""
    return path.partition("/")[2].partition("/")[0] in _FAMILIES
