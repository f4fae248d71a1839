"""Zip and tar archives of result folders: their members, and whether a server can extract them unchanged."""

from __future__ import annotations

import posixpath
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from xnatferry.sources.folder_walk import is_desktop_file
from xnatferry.xnat.archives import ARCHIVE_ERRORS, read_archive
from xnatferry.xnat.labels import remote_name_problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

#: Endings of archives that XNAT extracts (``extract=true``).
_UNPACKED: Final = (".zip", ".tar", ".tar.gz", ".tgz")
_OTHERS: Final = (".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")


#: Files of measurements by their folder, which make a FreeSurfer subject without any other folder.
STATISTICS: Final = {"stats": "*.stats", "mri": "*olumes*.txt"}


class ArchiveProblem(Exception):  # noqa: N818  # becomes a finding, is not an error of the program
    """An archive that cannot be used; the text says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Member:
    """An entry of an archive.

    Attributes:
        name: As the archive spells it.
        path: Its path in the archive, without a leading ``./``.
        size_bytes: Size of its content.
        target: Where it points when it is a symbolic link, as written.
        special: Whether it is a device, a pipe or a hard link.
    """

    name: str
    path: str
    size_bytes: int
    target: str | None = None
    special: bool = False


@dataclass(frozen=True, slots=True)
class Contents:
    """A subject in an archive.

    Attributes:
        prefix: The folder of the archive that holds it, with ``/`` at its end; empty when it has none.
        top: Name of its top folder; empty when it has none.
        files: Regular files by path below the subject.
        links: Symbolic links by path below the subject.
        others_outside: Files outside the subject, and what desktop programs left anywhere.
    """

    prefix: str
    top: str
    files: dict[str, Member] = field(default_factory=dict)
    links: dict[str, Member] = field(default_factory=dict)
    others_outside: tuple[str, ...] = ()

    @property
    def ready(self) -> bool:
        """Whether a server can extract the archive unchanged: one top folder, no links, no other files."""
        return self.prefix == f"{self.top}/" != "/" and not self.links and not self.others_outside


def target_within(inner: str, link: str) -> str:
    """Target of a link at *inner*, by the path rules of archives, independent of this computer.

    >>> target_within("surf/lh.pial", "../mri/T1.mgz")
    'mri/T1.mgz'
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(inner), link))


def stem_of(name: str) -> str:
    """The name of an archive without its ending: ``s1`` of ``s1.tar.gz``."""
    ending = max((end for end in _UNPACKED + _OTHERS if name.lower().endswith(end)), key=len, default="")
    return name[: len(name) - len(ending)]


def is_archive_name(name: str) -> bool:
    """Whether a file is named as an archive, also of a kind that XNAT does not extract."""
    return name.lower().endswith(_UNPACKED + _OTHERS)


def read_contents(path: Path, markers: Collection[str]) -> list[Contents]:
    """List the subjects in an archive: folders with two or more of the folders *markers*, or with statistics.

    Raises:
        ArchiveProblem: It is damaged, encrypted or unsafe.
        OSError: It cannot be read.
    """
    if path.name.lower().endswith(_OTHERS):
        raise ArchiveProblem("XNAT extracts only zip, tar and tar.gz; extract the archive and push the folder")
    every = [member for member, _ in members(path, names_only=True)]
    found = [member for member in every if not is_desktop_file(member.path)]
    leftovers = tuple(member.path for member in every if is_desktop_file(member.path))
    inside: dict[str, set[str]] = {}
    for member in found:
        parts = PurePosixPath(member.path).parts[:-1]
        at = next((index for index, part in enumerate(parts) if part in markers), None)
        if at is not None:
            held = inside.setdefault("/".join(parts[:at]), set())
            held.add(parts[at])
            if fnmatchcase(PurePosixPath(member.path).name, STATISTICS.get("/".join(parts[at:]), "")):
                held.add(member.path)
    prefixes = [prefix for prefix, held in inside.items() if len(held) > 1]
    if not prefixes:
        return []
    _refuse_unsafe(found)
    return [_below(f"{prefix}/" if prefix else "", found, leftovers) for prefix in sorted(prefixes)]


def _below(prefix: str, found: list[Member], leftovers: tuple[str, ...]) -> Contents:
    mine = {member.path.removeprefix(prefix): member for member in found if member.path.startswith(prefix)}
    return Contents(
        prefix=prefix,
        top=PurePosixPath(prefix).name,
        files={name: member for name, member in mine.items() if member.target is None},
        links={name: member for name, member in mine.items() if member.target is not None},
        others_outside=(*(member.path for member in found if not member.path.startswith(prefix)), *leftovers),
    )


def _refuse_unsafe(found: list[Member]) -> None:
    for member in found:
        if member.special:
            raise ArchiveProblem(
                f"{member.path} is a hard link, device or pipe; extract the archive and push the folder"
            )
        if problem := remote_name_problem(member.path):
            raise ArchiveProblem(f"member {member.path!r}: {problem}; extract the archive and push the folder")
    name, times = Counter(member.path for member in found).most_common(1)[0]
    if times > 1:
        raise ArchiveProblem(f"{name} occurs {times} times; extract the archive and push the folder")


@contextmanager
def archive_errors() -> Iterator[None]:
    """Turn errors of reading an archive into an `ArchiveProblem`."""
    try:
        yield
    except (RuntimeError, NotImplementedError) as error:
        raise ArchiveProblem(
            f"the archive cannot be extracted ({error}); extract it yourself and push the folder"
        ) from error
    except ARCHIVE_ERRORS as error:
        raise ArchiveProblem(
            f"the archive is damaged or not an archive ({error}); copy it again from its source"
        ) from error


def members(path: Path, *, names_only: bool = False) -> Iterator[tuple[Member, IO[bytes] | None]]:
    """Every entry that is no folder, with a stream of its bytes, to be read before the next one.

    Args:
        path: The archive.
        names_only: Whether the bytes are not needed: then those of a zip are not read.

    Raises:
        ArchiveProblem: The archive is damaged, truncated or encrypted. Reading a stream raises `ARCHIVE_ERRORS`: wrap
            it in `archive_errors`.
        OSError: It cannot be read.
    """
    with archive_errors():
        for one, stream in read_archive(path, names_only=names_only):
            yield Member(one.name, _normal(one.name), one.size_bytes, one.target, one.special), stream


def _normal(name: str) -> str:
    while name.startswith("./"):
        name = name[2:]
    return name
