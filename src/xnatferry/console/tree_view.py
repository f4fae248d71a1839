"""What is on a server, as a tree of text lines and as JSON records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from xnatferry.console.wording import counted, human_bytes
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xnatferry.results.tree import Node

__all__ = ["tree_lines", "tree_records"]


def tree_lines(nodes: Sequence[Node]) -> Iterator[Text]:
    """One line a node, indented by depth."""
    for node in nodes:
        level = node.address.level
        label = getattr(node.address, level.value) or ""
        line = Text("  " * node.depth)
        if level in {Level.SCAN, Level.ASSESSOR}:
            line.append(f"{level.value} ", style="dim")
        line.append(label, style="bold" if level in {Level.PROJECT, Level.SUBJECT, Level.SESSION} else "")
        details = list(node.facts.values())
        if node.files is not None:
            details.append(f"{counted(node.files, 'file')}, {human_bytes(node.size_bytes)}")
        elif level is Level.FILE:
            details.append(human_bytes(node.size_bytes))
        if details:
            line.append(f"  {'  '.join(details)}", style="dim")
        yield line


def tree_records(nodes: Sequence[Node]) -> Iterator[dict[str, object]]:
    """One record a node."""
    for node in nodes:
        record: dict[str, object] = {
            "record": node.address.level.value,
            "address": str(node.address),
            **node.facts,
        }
        if node.files is not None:
            record["files"] = node.files
        if node.files is not None or node.address.level is Level.FILE:
            record["size_bytes"] = node.size_bytes
        yield record
