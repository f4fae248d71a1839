"""Objects of a server as a tree of text lines and as JSON records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from xnatferry.wording import counted, human_bytes
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from xnatferry.results.remote_tree import Node


#: More subjects of a project than this are counted and not listed, in a folded tree.
DRAWN_SUBJECTS = 25


def tree_lines(nodes: Sequence[Node], *, folded: bool = False) -> Iterator[Text]:
    """One line a node, indented by depth; a project's many subjects are *folded* into a line that counts them."""
    drawn = 0
    hidden: list[Node] = []
    project = ""
    for node in nodes:
        level, address = node.address.level, node.address
        if address.project != project or (level is Level.PROJECT):
            yield from _folded(hidden)
            project, drawn, hidden = address.project, 0, []
        drawn += level is Level.SUBJECT
        if folded and drawn > DRAWN_SUBJECTS and address.subject is not None:
            hidden.append(node)
            continue
        label = getattr(node.address, level.value) or ""
        line = Text("  " * node.depth)
        if level in {Level.SCAN, Level.ASSESSOR}:
            line.append(f"{level.value} ", style="dim")
        line.append(label, style="bold" if level in {Level.PROJECT, Level.SUBJECT, Level.SESSION} else "")
        details = list(node.attributes.values())
        if node.files is not None:
            details.append(f"{counted(node.files, 'file')}, {human_bytes(node.size_bytes)}")
        elif level is Level.FILE:
            details.append(human_bytes(node.size_bytes))
        if details:
            line.append(f"  {'  '.join(details)}", style="dim")
        yield line
    yield from _folded(hidden)


def _folded(hidden: Sequence[Node]) -> Iterator[Text]:
    """The line with the number of subjects that are not listed."""
    subjects = [node for node in hidden if node.address.level is Level.SUBJECT]
    if not subjects:
        return
    parts = []
    if sessions := sum(node.address.level is Level.SESSION for node in hidden):
        parts.append(counted(sessions, "session"))
    if all(node.files is not None for node in subjects):
        files, size = sum(node.files or 0 for node in subjects), sum(node.size_bytes for node in subjects)
        parts.append(f"{counted(files, 'file')}, {human_bytes(size)}")
    counts = f" ({', '.join(parts)})" if parts else ""
    indent = "  " * subjects[0].depth
    yield Text(f"{indent}\u2026 {counted(len(subjects), 'more subject')}{counts}; -v shows all", style="dim")


def tree_records(nodes: Sequence[Node]) -> Iterator[dict[str, object]]:
    """One record a node."""
    for node in nodes:
        record: dict[str, object] = {
            "record": node.address.level.value,
            "address": str(node.address),
            **node.attributes,
        }
        if node.files is not None:
            record["files"] = node.files
        if node.files is not None or node.address.level is Level.FILE:
            record["size_bytes"] = node.size_bytes
        yield record
