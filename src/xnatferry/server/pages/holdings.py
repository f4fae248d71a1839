"""Resources as pages show them: with what they hold, and the first of their files."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Final

from xnatferry.server import resources

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from xnatferry.server.pages.receipts import Proofs, State
    from xnatferry.server.pages.standing import Standing
    from xnatferry.server.resources import Resource, StoredFile

__all__ = ["HeldResource", "held_resources"]

#: Files of a resource that are listed on the page of what it hangs on; all of them are on its own page.
_FILES_SHOWN: Final = 8


@dataclass(frozen=True, slots=True)
class HeldResource:
    """A resource on a page.

    Attributes:
        standing: What it hangs on.
        resource: The resource.
        files: How many files it holds.
        bytes: Their bytes.
        first: The first few of them, with what is known about their bytes.
    """

    standing: Standing
    resource: Resource
    files: int
    bytes: int
    first: Sequence[tuple[StoredFile, State]]

    @property
    def address(self) -> str:
        """Its page."""
        return self.standing.resource_address(self.resource)


def held_resources(connection: sqlite3.Connection, standing: Standing, proofs: Proofs) -> list[HeldResource]:
    """The resources that hang on what *standing* stands at."""
    found = []
    for one in resources.resources_of(connection, [standing.item.key]):
        row = connection.execute("SELECT held_files, held_bytes FROM resources WHERE id = ?", (one.id,)).fetchone()
        first = [
            (file, proofs.state(standing.ferry_address(one, file.name), file))
            for file in islice(resources.files_of(connection, [one]), _FILES_SHOWN)
        ]
        found.append(HeldResource(standing, one, row["held_files"], row["held_bytes"], first))
    return found
