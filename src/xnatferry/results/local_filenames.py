"""Checks which file names of a server can be used on this disk, and on other disks. Pure."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from typing import TYPE_CHECKING

from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: Longest part of a path, in bytes.
PART_LIMIT = 255

# As in `ntpath.isreserved` of Python 3.13; blanks before the dot do not help.
_WINDOWS_DEVICES = re.compile(r"(CON|PRN|AUX|NUL|CONIN\$|CONOUT\$|COM[1-9¹²³]|LPT[1-9¹²³]) *(\.|$)", re.IGNORECASE)
_WINDOWS_CHARACTERS = re.compile(r'[<>:"|?*\\]')


def path_problem(parts: Sequence[str], *, windows: bool) -> str | None:
    """Why a path of *parts* cannot be used below a local folder; None when it can.

    A name from a server must not leave the folder or contain control characters.
    """
    for part in parts:
        if part in {"", ".", ".."}:
            return f"the path contains the part {part!r}"
        if "/" in part:
            return f"the name {part!r} contains a slash"
        if any(unicodedata.category(character) == "Cc" for character in part):
            return f"the name {part!r} contains a control character"
        try:
            length = len(part.encode())
        except UnicodeEncodeError:
            return f"the name {part!r} contains an incomplete character"
        if length > PART_LIMIT:
            return f"the name {part[:40]!r}... is {length} bytes long; the limit is {PART_LIMIT}"
        if windows and (why := path_warning([part])):
            return why
    return None


def path_warning(parts: Iterable[str]) -> str | None:
    """Why a path cannot be used on Windows; None when it can."""
    for part in parts:
        if _WINDOWS_DEVICES.match(part):
            return f"the name {part!r} is reserved on Windows"
        if found := _WINDOWS_CHARACTERS.search(part):
            return f"{part!r} contains {found[0]!r}, which Windows does not allow in names"
        if part.endswith((".", " ")):
            return f"{part!r} ends with a dot or a blank, which Windows removes"
    return None


def clashes(paths: Iterable[Sequence[str]], *, folds: bool) -> Mapping[tuple[str, ...], str]:
    """Paths that cannot exist together, each with the reason.

    Two files with the same path, or a file with the path of a folder.

    Args:
        paths: Parts of each path; a path that is given twice is two files.
        folds: Whether the disk ignores case and Unicode normalization of names.
    """
    at: dict[tuple[str, ...], list[tuple[str, ...]]] = defaultdict(list)
    for path in paths:
        at[_key(path, folds=folds)].append(tuple(path))
    found: dict[tuple[str, ...], str] = {}
    for same in at.values():
        if len(same) > 1:
            names = sorted({"/".join(path) for path in same})
            why = f"{counted(len(same), 'file')} would get the same path"
            why += f" on this disk ({', '.join(names)})" if len(names) > 1 else ""
            found |= dict.fromkeys(same, why)
    for key, same in at.items():
        for depth in range(1, len(key)):
            for path in at.get(key[:depth], ()):
                where = "/".join(path)
                found |= dict.fromkeys([path, *same], f"{where} is a file and also a folder of other files")
    return found


def _key(path: Sequence[str], *, folds: bool) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", part).casefold() if folds else part for part in path)
