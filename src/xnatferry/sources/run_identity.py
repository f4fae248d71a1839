"""Whose a FreeSurfer run is: by the folders above it and the subject name in its files.

Folders such as ``sub-01/ses-1`` and ``P1/visit2/freesurfer`` name subject and session as those of images do. Folders
called after a program or a kind of image are no labels. Where the path of the run names nobody, the subject name in
its statistics counts, then the folders above the root.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from xnatferry.sources.archives import is_archive_name, stem_of
from xnatferry.sources.model import Claims
from xnatferry.sources.path_layouts import claims_of_folder, entities_of, is_type_word, joined_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from xnatferry.sources.template import PathTemplate

_PROGRAMS: Final = re.compile(
    r"(free|fast)surfer[-_]?v?[0-9.]*|fs[5-8]?|recon([-_]?all|[-_]?surf)?|subjects?([-_]?dir)?|derivatives"
    r"|outputs?|out|results?|final|processed|anat|mri?",
    re.IGNORECASE,
)
_SESSIONS: Final = re.compile(
    r"(sess?|session|visit|wave|timepoint|baseline|follow[-_]?up|month|year|week|day)[-_]?[0-9]{0,2}[a-z]?"
    r"|ses-[a-z0-9+]+|(tp|fu|bl|base|time)[-_]?[0-9]?",
    re.IGNORECASE,
)
#: How far above the root a label is looked for.
_ABOVE: Final = 3


def claims_of_run(where: Path, relative: str, name: str, inside: Iterable[str] = ()) -> Claims:
    """Subject and session of a run.

    Args:
        where: Its folder or archive.
        relative: The same below the root of discovery.
        name: Its own name: the folder, or the top folder in the archive.
        inside: Subject names in its files.
    """
    parts = _labels(relative, name)
    if not _names_someone(parts):
        names = [label for label in inside if _names_someone([label])]
        parts = [*(names or _above(where, relative))[:1], *parts]
    if "sub" in entities_of("/".join(parts)):
        return claims_of_folder("/".join(parts))
    labels = [part for part in parts if _names_someone([part])]
    sessions = [part for part in parts if _SESSIONS.fullmatch(part)]
    if not labels:
        return Claims(subject=name)
    return Claims(subject=labels[-1], session=joined_session(labels[-1], sessions[-1]) if sessions else None)


def contradiction(relative: str, name: str, inside: Iterable[str]) -> str:
    """How folders and files name different subjects or sessions by ``sub-`` and ``ses-``; empty if they do not."""
    seen: dict[str, dict[str, str]] = {"sub": {}, "ses": {}}
    named = [(part, f"folder {part}") for part in _labels(relative, name)]
    for text, source in (*named, *((label, f"files of {label}") for label in inside)):
        for entity, label in entities_of(text).items():
            seen[entity].setdefault(label, source)
    for entity, word in (("sub", "subjects"), ("ses", "sessions")):
        # Files that contradict each other are FS13.
        if len(seen[entity]) > 1 and any(entity in entities_of(part) for part, _ in named):
            shown = ", ".join(f"{label} ({source})" for label, source in seen[entity].items())
            return f"path and files name different {word}: {shown}"
    return ""


def subject_of_time_point(point: str, templates: Sequence[PathTemplate]) -> str:
    """The subject of a time point, which the base of a longitudinal series names."""
    for template in templates:
        try:
            fields = template.read(point)
        except ValueError:
            continue
        if fields is not None and "subject" in fields:
            return str(fields["subject"])
    return claims_of_folder(point).subject or point


def _labels(relative: str, name: str) -> list[str]:
    """Folders of a run that may be labels, the outermost first."""
    folders = relative.split("/")
    parts = [stem_of(part) if is_archive_name(part) else part.partition(".long.")[0] for part in folders]
    parts += [] if parts[-1] == name else [name]
    return [part for part in dict.fromkeys(parts) if not _PROGRAMS.fullmatch(part)]


def _names_someone(parts: Iterable[str]) -> bool:
    """Whether one of *parts* is a label of a subject."""
    return any(
        "sub" in entities_of(part) or not (_SESSIONS.fullmatch(part) or _PROGRAMS.fullmatch(part) or is_type_word(part))
        for part in parts
    )


def _above(where: Path, relative: str) -> list[str]:
    """The nearest folder above the root of discovery that names someone."""
    root = where.absolute()
    for _ in PurePosixPath(relative).parts:
        root = root.parent
    above = [folder.name for folder in (root, *root.parents)][:_ABOVE]
    return [folder for folder in above if folder and _names_someone([folder])]
