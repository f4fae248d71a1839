"""Walking a folder: every file in a stable order, with the reason if it cannot be read."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

_DIGITS = "0123456789"
_PARTS = re.compile(r"[0-9]{1,300}|[^0-9]+")
#: What desktop programs leave in folders and archives: resource forks of macOS, thumbnails, settings of folders.
_DESKTOP_FILES = re.compile(
    r"__MACOSX|\._.*|\.DS_Store|\.AppleDouble|\.Spotlight-V100|\.Trashes|\.fseventsd"
    r"|Thumbs\.db|ehthumbs\.db|desktop\.ini",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Entry:
    """A file below a root.

    Attributes:
        path: Where it is.
        relative: Its path below the root, with ``/``.
        size_bytes: Size of its content, links followed.
        mtime_ns: Modification time of its content.
        problem: Finding id and sentence when it cannot be used: dangling link, no regular file, no access.
    """

    path: Path
    relative: str
    size_bytes: int = 0
    mtime_ns: int = 0
    problem: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        """Its last path part."""
        return self.path.name

    @property
    def folder(self) -> str:
        """The folder it is in, relative to the root; empty for the root."""
        return self.relative.rpartition("/")[0]


def walk(root: Path, *, skip: Collection[Path] = (), hidden: Callable[[str], bool] | None = None) -> Iterator[Entry]:
    """Every file below *root* in natural order (``run2`` before ``run10``), files before folders.

    Hidden files come only if *hidden* is true for their name, hidden folders never. Links are followed; a folder that
    is reached again through a link to one of its parents is not entered twice. A folder named like an image, or one
    that cannot be listed, comes as an entry with a problem. Folders of *skip* are not entered.
    """
    # Folders still to be listed, each with the identities of the folders that lead to it; the next one is last.
    waiting = [(root, "", frozenset({identity_of(root)}))]
    while waiting:
        folder, prefix, above = waiting.pop()
        inner: list[tuple[Path, str, frozenset[tuple[int, int]]]] = []
        try:
            with os.scandir(folder) as listing:
                children = sorted(listing, key=lambda child: natural_key(child.name))
        except OSError as error:
            why = f"the folder cannot be listed ({error.strerror}); check its permissions"
            yield Entry(folder, prefix.rstrip("/") or folder.name, problem=("NII03", why))
            continue
        for child in children:
            if is_desktop_file(child.name) or (
                child.name.startswith(".") and (hidden is None or is_folder(child) or not hidden(child.name))
            ):
                continue
            path = Path(child.path)
            if path in skip:
                continue
            if not is_folder(child):
                yield entry_at(path, prefix + child.name)
                continue
            if child.name.lower().endswith((".nii", ".nii.gz")):
                why = "this is a folder with the name of an image; if it contains the image, move the image out of it"
                yield Entry(path, prefix + child.name, problem=("NII02", why))
            identity = identity_of(path)
            if identity not in above:
                inner.append((path, f"{prefix}{child.name}/", above | {identity}))
        waiting.extend(reversed(inner))


def is_desktop_file(relative: str) -> bool:
    """Whether a path is, or lies in, what desktop programs leave behind: one rule for folders and archives."""
    return any(_DESKTOP_FILES.fullmatch(part) for part in relative.split("/"))


def is_folder(child: os.DirEntry[str]) -> bool:
    """Whether *child* is a folder, or a link to one; False if that cannot be determined."""
    try:
        return child.is_dir()
    except OSError:
        return False


def identity_of(folder: Path) -> tuple[int, int]:
    """Device and inode, to detect a link back to a parent folder."""
    try:
        found = folder.stat()
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def entry_at(path: Path, relative: str) -> Entry:
    """The file at *path* as an entry."""
    try:
        found = path.stat()
    except OSError as error:
        return Entry(path, relative, problem=_problem_of(path, error))
    if any(0xD800 <= ord(character) <= 0xDFFF for character in relative):
        return Entry(
            path, relative, problem=("NII25", "the file name is not UTF-8, so it cannot be uploaded; rename the file")
        )
    if not stat.S_ISREG(found.st_mode):
        return Entry(
            path,
            relative,
            problem=("NII02", "this is not a regular file (a folder, pipe or device); remove it or rename it"),
        )
    return Entry(path, relative, found.st_size, found.st_mtime_ns)


def _problem_of(path: Path, error: OSError) -> tuple[str, str]:
    try:
        target = str(path.readlink())
    except OSError:
        return "NII03", f"the file cannot be read ({error.strerror}); check its permissions and the disk"
    if "annex/objects" in target:
        return "NII04", "the content is in git-annex and not here; run `datalad get` or `git annex get`"
    return "NII04", f"broken link to {target}; restore the target, or remove the link"


def natural_key(name: str) -> tuple[tuple[int, int, str], ...]:
    """Sorts digits as numbers and letters without case; the plain text last, to keep the order total."""
    parts = [(0, int(part), part) if part[0] in _DIGITS else (1, 0, part.casefold()) for part in _PARTS.findall(name)]
    return (*parts, (2, 0, name))
