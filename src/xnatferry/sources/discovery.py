"""Entry point to local data: recognise what a path is, and read and check it."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xnatferry.checks.data_files import accepted, inspect_data, is_data_name
from xnatferry.checks.finding_catalog import found as found_finding
from xnatferry.checks.finding_catalog import listed
from xnatferry.errors import UsageError
from xnatferry.sources.archives import is_archive_name
from xnatferry.sources.freesurfer import discover_freesurfer, find_subjects, is_subject_folder
from xnatferry.sources.identifying_text import check_identifying_text
from xnatferry.sources.model import Discovery, Kind
from xnatferry.sources.nifti import discover_nifti, is_image_name
from xnatferry.sources.result_files import discover_files, holds_results
from xnatferry.sources.result_rules import read_rules
from xnatferry.sources.table import discover_table
from xnatferry.sources.template import PathTemplate
from xnatferry.wording import counted
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xnatferry.sources.bids.dataset import BidsChoices
    from xnatferry.sources.model import Finding, LocalFile, Source

_TABLE_ENDINGS: Final = (".csv", ".tsv", ".txt", ".xlsx", ".xls", ".ods")


def discover(
    path: str | os.PathLike[str],
    *,
    kind: Kind | None = None,
    template: Sequence[str] = (),
    preset: str | None = None,
    allow_incomplete: bool = False,
    deep: bool = False,
    bids: BidsChoices | None = None,
    rules: Path | None = None,
    together: bool = False,
    allow_private: bool = False,
    scrub: bool = False,
    workers: int | None = None,
) -> Discovery:
    """Find and check everything at *path*. Nothing is written, no network is used.

    Problems of the data are findings, not exceptions.

    Args:
        path: A NIfTI image or a folder of them; a CSV, TSV or XLSX table; a BIDS dataset; a FreeSurfer SUBJECTS_DIR,
            subject or archive; results of another program.
        kind: How to read it; recognised when None.
        template: Path templates such as ``{subject}/{type}.nii.gz`` or ``re:(?P<subject>[^/]+)/.*``; the first
            that matches counts.
        preset: Converter that named the images of a folder (a name in `xnatferry.sources.series.PRESETS`); ``none``
            looks for no series in sidecars and names; recognised when None.
        allow_incomplete: Whether incomplete FreeSurfer subjects, and images of BIDS datasets that are empty or cut off,
            are uploaded with a warning.
        deep: Whether volumes and surfaces of FreeSurfer are read to their end, not only their headers.
        bids: Which parts of a BIDS dataset are uploaded, and how.
        rules: File with more rules that recognise results of other programs; for images, names of converters and
            types of scans.
        together: Whether everything read as files is one resource.
        allow_private: Whether files that name a person are uploaded with a warning.
        scrub: Whether text that the privacy check flags is removed during the upload; nothing changes on disk.
        workers: Threads that read; as many as there are processors when None.

    Raises:
        UsageError: There is nothing at *path*, it is not of this kind, or a template cannot be used here.
    """
    where = _existing(path)
    templates = tuple(PathTemplate.compile(text) for text in template)
    kind = Kind(kind) if kind else (Kind.FILES if rules is not None else recognise(where))
    _check_options(where, kind, templates, preset)
    if kind is Kind.NIFTI:
        found = discover_nifti(where, templates, preset=preset, rules=rules, workers=workers)
    elif kind is Kind.BIDS:
        found = _bids(where, bids, allow_incomplete=allow_incomplete, workers=workers)
    elif kind is Kind.FILES:
        found = discover_files(where, templates, rules=None if rules is None else read_rules(rules), together=together)
    else:
        found = _of_kind(where, kind, templates, allow_incomplete=allow_incomplete, deep=deep, workers=workers)
    found = check_identifying_text(found, allow_private=allow_private, scrub=scrub, workers=workers)
    if kind in {Kind.FILES, Kind.TABLE}:
        read = partial(_with_data_read, allow_incomplete=allow_incomplete)
        found = replace(found, sources=tuple(thread_map(read, found.sources, workers=workers)))
    return found


def _existing(path: str | os.PathLike[str]) -> Path:
    where = Path(path)
    try:
        there = where.exists()
    except (OSError, ValueError):
        there = False
    if not there:
        raise UsageError(f"{where}: not found; check the path")
    return where


def _check_options(where: Path, kind: Kind, templates: Sequence[PathTemplate], preset: str | None) -> None:
    if templates and kind in {Kind.TABLE, Kind.BIDS}:
        instead = (
            "the columns of the table are used"
            if kind is Kind.TABLE
            else "BIDS names are used; add --as nifti to use it"
        )
        raise UsageError(f"{where}: --template cannot be used with {kind.value}; {instead}")
    if preset is not None and (templates or kind is not Kind.NIFTI):
        why = "a --template says what names mean" if templates else f"it is read as {kind.value}"
        raise UsageError(f"{where}: --preset cannot be used: {why}")


def _of_kind(
    where: Path,
    kind: Kind,
    templates: Sequence[PathTemplate],
    *,
    allow_incomplete: bool,
    deep: bool,
    workers: int | None,
) -> Discovery:
    if kind is Kind.FREESURFER:
        return discover_freesurfer(where, templates, allow_incomplete=allow_incomplete, deep=deep, workers=workers)
    if where.is_dir():
        raise UsageError(f"{where}: this is a folder, but --as table needs a file")
    return discover_table(where, allow_incomplete=allow_incomplete, workers=workers)


def _with_data_read(source: Source, *, allow_incomplete: bool) -> Source:
    """A result or recording with what is wrong with its data; other kinds have been read."""
    if source.kind is not Kind.FILES or source.refused:
        return source
    files: list[LocalFile] = []
    findings: list[Finding] = []
    for file in source.files:
        told: list[Finding] = []
        digest = file.digest
        if digest is None and file.member is None and file.opener is None and is_data_name(file.name):
            try:
                told, digest = inspect_data(file.path)
            except OSError as error:
                why = f"the file cannot be read ({error.strerror}); check its permissions and the disk"
                told = [found_finding("FIL02", f"{file.name}: {why}", file.path)]
        files.append(file if file.scrub else replace(file, digest=digest))
        findings += [accepted(finding) if allow_incomplete else finding for finding in told]
    return replace(source, files=tuple(files), findings=(*source.findings, *findings))


def _bids(where: Path, bids: BidsChoices | None, *, allow_incomplete: bool, workers: int | None) -> Discovery:
    if not where.is_dir():
        raise UsageError(f"{where}: this is a file, but a BIDS dataset is a folder")
    from xnatferry.sources.bids.dataset import BidsChoices, discover_bids  # noqa: PLC0415  # only BIDS needs it

    choices = replace(bids or BidsChoices(), allow_incomplete=allow_incomplete)
    return discover_bids(where, choices, workers=workers)


def recognise(path: Path) -> Kind:
    """Recognise how to read *path*: by its name, and for a folder by its content.

    A folder with a ``dataset_description.json``, or a ``participants.tsv`` and folders ``sub-*``, is BIDS, unless
    FreeSurfer subjects are in it directly. A folder of such datasets is refused: what is in them is not guessed. A
    folder is FreeSurfer when it is a subject or holds subjects or
    archives and no images. A folder in which results of another program are recognised is files; everything else is
    NIfTI.

    Raises:
        UsageError: It holds BIDS datasets.
    """
    if not path.is_dir():
        if path.name.lower().endswith(_TABLE_ENDINGS):
            return Kind.TABLE
        return Kind.FREESURFER if is_archive_name(path.name) else Kind.NIFTI
    if is_subject_folder(path):
        return Kind.FREESURFER
    if _is_dataset(path) and not any(map(is_subject_folder, path.iterdir())):
        return Kind.BIDS
    if nested := _datasets_below(path):
        shown = listed([folder.relative_to(path).as_posix() for folder in nested], 3)
        raise UsageError(
            f"{path}: contains {counted(len(nested), 'BIDS dataset')}: {shown}; give the path of one of them, such as"
            f" {nested[0]}, or name the kind with --as"
        )
    subjects, _ = find_subjects(path)
    folders = [subject for subject in subjects if subject.path.is_dir()]
    if folders and not _has_images(path, skip={subject.path for subject in folders}):
        return Kind.FREESURFER
    if subjects and not _has_images(path, skip=set()):
        return Kind.FREESURFER
    return Kind.FILES if holds_results(path) else Kind.NIFTI


def _is_dataset(folder: Path) -> bool:
    """Whether it is a BIDS dataset, also one without a description (a check reports that)."""
    description = folder / "dataset_description.json"
    if description.is_file() or description.is_symlink():
        return True
    return (folder / "participants.tsv").is_file() and any(folder.glob("sub-*/"))


def _datasets_below(root: Path, depth: int = 2) -> list[Path]:
    """BIDS datasets below a folder that is none, some folders deep; none within another."""
    found: list[Path] = []
    try:
        for folder in sorted((one for one in root.iterdir() if not one.name.startswith(".")), key=str):
            if not folder.is_dir() or is_subject_folder(folder):
                continue
            if os.access(folder, os.X_OK) and _is_dataset(folder):
                found.append(folder)
            elif depth > 1:
                found += _datasets_below(folder, depth - 1)
    except OSError:
        return found
    return found


def _has_images(root: Path, skip: set[Path]) -> bool:
    """Whether there is an image below *root*, outside the folders *skip*."""
    for folder, inner, files in os.walk(root):
        here = Path(folder)
        inner[:] = [name for name in inner if not name.startswith(".") and here / name not in skip]
        if any(is_image_name(name) for name in files if not name.startswith(".")):
            return True
    return False
