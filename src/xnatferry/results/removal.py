"""Lists what a removal deletes, and checks that it is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from xnatferry.errors import NotFoundError
from xnatferry.results.remote_tree import Node, read_tree
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from xnatferry.client.remote import Remote


#: Levels from an address down to resources.
_DOWN: Final = {Level.PROJECT: 4, Level.SUBJECT: 3}


@dataclass(frozen=True, slots=True)
class RemovalSummary:
    """Everything at and below an address.

    Attributes:
        nodes: The objects, containers first.
        files: Number of files in them.
        size_bytes: Their size.
        shared: Sessions shared from other projects: only the share is removed, their files are kept.
    """

    nodes: tuple[Node, ...]
    files: int
    size_bytes: int
    shared: tuple[Address, ...] = ()


def removal_summary(remote: Remote, address: Address) -> RemovalSummary:
    """List everything that a removal of *address* deletes, down to resources.

    Raises:
        NotFoundError: *address* does not exist.
    """
    nodes = read_tree(remote, address, depth=_DOWN.get(address.level))
    if address.level is Level.FILE:
        nodes = [node for node in nodes if node.address == address]
        return RemovalSummary(tuple(nodes), len(nodes), sum(node.size_bytes for node in nodes))
    shared = [node for node in nodes if "shared" in node.attributes]
    files = (nodes[0].files or 0) - sum(node.files or 0 for node in shared)
    size = nodes[0].size_bytes - sum(node.size_bytes for node in shared)
    return RemovalSummary(tuple(nodes), files, size, tuple(node.address for node in shared))


def leftovers(remote: Remote, address: Address) -> list[str]:
    """What the server still lists at *address*; empty when it is removed."""
    try:
        return [str(node.address) for node in read_tree(remote, address)]
    except NotFoundError:
        return []
