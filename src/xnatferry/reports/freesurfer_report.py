"""The report of FreeSurfer subjects: checks, pictures, numbers against the other subjects, versions and times.

The same data gives the same bytes (there is no date in it), so that an attached report is sent once.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.finding_catalog import CATALOGUE
from xnatferry.errors import DataError, XnatferryError
from xnatferry.reports.plots import FEWEST, LIMIT, Spread, shown_number, strip_plot
from xnatferry.results.local_stats import local_stats
from xnatferry.sources.model import Kind, LocalFile, Severity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from xnatferry.pictures.picture import Picture
    from xnatferry.sources.model import Source

#: Table, side, region and measurement of what is drawn for every run, with its title.
_DRAWN: Final = (
    ("Mean thickness, left (mm)", ("aparc", "left", "MeanThickness", "Thickness_mm")),
    ("Mean thickness, right (mm)", ("aparc", "right", "MeanThickness", "Thickness_mm")),
    ("Estimated intracranial volume (mm\u00b3)", ("aseg", "", "eTIV", "Volume_mm3")),
    ("Brain volume (mm\u00b3)", ("aseg", "", "BrainSegVol", "Volume_mm3")),
    ("Grey matter (mm\u00b3)", ("aseg", "", "TotalGrayVol", "Volume_mm3")),
    ("Cerebral white matter (mm\u00b3)", ("aseg", "", "CerebralWhiteMatterVol", "Volume_mm3")),
    ("Hippocampus, left (mm\u00b3)", ("aseg", "", "Left-Hippocampus", "Volume_mm3")),
    ("Hippocampus, right (mm\u00b3)", ("aseg", "", "Right-Hippocampus", "Volume_mm3")),
    ("Lateral ventricle, left (mm\u00b3)", ("aseg", "", "Left-Lateral-Ventricle", "Volume_mm3")),
    ("Lateral ventricle, right (mm\u00b3)", ("aseg", "", "Right-Lateral-Ventricle", "Volume_mm3")),
    ("White surface, left (mm\u00b2)", ("aparc", "left", "WhiteSurfArea", "SurfArea_mm2")),
    ("Surface defects before correction", ("aseg", "", "SurfaceHoles", "unitless")),
)
#: Measurements in which outliers are looked for, by table.
_COMPARED: Final = {"aseg": {"Volume_mm3"}, "aparc": {"ThickAvg", "Thickness_mm"}}
_LISTED: Final = 15
_DONE: Final = re.compile(r"^(START_TIME|END_TIME|RUNTIME_HOURS) +(\S.*)$", re.MULTILINE)
_SHOWN: Final = {"START_TIME": "started", "END_TIME": "ended", "RUNTIME_HOURS": "hours"}

Measure = tuple[str, str, str, str]


@dataclass(frozen=True, slots=True)
class SubjectReport:
    """One subject of a run.

    Attributes:
        name: Its folder or archive, relative to what was read.
        source: What was found.
        checks: One row for each check.
        values: Its numbers.
        attributes: Versions and times from its files.
        pictures: Its brain, by what is drawn over it.
        note: Why there are no pictures.
    """

    name: str
    source: Source
    checks: tuple[CheckRow, ...]
    values: Mapping[Measure, float] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    pictures: Mapping[str, Picture] = field(default_factory=dict)
    note: str = ""

    def count(self, severity: Severity) -> int:
        """Number of findings with this severity."""
        return sum(finding.severity is severity for finding in self.source.findings)


@dataclass(frozen=True, slots=True)
class Report:
    """All FreeSurfer subjects of one run, which are compared with one another."""

    title: str
    subjects: tuple[SubjectReport, ...]
    spreads: Mapping[Measure, Spread]

    def html(self, *, only: str | None = None) -> str:
        """One page that holds everything; of one subject, compared with all, when *only* names it."""
        from xnatferry.reports.page import render  # noqa: PLC0415  # jinja2 is loaded where a page is made

        shown = [one for one in self.subjects if only in {None, one.name}]
        own = only or ""
        plots = [
            (title, strip_plot(self.spreads[measure], own=own), len(self.spreads[measure].values))
            for title, measure in _DRAWN
            if measure in self.spreads and (not own or own in self.spreads[measure].values)
        ]
        return render(
            "freesurfer.html",
            title=f"FreeSurfer subject {only}" if only else self.title,
            subjects=shown,
            others=len(self.subjects),
            plots=plots,
            outliers={one.name: self.outliers(one) for one in shown},
            severity=Severity,
            fewest=FEWEST,
            limit=LIMIT,
            number=shown_number,
            single=only is not None,
        )

    def outliers(self, subject: SubjectReport) -> list[tuple[str, str, float, float, float]]:
        """Outliers: where, what, value, median of all, robust z; the largest distance first."""
        found = []
        for (table, side, region, measurement), value in subject.values.items():
            spread = self.spreads[table, side, region, measurement]
            z = spread.z(subject.name)
            if z is not None and abs(z) > LIMIT:
                found.append((f"{side} {region}".strip(), measurement, value, spread.middle, z))
        return sorted(found, key=lambda one: -abs(one[4]))[:_LISTED]

    def record(self, subject: SubjectReport) -> dict[str, Any]:
        """The page of one subject as JSON."""
        return {
            "freesurfer_report": 1,
            "subject": subject.name,
            "version": subject.source.version,
            "refused": subject.source.refused,
            "facts": dict(subject.attributes),
            "checks": [row.to_dict() for row in subject.checks],
            "compared_with": len(self.subjects) - 1,
            "outliers": [
                {"where": where, "measurement": what, "value": value, "median": middle, "robust_z": round(z, 2)}
                for where, what, value, middle, z in self.outliers(subject)
            ],
        }

    def files(self, source: Source) -> tuple[LocalFile, ...]:
        """The report of one subject as files for a resource: JSON, then HTML."""
        one = next(one for one in self.subjects if one.source.path == source.path)
        record = json.dumps(self.record(one), indent=1, ensure_ascii=False).encode() + b"\n"
        return (
            LocalFile.written(source.path, "freesurfer_report.json", record),
            LocalFile.written(source.path, "freesurfer_report.html", self.html(only=one.name).encode()),
        )


def read_report(sources: Sequence[Source], title: str) -> Report:
    """Read what a report shows of FreeSurfer subjects: statistics, logs, volumes and surfaces.

    Args:
        sources: Discovered sources; other kinds are ignored.
        title: Headline of the page.

    Raises:
        DataError: There is no FreeSurfer subject among *sources*.
    """
    mine = [source for source in sources if source.kind is Kind.FREESURFER]
    if not mine:
        raise DataError("no FreeSurfer subject found for the report; give a SUBJECTS_DIR or one subject")
    subjects = [_read_subject(source) for source in mine]
    return Report(title, tuple(subjects), _spreads(subjects))


def _read_subject(source: Source) -> SubjectReport:
    pictures: Mapping[str, Picture] = {}
    note = ""
    if source.path.is_dir():
        from xnatferry.pictures.brain import brain_pictures  # noqa: PLC0415  # loads numpy

        try:
            pictures = brain_pictures(source.path)
            note = "" if pictures else "No pictures: mri/ contains no volume."
        except DataError as error:
            note = f"No pictures: {error}"
    else:
        note = "No pictures: the subject is an archive; pictures need a folder."
    return SubjectReport(source.relative, source, check_rows(source), _values(source), _facts(source), pictures, note)


def _values(source: Source) -> dict[Measure, float]:
    found: dict[Measure, float] = {}
    for table, compared in _COMPARED.items():
        try:
            entries = local_stats(table, source.path).entries
        except XnatferryError:
            continue
        for entry in entries:
            for number in entry.numbers():
                drawn = any(measure == (table, number.side, number.region, number.measurement) for _, measure in _DRAWN)
                if (number.measurement in compared or drawn) and math.isfinite(number.value):
                    found[table, number.side, number.region, number.measurement] = number.value
    return found


def _spreads(subjects: Sequence[SubjectReport]) -> dict[Measure, Spread]:
    measures = dict.fromkeys(measure for one in subjects for measure in one.values)
    return {m: Spread({one.name: one.values[m] for one in subjects if m in one.values}) for m in measures}


def _facts(source: Source) -> dict[str, str]:
    """Versions and times; not user and host, which the logs contain."""
    attributes = {"version": source.version or "unknown"}
    stamp = _text(source, "scripts/build-stamp.txt").strip()
    if stamp:
        attributes["build"] = stamp
    for key, value in _DONE.findall(_text(source, "scripts/recon-all.done")):
        attributes[_SHOWN[key]] = value.strip()
    attributes["files"] = f"{len(source.files)}, {source.size_bytes / 1e6:.1f} MB"
    return attributes


def _text(source: Source, relative: str) -> str:
    path: Path = source.path / relative
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


#: Description of each check, and the files (below the subject) that it needs.
_CHECKS: Final[Mapping[str, tuple[str, str]]] = {
    "FS01": ("All required files exist", ""),
    "FS02": ("The run finished", ""),
    "FS03": ("The version is known", ""),
    "FS04": ("No file is damaged", ""),
    "FS05": ("Volumes have one grid", r"mri/.*\.mgz"),
    "FS06": ("The segmentation is complete", r"stats/aseg\.stats"),
    "FS07": ("Surfaces and their values have the same vertices", r"surf/[lr]h\.(white|pial|thickness).*"),
    "FS08": ("Few surface defects before correction", r"stats/aseg\.stats"),
    "FS09": ("Statistics can be read", r"stats/.*\.stats"),
    "FS10": ("Volumes and thickness are in the usual range", r"stats/.*\.stats"),
    "FS11": ("The Talairach transform is plausible", r"mri/transforms/talairach.*"),
    "FS12": ("Image quality (contrast, signal to noise)", r"stats/wmparc\.stats"),
    "FS13": ("All files name the same subject", ""),
    "FS14": ("All links are uploaded", ""),
    "FS15": ("Logs contain no user, host and folders", r"(scripts|stats)/.*"),
}


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One check.

    Attributes:
        id: Stable id, explained in docs/findings.md.
        description: What is checked.
        result: ``passed``, ``not checked``, or the severity of what was found.
        messages: What was found.
    """

    id: str
    description: str
    result: str
    messages: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The row as JSON members."""
        return {"id": self.id, "check": self.description, "result": self.result, "messages": list(self.messages)}


def check_rows(source: Source) -> tuple[CheckRow, ...]:
    """A row for every check, then one for each other finding."""
    names = [file.name.partition("/")[2] for file in source.files]
    rows = []
    for check_id, (description, needed) in _CHECKS.items():
        found = [finding for finding in source.findings if finding.id == check_id]
        if found:
            messages = tuple(finding.message for finding in found)
            rows.append(CheckRow(check_id, description, found[0].severity.value, messages))
        elif not source.files or (needed and not any(re.fullmatch(needed, name) for name in names)):
            rows.append(CheckRow(check_id, description, "not checked", ("required files are missing",)))
        else:
            rows.append(CheckRow(check_id, description, "passed"))
    others = [finding for finding in source.findings if finding.id not in _CHECKS]
    rows += [CheckRow(f.id, CATALOGUE[f.id][1].capitalize(), f.severity.value, (f.message,)) for f in others]
    return tuple(rows)
