"""Collects the measurements of a SUBJECTS_DIR, of one subject folder, or of an archive of one, without a server."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from xnatferry.errors import NotFoundError
from xnatferry.freesurfer.stats_file import StatisticsError
from xnatferry.freesurfer.table_files import locate
from xnatferry.results.stats_runs import Collected, assembled, read_run, table_named
from xnatferry.results.stats_table import Place, Remark, RemarkKind, StatsTable
from xnatferry.sources.archives import ArchiveProblem, archive_errors, members
from xnatferry.sources.folder_walk import is_desktop_file
from xnatferry.sources.freesurfer import find_subjects
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xnatferry.freesurfer.measurements import Table

_STAMP = re.compile(r"(?<![\d.])(\d+\.\d+\.\d+)(?![\d.])")
#: Folders of a subject with text files.
_FOLDERS = ("stats", "mri")
_TEXT_LIMIT_BYTES = 4 << 20


def local_stats(name: str, folder: Path, *, workers: int = 4) -> StatsTable:
    """One kind of measurements of every FreeSurfer subject at and below *folder*.

    Subjects are named by their folders, as ``asegstats2table`` does: cross-sectional, longitudinal (``T1.long.BASE``)
    and base runs have their own rows.

    Raises:
        UsageError: The table is unknown.
        NotFoundError: The folder does not exist, or contains no subject.
    """
    table = table_named(name)
    if not folder.exists():
        raise NotFoundError(f"{folder}: folder not found")
    subjects, findings = find_subjects(folder)
    paths = [subject.path for subject in subjects]
    passed = [
        Remark(RemarkKind.CHOICE, finding.path.name if finding.path else "", finding.message) for finding in findings
    ]
    read = list(thread_map(lambda path: _read(table, path), paths, workers=workers))
    known = [one for one in read if one is not None]
    if not known:
        raise NotFoundError(f"{folder}: contains no FreeSurfer subject (a folder with mri, surf, stats ...)")
    made = assembled(name, known)
    return StatsTable(name, made.entries, (*made.remarks, *passed))


def _read(table: Table, path: Path) -> Collected | None:
    """The table of one folder or archive; None for an archive without FreeSurfer files."""
    name = path.name if path.name not in {"", ".."} else path.resolve().name
    place = Place(subject=name if path.is_dir() else name.partition(".")[0])
    try:
        files = _folder_files(path, name) if path.is_dir() else _archive_files(table, path)
        if not files:
            return None if not path.is_dir() else Collected(place, None, (_missing(table, place),))
        located = locate(table, files)
    except (StatisticsError, ArchiveProblem, OSError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Collected(place, None, (Remark(RemarkKind.BROKEN, str(place), words),))
    if located is None:
        return Collected(place, None, (_missing(table, place),))
    if located.top:
        place = Place(subject=located.top)
    stamp = next((text for file, text in files.items() if file.endswith("scripts/build-stamp.txt")), None)
    match = _STAMP.search(stamp().decode("utf-8", "replace")) if stamp is not None else None
    return read_run(table, place, located, lambda file: files[file](), stamp=match[1] if match is not None else "")


def _missing(table: Table, place: Place) -> Remark:
    return Remark(RemarkKind.SUBJECT, str(place), f"{table.shown} does not exist")


def _folder_files(folder: Path, name: str) -> dict[str, Callable[[], bytes]]:
    """Readers of the texts of a subject, by name below a folder of its name."""
    found: dict[str, Callable[[], bytes]] = {}
    for inner in _FOLDERS:
        try:
            with os.scandir(folder / inner) as listing:
                children = sorted(child.name for child in listing if child.is_file())
        except OSError:
            continue
        found |= {f"{name}/{inner}/{child}": (folder / inner / child).read_bytes for child in children}
    stamp = folder / "scripts" / "build-stamp.txt"
    if found and stamp.is_file():
        found[f"{name}/scripts/{stamp.name}"] = stamp.read_bytes
    return found


def _archive_files(table: Table, path: Path) -> dict[str, Callable[[], bytes]]:
    """Readers of the texts in an archive, which is read in one pass."""
    found: dict[str, Callable[[], bytes]] = {}
    with archive_errors():
        for member, stream in members(path):
            wanted = any(pattern.fullmatch(member.path) for pattern in (*table.files, *table.instead))
            if (
                stream is None
                or is_desktop_file(member.path)
                or not (wanted or member.path.endswith("scripts/build-stamp.txt"))
            ):
                continue
            content = stream.read(_TEXT_LIMIT_BYTES)
            found[member.path] = lambda content=content: content  # type: ignore[misc]
    return found
