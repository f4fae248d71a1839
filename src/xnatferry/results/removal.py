"""Lists what a removal deletes, and checks that it is removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xnatferry.errors import NotFoundError
from xnatferry.results.remote_tree import Node, read_tree
from xnatferry.xnat.model import Address, Level

if TYPE_CHECKING:
    from xnatferry.client.remote import Remote

__all__ = ["RemovalSummary", "leftovers", "removal_summary"]


@dataclass(frozen=True, slots=True)
class RemovalSummary:
    """Everything at and below an address.

    Attributes:
        nodes: The objects, containers first.
        files: Number of files in them.
        size_bytes: Their size.
    """

    nodes: tuple[Node, ...]
    files: int
    size_bytes: int


def removal_summary(remote: Remote, address: Address) -> RemovalSummary:
    """List everything that a removal of *address* deletes, down to resources.

    Raises:
        NotFoundError: *address* does not exist.
    """
    nodes: list[Node] = []
    for node in read_tree(remote, address):
        nodes.append(node)
        if node.address.level is Level.SESSION and address.level in {Level.PROJECT, Level.SUBJECT}:
            inner = read_tree(remote, node.address)[1:]
            nodes.extend(Node(n.address, n.depth + node.depth, n.attributes, n.size_bytes, n.files) for n in inner)
    if address.level is Level.FILE:
        nodes = [node for node in nodes if node.address == address]
        return RemovalSummary(tuple(nodes), len(nodes), sum(node.size_bytes for node in nodes))
    resources = [node for node in nodes if node.address.level is Level.RESOURCE]
    return RemovalSummary(
        tuple(nodes), sum(node.files or 0 for node in resources), sum(node.size_bytes for node in resources)
    )


def leftovers(remote: Remote, address: Address) -> list[str]:
    """What the server still lists at *address*; empty when it is removed."""
    try:
        return [str(node.address) for node in read_tree(remote, address)]
    except NotFoundError:
        return []
