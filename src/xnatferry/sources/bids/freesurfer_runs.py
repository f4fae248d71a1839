"""FreeSurfer runs among the derivatives of a dataset: ``derivatives/freesurfer*/sub-01[_ses-02]``, and below fMRIPrep.

They get the resource that a run of FreeSurfer gets anywhere (``FREESURFER7``, one top folder named after the run), so
that programs which read statistics find them; a time point of a longitudinal series gets ``FREESURFER7_LONG``, its
base ``FREESURFER7_BASE`` at the subject. Every file is uploaded, so that the dataset can be restored.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from xnatferry.sources.archives import STATISTICS
from xnatferry.sources.bids.derivatives import Pipeline, Whose, place_of
from xnatferry.sources.freesurfer import freesurfer_source

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xnatferry.sources.folder_walk import Entry
    from xnatferry.sources.model import Finding

_INSIDE: Final = re.compile(r"((?:[^/]+/)*?)(sub-[^/]+)/(mri|surf|stats|label|scripts)/")
#: Findings that do not apply here: all files are uploaded, and the dataset says whose a run is.
_NOT_APPLICABLE: Final = frozenset({"FS14", "FS16", "FS17", "FS20", "FS22", "FS27"})


@dataclass(slots=True)
class FreeSurferRun:
    """One run.

    Attributes:
        above: Its parent folder, ``derivatives/freesurfer/``.
        name: Its own folder, ``sub-01_ses-02``.
        entries: All its files.
        whose: Subject, session, and whether there is a session.
        label: Its resource.
        version: Version of FreeSurfer.
        findings: Findings of the FreeSurfer checks.
        digests: MD5 of files that were read to the end.
    """

    above: str
    name: str
    entries: list[Entry] = field(default_factory=list)
    whose: Whose = (None, None, False)
    label: str = ""
    version: str = ""
    findings: tuple[Finding, ...] = ()
    digests: Mapping[Path, str] = field(default_factory=dict)


def freesurfer_runs_in(
    root: Path, pipelines: Sequence[Pipeline], sessions: Mapping[str, set[str | None]], *, allow_incomplete: bool
) -> list[FreeSurferRun]:
    """Take the runs of known subjects out of *pipelines*, checked, each with a resource that no other run has.

    Args:
        root: The dataset.
        pipelines: All pipelines; what belongs to a run is taken from their entries.
        sessions: Sessions of each subject of the dataset.
        allow_incomplete: Whether runs that lack files or did not finish are uploaded with a warning.
    """
    found = [(run, pipeline) for pipeline in pipelines for run in _runs_of(pipeline, sessions)]
    found.sort(key=lambda pair: pair[0].above.count("/"))
    taken: set[tuple[Whose, str]] = set()
    for run, pipeline in found:
        _read(run, root, allow_incomplete=allow_incomplete)
        if (run.whose, run.label) in taken:  # two runs of one session are never mixed
            run.label = f"{run.label}_{pipeline.own_label}"[:64]
        taken.add((run.whose, run.label))
    return [run for run, _ in found]


def _runs_of(pipeline: Pipeline, sessions: Mapping[str, set[str | None]]) -> list[FreeSurferRun]:
    parts: dict[str, set[str]] = defaultdict(set)
    for entry in pipeline.entries:
        if (inside := _INSIDE.match(entry.relative)) is not None:
            held = parts[inside[1] + inside[2]]
            held.add(inside[3])
            if fnmatchcase(entry.name, STATISTICS.get(inside[3], "")):  # enough, as for other sources
                held.add("statistics")
    runs: dict[str, FreeSurferRun] = {}
    for folder, markers in parts.items():
        above, _, name = folder.rpartition("/")
        whose = place_of(f"{name}/", sessions)
        if len(markers) > 1 and whose[0] is not None:
            runs[folder] = FreeSurferRun(f"{above}/" if above else "", name, whose=whose)
    rest: list[Entry] = []
    for entry in pipeline.entries:
        steps = entry.relative.split("/")
        folders = ("/".join(steps[:depth]) for depth in range(1, len(steps)))
        owner = next((runs[folder] for folder in folders if folder in runs), None)
        (rest if owner is None else owner.entries).append(entry)
    pipeline.entries = rest
    return list(runs.values())


def _read(run: FreeSurferRun, root: Path, *, allow_incomplete: bool) -> None:
    folder = f"{run.above}{run.name}"
    source = freesurfer_source(root / folder, folder, allow_incomplete=allow_incomplete)
    is_base = any(finding.id == "FS20" for finding in source.findings)
    run.label = source.claims.resource or "FREESURFER"
    if is_base:
        run.whose = (run.whose[0], None, False)
    run.version = source.version or ""
    run.findings = tuple(finding for finding in source.findings if finding.id not in _NOT_APPLICABLE)
    run.digests = {file.path: file.digest for file in source.files if file.digest is not None}
