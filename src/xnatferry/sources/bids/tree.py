"""Every file of a dataset, also hidden ones; excluded paths; the patterns of ``.bidsignore``."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from xnatferry.sources.folder_walk import Entry, entry_at, identity_of, is_desktop_file, is_folder, natural_key

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Files of git and desktops.


@dataclass(slots=True)
class Tree:
    """What is on disk below a root.

    Attributes:
        entries: Every file, in natural order, files before folders.
        excluded: Paths that belong to git or to a desktop, not to the dataset.
        empty: Folders that hold nothing.
        unreadable: Folders that cannot be listed, with the reason.
    """

    entries: list[Entry] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    unreadable: list[tuple[Path, str]] = field(default_factory=list)


def read_tree(root: Path) -> Tree:
    """Walk a dataset. Links are followed, as git-annex makes them; a link to a parent folder is not entered again."""
    tree = Tree()
    waiting: list[tuple[Path, str, frozenset[tuple[int, int]]]] = [(root, "", frozenset({identity_of(root)}))]
    while waiting:
        folder, prefix, above = waiting.pop()
        try:
            with os.scandir(folder) as listing:
                children = sorted(listing, key=lambda child: natural_key(child.name))
        except OSError as error:
            tree.unreadable.append((folder, error.strerror or str(error)))
            continue
        if not children and prefix:
            tree.empty.append(prefix.rstrip("/"))
        inner: list[tuple[Path, str, frozenset[tuple[int, int]]]] = []
        for child in children:
            relative = prefix + child.name
            if child.name == ".git" or is_desktop_file(child.name):
                tree.excluded.append(relative)
            elif not is_folder(child):
                tree.entries.append(entry_at(folder / child.name, relative))
            elif (identity := identity_of(folder / child.name)) not in above:
                inner.append((folder / child.name, f"{relative}/", above | {identity}))
            else:
                tree.excluded.append(relative)
        waiting.extend(reversed(inner))
    return tree


class Ignored:
    """The patterns of a ``.bidsignore``, which are those of ``.gitignore``: the last one that matches counts.

    >>> Ignored(["*_meg.dat", "!keep_meg.dat", "/extra/"]).matches("sub-01/meg/x_meg.dat")
    True
    """

    def __init__(self, lines: Iterable[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        for line in lines:
            text = line.strip().removeprefix("\ufeff")
            if not text or text.startswith("#"):
                continue
            kept = text.startswith("!")
            self._rules.append((not kept, _pattern(text.removeprefix("!"))))

    def matches(self, relative: str) -> bool:
        """Whether the file at *relative* is ignored."""
        found = False
        for ignores, pattern in self._rules:
            if pattern.match(relative):
                found = ignores
        return found


def _pattern(text: str) -> re.Pattern[str]:
    """One line as an expression over whole paths; a folder that matches takes what is in it along."""
    only_folder = text.endswith("/")
    body = text.strip("/")
    anchored = "/" in text.rstrip("/")
    parts: list[str] = []
    for piece in re.split(r"(\*\*/|/\*\*$|\*|\?|\[[^\]]*\])", body):
        if piece == "**/":
            parts.append("(?:[^/]+/)*")
        elif piece == "/**":
            parts.append("/.*")
        elif piece == "*":
            parts.append("[^/]*")
        elif piece == "?":
            parts.append("[^/]")
        elif piece.startswith("[") and piece.endswith("]"):
            parts.append(piece.replace("[!", "[^"))
        else:
            parts.append(re.escape(piece))
    start = "" if anchored else "(?:.*/)?"
    end = "/.*" if only_folder else "(?:/.*)?"
    try:
        return re.compile(f"{start}{''.join(parts)}{end}\\Z", re.DOTALL)
    except re.error:
        return re.compile(re.escape(text) + r"\Z")
