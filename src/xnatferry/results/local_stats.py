"""Collects the measurements of a SUBJECTS_DIR, of one subject folder, or of an archive of one, without a server."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.errors import NotFoundError
from xnatferry.freesurfer.stats_file import StatisticsError
from xnatferry.freesurfer.table_files import locate
from xnatferry.freesurfer.versions import major_of
from xnatferry.planning.placement import default_session, session_type_of
from xnatferry.results.stats_runs import Collected, assembled, read_run, table_named
from xnatferry.results.stats_table import Place, Remark, RemarkKind, StatsEntry, StatsTable
from xnatferry.sources.archives import ArchiveProblem, archive_errors, members, stem_of
from xnatferry.sources.folder_walk import is_desktop_file
from xnatferry.sources.freesurfer import find_subjects
from xnatferry.sources.run_identity import claims_of_run, subject_of_time_point
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from xnatferry.freesurfer.measurements import Table

_STAMP = re.compile(r"(?<![\d.])(\d+\.\d+\.\d+)(?![\d.])")
_NAME = re.compile(rb"^# subjectname (\S+)", re.MULTILINE)
#: Folders of a subject with text files.
_FOLDERS = ("stats", "mri")
_TEXT_LIMIT_BYTES = 4 << 20


def local_stats(name: str, folder: Path, *, workers: int = 4) -> StatsTable:
    """One kind of measurements of every FreeSurfer subject at and below *folder*.

    Subjects and sessions have the labels that a push gives them, so the table can be joined with the one of a server.
    Cross-sectional, longitudinal (``T1.long.BASE``) and base runs have their own rows.

    Raises:
        UsageError: The table is unknown.
        NotFoundError: The folder does not exist, or contains no subject.
    """
    table = table_named(name)
    if not folder.exists():
        raise NotFoundError(f"{folder}: folder not found")
    subjects, findings = find_subjects(folder)
    passed = [
        Remark(RemarkKind.CHOICE, finding.path.name if finding.path else "", finding.message) for finding in findings
    ]
    read = list(thread_map(lambda one: _read(table, one.path, one.relative), subjects, workers=workers))
    known = [one for one in read if one is not None]
    if not known:
        raise NotFoundError(f"{folder}: contains no FreeSurfer subject (a folder with mri, surf, stats ...)")
    made = assembled(name, known)
    return StatsTable(name, made.entries, (*made.remarks, *_same_rows(made.entries), *passed))


def _same_rows(entries: Iterable[StatsEntry]) -> Iterator[Remark]:
    """Runs that cannot be told apart in the table, as they are of one subject and session."""
    first: dict[tuple[str, str, str], str] = {}
    for place in (entry.place for entry in entries):
        other = first.setdefault((place.subject, place.session, place.resource), place.folder)
        if other != place.folder:
            words = f"it has the subject and session of {other}: {place.subject}, {place.session}"
            yield Remark(RemarkKind.NAME, place.folder, words)


def _read(table: Table, path: Path, relative: str) -> Collected | None:
    """The table of one folder or archive; None for an archive without FreeSurfer files."""
    name = path.name if path.name not in {"", ".."} else path.resolve().name
    place = _place(path, relative, name if path.is_dir() else stem_of(name))
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
    inside = (text() for file, text in files.items() if file in located.by_side.values())
    place = _place(path, relative, located.top or stem_of(name), inside)
    stamp = next((text for file, text in files.items() if file.endswith("scripts/build-stamp.txt")), None)
    match = _STAMP.search(stamp().decode("utf-8", "replace")) if stamp is not None else None
    read = read_run(table, place, located, lambda file: files[file](), stamp=match[1] if match is not None else "")
    return replace(read, entry=read.entry and replace(read.entry, place=_with_resource(read.entry.place, path)))


def _place(path: Path, relative: str, name: str, texts: Iterable[bytes] = ()) -> Place:
    """Subject and session of a run, as a push names them; the base of a longitudinal series has no session."""
    claims = claims_of_run(path, relative, name.partition(".long.")[0], _names(texts))
    folder = name if relative in {"", ".."} or not path.is_dir() else relative
    if (points := _time_points(path)) and len(people := {subject_of_time_point(point, ()) for point in points}) == 1:
        return Place(subject=people.pop(), folder=folder)
    subject = claims.subject or name
    return Place(
        subject=subject, session=claims.session or default_session(subject, session_type_of(None)), folder=folder
    )


def _names(texts: Iterable[bytes]) -> Iterator[str]:
    for text in texts:
        if (match := _NAME.search(text)) is not None:
            yield match[1].decode("utf-8", "replace").partition(".long.")[0]


def _time_points(path: Path) -> list[str]:
    """The time points of the base of a longitudinal series; empty for other runs."""
    try:
        return (path / "base-tps").read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []


def _with_resource(place: Place, path: Path) -> Place:
    """The resource of a longitudinal run or its base, which tells its row from the one of the time point."""
    ending = "LONG" if ".long." in path.name else "" if place.session else "BASE"
    return replace(place, resource=f"FREESURFER{major_of(place.fs_version)}_{ending}") if ending else place


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
