"""Resources for pages: number of files, bytes, and the first files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from xnatferry.server import resources

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from xnatferry.server.pages.page_path import PagePath
    from xnatferry.server.pages.receipts import Proofs, State
    from xnatferry.server.resources import Resource, StoredFile

#: Files of a resource that are listed on the page of its item; its own page lists all.
_FILES_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class ResourceSummary:
    """A resource on a page.

    Attributes:
        page_path: Its item.
        resource: The resource.
        files: How many files it holds.
        bytes: Their bytes.
        first: The first few of them, with what is known about their bytes.
    """

    page_path: PagePath
    resource: Resource
    files: int
    bytes: int
    first: Sequence[tuple[StoredFile, State]]

    @property
    def address(self) -> str:
        """Its page."""
        return self.page_path.resource_address(self.resource)


def resource_summaries(connection: sqlite3.Connection, page_path: PagePath, proofs: Proofs) -> list[ResourceSummary]:
    """The resources of the item of *page_path*."""
    found = []
    for one in resources.resources_of(connection, [page_path.item.key]):
        row = connection.execute("SELECT held_files, held_bytes FROM resources WHERE id = ?", (one.id,)).fetchone()
        first = [
            (file, proofs.state(page_path.ferry_address(one, file.name), file))
            for file in islice(resources.files_of(connection, [one]), _FILES_SHOWN)
        ]
        found.append(ResourceSummary(page_path, one, row["held_files"], row["held_bytes"], first))
    return found
