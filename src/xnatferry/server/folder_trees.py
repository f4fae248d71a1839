"""Walks and deletes folder trees of any depth.

``os.walk``, ``Path.rglob`` and ``shutil.rmtree`` of older Pythons call themselves for each folder, so a tree that is
deeper than the stack ends them.
"""

from __future__ import annotations

import os
from operator import itemgetter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def entries_below(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield name (below *folder*, with ``/``) and entry of everything in the tree but folders, in order.

    Links are not followed. A folder that is not there is empty.
    """
    waiting = [iter(_sorted_entries(folder, ""))]
    while waiting:
        name, entry = next(waiting[-1], ("", None))
        if entry is None:
            waiting.pop()
        elif entry.is_dir(follow_symlinks=False):
            waiting.append(iter(_sorted_entries(entry.path, name + "/")))
        else:
            yield name, entry


def _sorted_entries(folder: str | Path, prefix: str) -> list[tuple[str, os.DirEntry[str]]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(((prefix + entry.name, entry) for entry in entries), key=itemgetter(0))
    except (FileNotFoundError, NotADirectoryError):
        return []


def remove_tree(folder: Path) -> None:
    """Delete *folder* with all that is in it; links are not followed.

    Raises:
        OSError: Something cannot be deleted.
    """
    folders = [str(folder)]
    for path in folders:  # grows while it is read
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    os.unlink(entry.path)  # noqa: PTH108  an entry's path is text
    for path in reversed(folders):
        os.rmdir(path)  # noqa: PTH106  as above
