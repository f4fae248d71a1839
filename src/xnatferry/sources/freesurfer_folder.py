"""The files of one FreeSurfer subject folder: which are uploaded, and how links are handled.

XNAT's extractors know no links (a zip's link entry becomes a text file, a tar's an empty one), so a link to a file of
the subject, as FreeSurfer 7 makes ``lh.pial`` to ``lh.pial.T1``, is uploaded as a copy of that file.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.sources.folder_walk import is_desktop_file, natural_key

if TYPE_CHECKING:
    from xnatferry.sources.model import Finding

#: Scratch folders of recon-all, and the boundary element models of other programs.
_SCRATCH: Final = ("trash/", "tmp/", "bem/")


@dataclass(frozen=True, slots=True)
class SubjectFile:
    """A file of a subject; *relative* is its path below the subject, size and time are those of the link target."""

    path: Path
    relative: str
    size_bytes: int
    mtime_ns: int


def is_excluded(relative: str) -> bool:
    """Whether a file is not uploaded: scratch folders, and hidden files such as ``.xdebug_mris_sphere``."""
    hidden = is_desktop_file(relative) or any(part.startswith(".") for part in relative.split("/"))
    return hidden or f"{relative}/".startswith(_SCRATCH)


def read_subject_folder(folder: Path) -> tuple[list[SubjectFile], list[Finding]]:
    """The files to upload, in a stable order, and findings on links and excluded files."""
    files: list[SubjectFile] = []
    findings: list[Finding] = []
    excluded: Counter[str] = Counter()
    home = folder.resolve()
    waiting = [(folder, "")]
    while waiting:
        current, prefix = waiting.pop()
        inner: list[tuple[Path, str]] = []
        with os.scandir(current) as listing:
            children = sorted(listing, key=lambda child: natural_key(child.name))
        for child in children:
            relative, path = prefix + child.name, Path(child.path)
            if is_excluded(relative):
                excluded[f"{relative}/" if child.is_dir() else relative] += 1
            elif child.is_symlink():
                file, finding = _link_target(path, relative, home)
                files += [file] if file is not None else []
                findings += [finding] if finding is not None else []
            elif child.is_dir():
                inner.append((path, f"{relative}/"))
            else:
                status = child.stat()
                if stat.S_ISREG(status.st_mode):
                    files.append(SubjectFile(path, relative, status.st_size, status.st_mtime_ns))
                else:
                    excluded[relative] += 1
        waiting.extend(reversed(inner))
    if excluded:
        names = ", ".join(sorted(excluded)[:5]) + (" ..." if len(excluded) > 5 else "")
        findings.append(found("FS17", f"not uploaded: {names} (scratch or hidden)", folder))
    return files, findings


def _link_target(path: Path, relative: str, home: Path) -> tuple[SubjectFile | None, Finding | None]:
    """The target of a link, if its content belongs to the subject."""
    target = str(path.readlink())
    annexed = "annex/objects" in target
    try:
        status = path.stat()
        inside = path.resolve().is_relative_to(home)
    except (OSError, RuntimeError):
        # The target in git-annex is a key, which differs for every file and tells nobody anything.
        why = f"a broken link to {target}; copy the subject again, with link targets"
        why = "in git-annex and not here; run `datalad get` or `git annex get`" if annexed else why
        return None, found("FS19", f"{relative} is {why}", path)
    if stat.S_ISREG(status.st_mode) and (inside or annexed):
        return SubjectFile(path, relative, status.st_size, status.st_mtime_ns), None
    what = "a folder" if stat.S_ISDIR(status.st_mode) else "a file"
    where = "inside" if inside else "outside"
    why = f"{relative} is a link to {what} {where} the subject ({target}); it is not uploaded"
    return None, found("FS14", why, path)
