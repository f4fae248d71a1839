"""Which names of a server can stand on this disk, and which only on some others. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["clashes", "path_problem", "path_warning"]

#: Longest part of a path on the disks we know, in bytes.
PART_LIMIT = 255

# As in `ntpath.isreserved` of Python 3.13; blanks before the dot do not help.
_WINDOWS_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[1-9¹²³]|LPT[1-9¹²³]) *(\.|$)", re.IGNORECASE)
_WINDOWS_CHARACTERS = re.compile(r'[<>:"|?*\\]')


def path_problem(parts: Sequence[str], *, windows: bool) -> str | None:
    """Say why a path of *parts* cannot stand below a folder of ours; None when it can.

    Whatever a server names, it must not climb out of the folder, name a place of its own, or hide in a terminal.
    """
    for part in parts:
        if part in {"", ".", ".."}:
            return f"its path holds the part {part!r}"
        if "/" in part:
            return f"the name {part!r} holds a slash"
        if any(unicodedata.category(character) == "Cc" for character in part):
            return f"the name {part!r} holds a control character"
        try:
            length = len(part.encode())
        except UnicodeEncodeError:
            return f"the name {part!r} holds half a character"
        if length > PART_LIMIT:
            return f"the name {part[:40]!r}... is {length} bytes long; the limit is {PART_LIMIT}"
        if windows and (why := path_warning([part])):
            return why
    return None


def path_warning(parts: Iterable[str]) -> str | None:
    """Say why a path could not stand on a Windows disk; None when it could."""
    for part in parts:
        if _WINDOWS_DEVICES.match(part):
            return f"Windows keeps the name {part!r} for a device"
        if found := _WINDOWS_CHARACTERS.search(part):
            return f"{part!r} holds {found[0]!r}, which Windows does not take in names"
        if part.endswith((".", " ")):
            return f"{part!r} ends in a dot or a blank, which Windows drops"
    return None


def clashes(paths: Iterable[Sequence[str]], *, folds: bool) -> Mapping[tuple[str, ...], str]:
    """Paths that cannot stand side by side, each with the reason.

    Two files in one place, or a file where another needs a folder.

    Args:
        paths: Parts of each path; a path that comes twice stands for two files.
        folds: Whether the disk takes ``A`` and ``a``, and both spellings of an accent, for one name.
    """
    at: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for path in paths:
        at[_key(path, folds=folds)].append(tuple(path))
    found: dict[tuple[str, ...], str] = {}
    for same in at.values():
        if len(same) > 1:
            names = sorted({"/".join(path) for path in same})
            why = f"{len(same)} files would stand in one place"
            why += f" on this disk ({', '.join(names)})" if len(names) > 1 else ""
            found |= dict.fromkeys(same, why)
    for key, same in at.items():
        for depth in range(1, len(key)):
            for path in at.get(key[:depth], ()):
                where = "/".join(path)
                found |= dict.fromkeys([path, *same], f"{where} is a file, and a folder of other files")
    return found


def _key(path: Sequence[str], *, folds: bool) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part).casefold() if folds else part for part in path)
