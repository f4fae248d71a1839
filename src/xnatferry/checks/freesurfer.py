"""Checks of one FreeSurfer subject: complete, finished, undamaged, consistent, plausible."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from xnatferry.checks.catalogue import found
from xnatferry.checks.plausibility import check_plausibility
from xnatferry.checks.surfaces import (
    FormatError,
    MghHeader,
    annotation_vertices,
    curvature_vertices,
    read_mgh,
    surface_vertices,
)
from xnatferry.freesurfer.stats_file import StatisticsError, StatsFile, read_stats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from xnatferry.sources.base import Finding

__all__ = ["Run", "RunFile", "check_run", "is_text_needed"]


@dataclass(frozen=True, slots=True)
class RunFile:
    """One file of a subject, as far as it was read.

    Attributes:
        size_bytes: Its size.
        head: First bytes, unpacked where the file is gzip; empty when it was not read.
        unpacked_bytes: Size of what is in it.
        text: The whole file, when a check reads it as text.
        damage: What is wrong with its gzip stream.
        mtime_ns: Modification time, 0 in an archive.
    """

    size_bytes: int
    head: bytes = b""
    unpacked_bytes: int = 0
    text: bytes | None = None
    damage: str | None = None
    mtime_ns: int = 0


@dataclass(slots=True)
class Run:
    """One subject.

    Attributes:
        name: Its top folder.
        where: Its folder or archive.
        files: By path below the top folder.
        version: ``7.4.1``, or only ``7`` when it was inferred; None when unknown.
        fastsurfer: Whether FastSurfer made it.
        high_resolution: Whether its volumes are not of 256 voxels of 1 mm.
    """

    name: str
    where: Path
    files: Mapping[str, RunFile]
    version: str | None = None
    fastsurfer: bool = False
    high_resolution: bool = False
    stats: dict[str, StatsFile] = field(default_factory=dict)

    def text(self, relative: str) -> str:
        """A file as text; empty when it is not there."""
        file = self.files.get(relative)
        return "" if file is None or file.text is None else file.text.decode("utf-8", "replace")


_TEXTS: Final = re.compile(
    r"stats/.*\.stats|scripts/(build-stamp\.txt|recon-all(-status)?\.(log|done|error)|recon-surf\.log|deep-seg\.log)"
    r"|mri/transforms/(talairach\.xfm|talairach_avi_QA\.log)"
)
_TABLES: Final = re.compile(r"stats/(aseg|wmparc|brainvol|[lr]h\.(aparc|BA|w-g).*)\.stats")
_VERSION: Final = re.compile(r"(?<![\d.])(\d+\.\d+\.\d+)(?![\d.])")
_STAMP: Final = re.compile(r"freesurfer-[\w.-]*?[-v](\d+\.\d+\.\d+)(?![\d.])", re.IGNORECASE)
_HEMISPHERES: Final = ("lh", "rh")

_VOLUMES: Final = ("orig", "T1", "brainmask", "norm", "aseg", "aparc+aseg", "ribbon", "wmparc")
_SAME_GRID: Final = ("orig", "T1", "brainmask", "norm", "aseg", "aparc+aseg", "ribbon")
_SURFACES: Final = ("white", "pial", "inflated", "sphere.reg")
_CURVATURES: Final = ("thickness", "curv", "area")


def is_text_needed(relative: str) -> bool:
    """Whether a check reads this file as text."""
    return _TEXTS.fullmatch(relative) is not None


def check_run(run: Run) -> list[Finding]:
    """All checks of one subject; also finds out version and resolution."""
    _find_version(run)
    findings = [*_complete(run), *_finished(run), *_version_known(run)]
    findings += _statistics(run)
    volumes, damaged = _volumes(run)
    findings += [*damaged, *_grids(run, volumes), *_vertices(run)]
    findings += [*check_plausibility(run.stats, run.text, run.where), *_names(run), *_traces(run)]
    return findings


def _find_version(run: Run) -> None:
    run.fastsurfer = "scripts/deep-seg.log" in run.files or "mri/aparc.DKTatlas+aseg.deep.mgz" in run.files
    aseg = run.text("stats/aseg.stats")
    for text, pattern in (
        (run.text("scripts/build-stamp.txt"), _VERSION),
        (run.text("scripts/recon-all.log"), _STAMP),
        (run.text("scripts/recon-all.done"), _STAMP),
        ("".join(re.findall(r"^# cvs_version\s+(\d\S*)", aseg, re.MULTILINE)), _VERSION),
    ):
        if (match := pattern.search(text)) is not None:
            run.version = match[1]
            return
    if any(name in run.files for name in ("stats/brainvol.stats", "surf/lh.pial.T1", "scripts/recon-config.yaml")):
        run.version = "7"
    elif "CerebralWhiteMatterVol" in aseg:
        run.version = "6"
    elif "CorticalWhiteMatterVol" in aseg:
        run.version = "5"


def _version_known(run: Run) -> list[Finding]:
    if run.version is None:
        why = (
            "no file tells the version of FreeSurfer; it goes to resource FREESURFER, which version-bound readers"
            " do not look at; --resource says otherwise"
        )
        return [found("FS03", why, run.where)]
    if "." not in run.version:
        why = f"no build stamp; its files are those of FreeSurfer {run.version}; --resource says otherwise"
        return [found("FS03", why, run.where)]
    return []


def _required(run: Run) -> Iterable[str]:
    masks = {"brainmask": "mask"} if run.fastsurfer and "mri/mask.mgz" in run.files else {}
    yield from (f"mri/{masks.get(name, name)}.mgz" for name in _VOLUMES)
    yield "mri/transforms/talairach.xfm"
    parcellations = ("aparc.DKTatlas.mapped",) if run.fastsurfer else ("aparc",)
    for side in _HEMISPHERES:
        yield from (f"surf/{side}.{name}" for name in (*_SURFACES, "thickness"))
        yield from (f"label/{side}.{name}.annot" for name in parcellations)
        yield f"label/{side}.cortex.label"
        yield from (f"stats/{side}.{name}.stats" for name in parcellations)
        if not run.fastsurfer:
            yield f"stats/{side}.aparc.a2009s.stats"
    yield from ("stats/aseg.stats", "stats/wmparc.stats")
    if not run.fastsurfer:
        yield "scripts/recon-all.log"


def _complete(run: Run) -> list[Finding]:
    required = list(_required(run))
    missing = [name for name in required if name not in run.files]
    empty = [name for name in required if name in run.files and run.files[name].size_bytes == 0]
    parts = [
        f"{len(names)} of {len(required)} files of a complete run are {what} ({_some(names)})"
        for what, names in (("missing", missing), ("empty", empty))
        if names
    ]
    if not parts:
        return []
    why = f"{'; '.join(parts)}; finish or copy the run again, or carry it as it is with --allow-incomplete"
    return [found("FS01", why, run.where)]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _finished(run: Run) -> list[Finding]:
    running = sorted(name for name in run.files if name.startswith("scripts/IsRunning"))
    if running:
        why = f"{running[0]} says that it is running, or was killed; wait, or remove that file if it is over"
        return [found("FS02", why, run.where)]
    logs = ("scripts/recon-all-status.log", "scripts/recon-all.log", "scripts/recon-surf.log")
    log = next((run.text(name) for name in logs if name in run.files), "")
    ended, failed = log.rfind("finished without error"), log.rfind("exited with ERRORS")
    if failed > ended:
        return [found("FS02", "its log ends with 'exited with ERRORS'; look into scripts/recon-all.log", run.where)]
    error, done = run.files.get("scripts/recon-all.error"), run.files.get("scripts/recon-all.done")
    if error is not None and (done is None or error.mtime_ns > done.mtime_ns):
        return [found("FS02", "scripts/recon-all.error is there: its last call failed", run.where)]
    if ended < 0 and not (run.fastsurfer and "stats/aseg.stats" in run.files):
        why = "no log says 'finished without error'; carry it as it is with --allow-incomplete"
        return [found("FS02", why, run.where)]
    return []


def _statistics(run: Run) -> list[Finding]:
    findings = []
    for name, file in run.files.items():
        if file.text is None or not _TABLES.fullmatch(name) or not file.text:
            continue
        try:
            table = read_stats(file.text)
        except StatisticsError as error:
            findings.append(found("FS09", f"{name}: {error}", run.where))
            continue
        run.stats[name] = table
        side = name.removeprefix("stats/")[:2]
        if side in _HEMISPHERES and table.fields.get("hemi", side) != side:
            why = f"{name}: it says that it is of the {table.fields['hemi']} hemisphere; two files may be swapped"
            findings.append(found("FS09", why, run.where))
    return findings


def _volumes(run: Run) -> tuple[dict[str, MghHeader], list[Finding]]:
    headers: dict[str, MghHeader] = {}
    findings: list[Finding] = []
    for name, file in run.files.items():
        if file.damage is not None:
            findings.append(found("FS04", f"{name}: {file.damage}; copy it again from where it came", run.where))
        elif name.endswith(".mgz") and file.size_bytes:
            try:
                headers[name] = read_mgh(file.head, file.unpacked_bytes)
            except FormatError as error:
                findings.append(found("FS04", f"{name}: {error}; copy it again from where it came", run.where))
    return headers, findings


def _grids(run: Run, volumes: Mapping[str, MghHeader]) -> list[Finding]:
    findings = []
    orig = volumes.get("mri/orig.mgz") or volumes.get("mri/aseg.mgz")
    if orig is None:
        return []
    for name in _SAME_GRID:
        other = volumes.get(f"mri/{name}.mgz")
        if other is None:
            continue
        apart = any(abs(a - b) > 1e-3 for a, b in zip(orig.grid, other.grid, strict=True))
        if other.shape != orig.shape or apart:
            why = (
                f"mri/{name}.mgz does not lie on the grid of the other volumes; a file of another run may be among them"
            )
            findings.append(found("FS05", why, run.where))
    if orig.shape != (256, 256, 256) or any(abs(step - 1) > 1e-3 for step in orig.voxel_size_mm):
        run.high_resolution = True
        shape, steps = " x ".join(map(str, orig.shape)), " x ".join(f"{step:g}" for step in orig.voxel_size_mm)
        why = f"its volumes are {shape} voxels of {steps} mm, not 256 of 1 mm; it goes to a resource ending in _HIRES"
        findings.append(found("FS21", why, run.where))
    return findings


def _vertices(run: Run) -> list[Finding]:
    findings: list[Finding] = []
    for side in _HEMISPHERES:
        counts: dict[str, int] = {}
        readers: tuple[tuple[tuple[str, ...], Callable[[bytes, int], int]], ...] = (
            (tuple(f"surf/{side}.{name}" for name in _SURFACES), surface_vertices),
            (tuple(f"surf/{side}.{name}" for name in _CURVATURES), curvature_vertices),
            ((f"label/{side}.aparc.annot",), annotation_vertices),
        )
        for names, read in readers:
            for name in names:
                file = run.files.get(name)
                if file is None or not file.size_bytes:
                    continue
                try:
                    counts[name] = read(file.head, file.size_bytes)
                except FormatError as error:
                    findings.append(found("FS04", f"{name}: {error}; copy it again from where it came", run.where))
        if len(set(counts.values())) > 1:
            shown = ", ".join(f"{name} {count}" for name, count in counts.items())
            why = f"vertex counts differ: {shown}; files of two runs may be mixed"
            findings.append(found("FS07", why, run.where))
    return findings


def _names(run: Run) -> list[Finding]:
    inside = {table.fields["subjectname"] for table in run.stats.values() if table.fields.get("subjectname")}
    inside |= set(re.findall(r"recon-all -s (\S+) finished without error", run.text("scripts/recon-all-status.log")))
    others = sorted(inside - {run.name})
    if not others:
        return []
    why = f"its folder is called {run.name}, its files say {', '.join(others)}; see that it is the right person"
    return [found("FS13", why, run.where)]


def _traces(run: Run) -> list[Finding]:
    stats = sum(1 for table in run.stats.values() if {"user", "hostname", "SUBJECTS_DIR"} & table.fields.keys())
    scripts = sorted(name for name in run.files if name.startswith("scripts/recon-all.") or name.endswith(".env"))
    if not stats and not scripts:
        return []
    parts = []
    if scripts:
        parts.append(f"{_some(scripts)} hold the command line and environment of who ran it")
    if stats:
        parts.append(f"{stats} statistics files name user, host and folders")
    return [found("FS15", f"{'; '.join(parts)}; they travel as they are", run.where)]
