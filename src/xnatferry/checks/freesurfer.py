"""Checks of one FreeSurfer subject: complete, finished, undamaged, consistent, plausible."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Final

from xnatferry.checks.bbrc import bbrc_line
from xnatferry.checks.finding_catalog import found
from xnatferry.checks.freesurfer_files import check_files
from xnatferry.checks.plausibility import check_plausibility
from xnatferry.freesurfer.stats_file import StatisticsError, StatsFile, read_stats, read_volumes
from xnatferry.freesurfer.versions import family_of, major_of, version_of
from xnatferry.sources.model import Severity
from xnatferry.wording import counted, one_or_many

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from xnatferry.sources.model import Finding


@dataclass(frozen=True, slots=True)
class RunFile:
    """One file of a subject, as far as it has been read.

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
        stats: Its statistics, as far as they could be parsed.
        opener: Opens one of its files; None in an archive.
        high_resolution: Whether its volumes are not of 256 voxels of 1 mm.
    """

    name: str
    where: Path
    files: Mapping[str, RunFile]
    version: str | None = None
    fastsurfer: bool = False
    high_resolution: bool = False
    stats: dict[str, StatsFile] = field(default_factory=dict)
    opener: Callable[[str], IO[bytes]] | None = None

    @property
    def time_points(self) -> str | None:
        """The file with the time points of a longitudinal base; None for other runs."""
        return next((name for name in _TIME_POINTS if name in self.files), None)

    @property
    def only_segmented(self) -> bool:
        """Whether it is a run of FastSurfer with ``--seg_only``, which makes no surfaces."""
        surfaces = any(name.startswith("surf/") or name == "scripts/recon-surf.log" for name in self.files)
        return self.fastsurfer and not surfaces

    def text(self, relative: str) -> str:
        """A file as text; empty when it is not there."""
        file = self.files.get(relative)
        return "" if file is None or file.text is None else file.text.decode("utf-8", "replace")


#: FreeSurfer's name, and FastSurfer's, whose surface stream fails on the first one.
_TIME_POINTS: Final = ("base-tps", "base-tps.fastsurfer")
_SUBFIELDS: Final = re.compile(
    r"mri/([lr]h\.(hippoSf|amygNuc)Volumes|brainstemSsVolumes|ThalamicNuclei)[^/]*\.txt"
    r"|mri/brainstemSsLabels[^/]*\.volumes\.txt"
    r"|stats/(hipposubfields|amygdalar-nuclei|thalamic-nuclei)\.[^/]*\.stats|stats/brainstem\.(long\.)?v\d+\.stats"
)
_TEXTS: Final = re.compile(
    rf"stats/.*\.stats|base-tps(\.fastsurfer)?|{_SUBFIELDS.pattern}"
    r"|scripts/(build-stamp\.txt|recon-all(-status)?\.(log|done|error)|recon-surf\.log|deep-seg\.log|recon-all\.env)"
    r"|mri/transforms/(talairach\.xfm|talairach_avi_QA\.log)"
)
_TABLES: Final = re.compile(r"stats/(aseg|wmparc|brainvol|cerebellum|hypothalamus|[lr]h\.(aparc|BA|w-g))[^/]*\.stats")
#: Files that only FastSurfer writes (2.0 to 2.4); ``stats`` alone may be there.
_FASTSURFER: Final = re.compile(
    r"scripts/(deep-seg|recon-surf)\.log|mri/aparc\.DKTatlas\+aseg\.deep[^/]*\.mgz"
    r"|stats/(aseg\+DKT[^/]*|aseg\.VINN|cerebellum\.CerebNet|hypothalamus\.HypVINN|[^/]*\.DKTatlas\.mapped)\.stats"
)
_VERSION: Final = re.compile(r"(?<![\d.])(\d+\.\d+\.\d+)(?![\d.])")
_STAMP: Final = re.compile(r"freesurfer-[\w.-]*?[-v](\d+\.\d+\.\d+)(?![\d.])", re.IGNORECASE)
_FASTSURFER_VERSION: Final = re.compile(r"^# FastSurfer_version\s+\D{0,2}(\d+\.\d+\.\d+)", re.MULTILINE)
_HEMISPHERES: Final = ("lh", "rh")
_FINISHED: Final = "finished without error"

_VOLUMES: Final = ("orig", "T1", "brainmask", "norm", "aseg", "aparc+aseg", "ribbon", "wmparc")
_SURFACES: Final = ("white", "pial", "inflated", "thickness")


def is_text_needed(relative: str) -> bool:
    """Whether a check reads this file as text."""
    return _TEXTS.fullmatch(relative) is not None


def check_run(run: Run) -> list[Finding]:
    """All checks of one subject; also finds out version and resolution."""
    _find_version(run)
    findings = [*_complete(run), *_finished(run), *_version_known(run)]
    findings += [*_statistics(run), *_subfields(run), *_one_version(run), *check_files(run)]
    findings += [*check_plausibility(run.stats, run.text, run.where), *_names(run), *_user_details(run)]
    findings.append(bbrc_line(run))
    return findings


def _find_version(run: Run) -> None:
    run.fastsurfer = any(_FASTSURFER.fullmatch(name) for name in run.files)
    aseg = run.text("stats/aseg.stats")
    for text, pattern in (
        (run.text("scripts/build-stamp.txt"), _VERSION),
        (run.text("scripts/recon-all.log"), _STAMP),
        (run.text("scripts/recon-all.done"), _STAMP),
        ("".join(re.findall(r"^# cvs_version\s+(\d\S*)", aseg, re.MULTILINE)), _VERSION),
        *((run.text(name), _FASTSURFER_VERSION) for name in run.files if name.startswith("stats/")),
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
            "the FreeSurfer version is unknown, so the resource is FREESURFER, which programs for"
            " one version do not read;"
            " use --resource to set another label"
        )
        return [found("FS03", why, run.where)]
    if "." not in run.version:
        why = f"no build stamp; the files look like FreeSurfer {run.version}; use --resource to set another label"
        return [found("FS03", why, run.where)]
    return []


def label_problem_of(label: str, version: str | None) -> str:
    """Why files of *version* do not belong into resource *label*; empty when they do.

    pyxnat's functions go by the label: ``aseg()`` of FREESURFER6 fails on files of FreeSurfer 5 and 7.
    """
    program, wanted, _ = family_of(label)
    if program != "FREESURFER" or not wanted or version is None or "." not in version:
        return ""
    if label.upper().startswith(f"FREESURFER{major_of(version)}"):
        return ""
    return (
        f"resource {label}: the files are of FreeSurfer {version}, programs that read this label expect another version"
    )


#: Files of a complete run of FastSurfer; of several names one is enough. The plain names are links, which copies lose;
#: ``--no_fs_T1`` and ``--no_surfreg`` make no ``T1.mgz`` and no ``sphere.reg``.
_FASTSURFER_FILES: Final = (
    *(("mri/orig.mgz",), ("mri/mask.mgz", "mri/brainmask.mgz"), ("mri/norm.mgz",), ("mri/aseg.mgz",)),
    *(("mri/aparc.DKTatlas+aseg.mapped.mgz", "mri/aparc.DKTatlas+aseg.mgz", "mri/aparc+aseg.mgz"), ("mri/ribbon.mgz",)),
    *(("mri/wmparc.DKTatlas.mapped.mgz", "mri/wmparc.mgz"), ("mri/transforms/talairach.xfm",)),
    *((f"surf/{side}.{name}",) for side in _HEMISPHERES for name in _SURFACES),
    *((f"label/{side}.cortex.label",) for side in _HEMISPHERES),
    *((f"label/{side}.aparc.DKTatlas.mapped.annot", f"label/{side}.aparc.DKTatlas.annot") for side in _HEMISPHERES),
    *((f"stats/{side}.aparc.DKTatlas.mapped.stats", f"stats/{side}.aparc.DKTatlas.stats") for side in _HEMISPHERES),
    *(("stats/aseg.stats",), ("stats/wmparc.DKTatlas.mapped.stats", "stats/wmparc.stats")),
)
#: The same of a run with ``--seg_only``.
_SEGMENTED_FILES: Final = (
    ("mri/orig.mgz",),
    ("mri/aparc.DKTatlas+aseg.deep.mgz",),
    ("stats/aseg+DKT.VINN.stats", "stats/aseg+DKT.stats"),
)


def _required(run: Run) -> Iterable[tuple[str, ...]]:
    """The files of a complete run: one of each group."""
    if run.time_points is not None:
        yield from ((f"mri/{name}.mgz",) for name in ("norm", "aseg"))
        yield ("mri/brainmask.mgz", "mri/mask.mgz") if run.fastsurfer else ("mri/brainmask.mgz",)
        yield from ((f"surf/{side}.{name}",) for side in _HEMISPHERES for name in ("white", "pial"))
        yield ("scripts/recon-all.log", "scripts/recon-surf.log") if run.fastsurfer else ("scripts/recon-all.log",)
        return
    if run.fastsurfer:
        yield from _SEGMENTED_FILES if run.only_segmented else _FASTSURFER_FILES
        return
    yield from ((f"mri/{name}.mgz",) for name in _VOLUMES)
    yield ("mri/transforms/talairach.xfm",)
    for side in _HEMISPHERES:
        yield from ((f"surf/{side}.{name}",) for name in (*_SURFACES, "sphere.reg"))
        yield from ((f"label/{side}.{name}",) for name in ("aparc.annot", "cortex.label"))
        yield from ((f"stats/{side}.{name}.stats",) for name in ("aparc", "aparc.a2009s"))
    yield from (("stats/aseg.stats",), ("stats/wmparc.stats",), ("scripts/recon-all.log",))


def _complete(run: Run) -> list[Finding]:
    required = list(_required(run))
    there = [[name for name in group if name in run.files] for group in required]
    missing = [group[0] for group, names in zip(required, there, strict=True) if not names]
    empty = [names[0] for names in there if names and not any(run.files[name].size_bytes for name in names)]
    parts = [
        f"{len(names)} of {len(required)} required files {one_or_many(len(names), 'is', 'are')} {what} ({_some(names)})"
        for what, names in (("missing", missing), ("empty", empty))
        if names
    ]
    if not parts:
        if run.only_segmented:
            why = (
                "FastSurfer made a segmentation without surfaces (--seg_only); stats/aseg.stats and aparc do not exist"
            )
            return [found("FS26", why, run.where)]
        return []
    why = f"{'; '.join(parts)}; finish the run or copy it again, or use --allow-incomplete"
    seen = ", ".join((*(f"{name} missing" for name in missing), *(f"{name} empty" for name in empty)))
    first = (*missing, *empty)[0]
    return [found("FS01", why, run.where, file=first, seen=seen, expected=f"all {len(required)} files")]


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _finished(run: Run) -> list[Finding]:
    running = sorted(name for name in run.files if name.startswith("scripts/IsRunning"))
    if running:
        why = f"{running[0]} exists: recon-all is running or was killed; wait, or remove this file if it has ended"
        return [found("FS02", why, run.where, file=running[0], seen="IsRunning", expected="no such file")]
    logs = ("scripts/recon-all-status.log", "scripts/recon-all.log", "scripts/recon-surf.log")
    last = next((name for name in logs if name in run.files), "scripts/recon-all.log")
    log = run.text(last)
    ended, failed = log.rfind(_FINISHED), log.rfind("exited with ERRORS")
    if failed > ended:
        why = "the log ends with 'exited with ERRORS'; read scripts/recon-all.log"
        return [found("FS02", why, run.where, file=last, seen="exited with ERRORS", expected=_FINISHED)]
    error, done = run.files.get("scripts/recon-all.error"), run.files.get("scripts/recon-all.done")
    if error is not None and (done is None or error.mtime_ns > done.mtime_ns):
        why = "scripts/recon-all.error exists: the last call failed; read scripts/recon-all.log"
        return [found("FS02", why, run.where, file="scripts/recon-all.error", seen="file exists", expected=_FINISHED)]
    if ended < 0 and not (run.fastsurfer and ("stats/aseg.stats" in run.files or run.only_segmented)):
        why = "no log contains 'finished without error'; finish the run, or use --allow-incomplete"
        return [found("FS02", why, run.where, file=last, seen="neither success nor failure", expected=_FINISHED)]
    return []


def _statistics(run: Run) -> list[Finding]:
    findings = []
    for name, file in run.files.items():
        if file.text is None or not _TABLES.fullmatch(name):
            continue
        if not file.text.strip():
            if all(name not in group for group in _required(run)):  # else reported as FS01
                findings.append(_unparsed(run, name, StatisticsError("the file is empty")))
            continue
        try:
            table = read_stats(file.text)
        except StatisticsError as error:
            findings.append(_unparsed(run, name, error))
            continue
        run.stats[name] = table
        side = name.removeprefix("stats/")[:2]
        if side in _HEMISPHERES and table.fields.get("hemi", side) != side:
            why = f"{name}: the file is of hemisphere {table.fields['hemi']}; check whether two files are swapped"
            findings.append(
                found("FS09", why, run.where, file=name, seen=f"hemi {table.fields['hemi']}", expected=f"hemi {side}")
            )
    return findings


def _unparsed(run: Run, name: str, error: StatisticsError) -> Finding:
    return found(
        "FS09", f"{name}: {error}; copy it again", run.where, file=name, seen=str(error), expected="a complete table"
    )


def _subfields(run: Run) -> list[Finding]:
    findings = []
    for name, file in run.files.items():
        if file.text is None or _SUBFIELDS.fullmatch(name) is None:
            continue
        try:
            read_volumes(file.text)
        except StatisticsError as error:
            findings.append(_unparsed(run, name, error))
    return findings


def _one_version(run: Run) -> list[Finding]:
    """Statistics of another version than the rest: an error where the major version differs, else a warning."""
    versions = {name: version_of(table) for name, table in run.stats.items() if not run.fastsurfer}
    versions = {name: version for name, version in versions.items() if version}
    own = run.version or next(iter(versions.values()), "")
    findings = []
    for name, version in versions.items():
        dotted = "." in version and "." in own
        if major_of(version) == major_of(own) and (not dotted or version.startswith(own) or own.startswith(version)):
            continue
        why = f"{name} was written by FreeSurfer {version}, the run by {own}; check whether files of two runs are mixed"
        mixed = found("FS23", why, run.where, file=name, seen=version, expected=own)
        same_major = major_of(version) == major_of(own)
        findings.append(replace(mixed, severity=Severity.WARNING) if same_major else mixed)
    return findings


def names_inside(run: Run) -> list[str]:
    """Subject names in statistics and log, without repetition."""
    tables = [name for table in run.stats.values() if (name := table.fields.get("subjectname"))]
    logged = re.findall(r"recon-all -s (\S+) finished without error", run.text("scripts/recon-all-status.log"))
    return list(dict.fromkeys([*tables, *logged]))


def _names(run: Run) -> list[Finding]:
    """Another name in all files is a renamed folder (warning); two names are files of two subjects (error)."""
    tables = {name: table.fields["subjectname"] for name, table in run.stats.items() if table.fields.get("subjectname")}
    others = {name: subject for name, subject in tables.items() if subject != run.name}
    if len(set(tables.values())) > 1:
        # The name of most tables is the run's own, unless one is the folder's.
        usual = run.name if run.name in tables.values() else max(tables.values(), key=list(tables.values()).count)
        odd = {name: subject for name, subject in tables.items() if subject != usual}
        shown = _some([f"{name} of {subject}" for name, subject in odd.items()])
        why = f"statistics of two subjects: {shown}, the other files of {usual}; replace the wrong files"
        mixed = found("FS13", why, run.where, file=next(iter(odd)), seen=shown, expected=usual)
        return [replace(mixed, severity=Severity.ERROR)]
    names = sorted(set(names_inside(run)) - {run.name})
    if not names:
        return []
    shown = ", ".join(names)
    why = f"the folder is named {run.name}, its files name {shown}; check that it is the right subject"
    file = next(iter(others), "scripts/recon-all-status.log")
    return [found("FS13", why, run.where, file=file, seen=shown, expected=run.name)]


def _user_details(run: Run) -> list[Finding]:
    stats = sum(1 for table in run.stats.values() if {"user", "hostname", "SUBJECTS_DIR"} & table.fields.keys())
    scripts = sorted(name for name in run.files if name.startswith("scripts/recon-all.") or name.endswith(".env"))
    if not stats and not scripts:
        return []
    parts = []
    if scripts:
        contain = one_or_many(len(scripts), "contains", "contain")
        parts.append(f"{_some(scripts)} {contain} command line and environment")
    if stats:
        parts.append(f"{counted(stats, 'statistics file')} with user, host and folders")
    return [found("FS15", f"{'; '.join(parts)}; uploaded unchanged, use --scrub to remove them", run.where)]
