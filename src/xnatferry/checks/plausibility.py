"""Whether the measures of a FreeSurfer subject are plausible.

Ranges are wide on purpose: they catch broken runs, not unusual people.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from xnatferry.freesurfer.stats_file import StatsFile
    from xnatferry.sources.model import Finding

_ASEG: Final = "stats/aseg.stats"
_STRUCTURES: Final = ("Caudate", "Putamen", "Pallidum", "Hippocampus", "Amygdala", "Cerebellum-Cortex")
_FEWEST_STRUCTURES: Final = 35
_MANY_HOLES: Final = 50


def check_plausibility(stats: Mapping[str, StatsFile], text: Callable[[str], str], where: Path) -> list[Finding]:
    """Checks FS06, FS08, FS10, FS11 and FS12.

    Args:
        stats: Parsed statistics files by path below the subject.
        text: Gives a file of the subject as text, empty when it is not there.
        where: Folder or archive of the subject.
    """
    findings = [*_talairach(text, where), *_image_quality(stats, where), *_thickness(stats, where)]
    aseg = stats.get(_ASEG)
    if aseg is not None:
        findings += [*_segmentation(aseg, where), *_holes(aseg, where), *_volumes(aseg, where)]
        findings += _log_holes(aseg, text("scripts/recon-all.log"), where)
    return findings


def _segmentation(aseg: StatsFile, where: Path) -> list[Finding]:
    findings = []
    if len(aseg.rows) < _FEWEST_STRUCTURES:
        why = (
            f"{_ASEG} has {counted(len(aseg.rows), 'structure')}, {_FEWEST_STRUCTURES} or more are usual;"
            " inspect the segmentation"
        )
        expected = f"{_FEWEST_STRUCTURES} or more"
        findings.append(found("FS06", why, where, file=_ASEG, seen=str(len(aseg.rows)), expected=expected))
    without_volume = [
        f"{side}-{name}"
        for side in ("Left", "Right")
        for name in _STRUCTURES
        if not aseg.value(f"{side}-{name}", "Volume_mm3")
    ]
    if without_volume:
        why = f"{_ASEG} has no volume for {', '.join(without_volume)}; inspect the segmentation"
        findings.append(found("FS06", why, where, file=_ASEG, seen="0 mm^3", expected="a volume"))
    return findings


def _holes(aseg: StatsFile, where: Path) -> list[Finding]:
    holes = {side: aseg.measures.get(f"{side}SurfaceHoles", 0.0) for side in ("lh", "rh")}
    if max(holes.values()) <= _MANY_HOLES:
        return []
    why = (
        f"{holes['lh']:g} surface defects left and {holes['rh']:g} right before correction (more than {_MANY_HOLES});"
        " inspect the surfaces"
    )
    seen = f"{holes['lh']:g} and {holes['rh']:g} defects"
    strongly = " before you use them" if max(holes.values()) > 2 * _MANY_HOLES else ""
    return [found("FS08", why + strongly, where, file=_ASEG, seen=seen, expected=f"{_MANY_HOLES} or less")]


def _log_holes(aseg: StatsFile, log: str, where: Path) -> list[Finding]:
    """The log counts Euler numbers before fixing, ``holes = 1 - euler / 2``; aseg.stats counts the holes."""
    values = re.findall(r"orig\.nofix lheno\s*=\s*(-?\d+), rheno\s*=\s*(-?\d+)", log)
    if not values:
        return []
    findings = []
    for side, euler in zip(("lh", "rh"), values[-1], strict=True):
        holes, listed = 1 - int(euler) / 2, aseg.measures.get(f"{side}SurfaceHoles")
        if listed is not None and listed != holes:
            why = (
                f"{_ASEG} counts {listed:g} surface defects ({side}), the log {holes:g}; check whether"
                " files of two runs are mixed"
            )
            findings.append(found("FS08", why, where, file=_ASEG, seen=f"{listed:g}", expected=f"{holes:g}"))
    return findings


def _volumes(aseg: StatsFile, where: Path) -> list[Finding]:
    measures = aseg.measures
    intracranial_mm3 = measures.get("eTIV", measures.get("ICV"))
    findings = []
    if intracranial_mm3 is not None:
        findings += _range(intracranial_mm3 / 1e6, 0.8, 2.4, "intracranial volume (eTIV) in litres", where)
    if intracranial_mm3 and "BrainSegVol" in measures:
        findings += _range(measures["BrainSegVol"] / intracranial_mm3, 0.5, 0.95, "BrainSegVol / eTIV", where)
    left, right = measures.get("lhCortexVol"), measures.get("rhCortexVol")
    if left and right:
        findings += _range(left / right, 0.85, 1.18, "left / right cortical volume", where)
    return findings


def _thickness(stats: Mapping[str, StatsFile], where: Path) -> list[Finding]:
    findings = []
    for side in ("lh", "rh"):
        table = stats.get(f"stats/{side}.aparc.stats")
        if table is not None and "MeanThickness" in table.measures:
            findings += _range(
                table.measures["MeanThickness"],
                1.8,
                3.2,
                f"mean thickness {side} in mm",
                where,
                file=f"stats/{side}.aparc.stats",
            )
    return findings


def _range(value: float, low: float, high: float, what: str, where: Path, *, file: str = _ASEG) -> list[Finding]:
    if low <= value <= high:
        return []
    why = f"{what}: {value:.3g}, usual range {low} to {high}; inspect the segmentation"
    return [found("FS10", why, where, file=file, seen=f"{value:.3g}", expected=f"{low} to {high}")]


def _talairach(text: Callable[[str], str], where: Path) -> list[Finding]:
    findings = []
    matrix = _matrix(text("mri/transforms/talairach.xfm"))
    if matrix is not None:
        (a, b, c), (d, e, f), (g, h, i) = matrix
        determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
        if not 0.5 <= determinant <= 3:
            why = (
                f"talairach.xfm scales the volume by {determinant:.3g}, usual range 0.5 to 3; eTIV"
                " depends on it, inspect it"
            )
            file, seen = "mri/transforms/talairach.xfm", f"{determinant:.3g}"
            findings.append(found("FS11", why, where, file=file, seen=seen, expected="0.5 to 3"))
    match = re.search(r"TalAviQA:\s*([0-9.]+)", text("mri/transforms/talairach_avi_QA.log"))
    if match is not None and (quality := _number(match[1])) is not None and quality < 0.9:
        why = f"the Talairach registration scores {quality:g}, 0.97 or more is good; eTIV depends on it, inspect it"
        file = "mri/transforms/talairach_avi_QA.log"
        findings.append(found("FS11", why, where, file=file, seen=f"{quality:g}", expected="0.9 or more"))
    return findings


def _matrix(xfm: str) -> list[list[float]] | None:
    _, _, after = xfm.partition("Linear_Transform")
    numbers = [_number(word) for word in after.replace("=", " ").replace(";", " ").split()[:12]]
    known = [number for number in numbers if number is not None]
    return [known[row * 4 : row * 4 + 3] for row in range(3)] if len(known) == 12 else None


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _image_quality(stats: Mapping[str, StatsFile], where: Path) -> list[Finding]:
    """Contrast of the cortex and signal to noise of the white matter, as measures of image quality."""
    shown = []
    for side in ("lh", "rh"):
        contrast = _weighted(stats.get(f"stats/{side}.w-g.pct.stats"), "NVertices", "Mean")
        shown += [f"gray/white contrast {side} {contrast:.1f} %"] if contrast else []
    names = ("stats/wmparc.stats", "stats/wmparc.DKTatlas.mapped.stats")
    wmparc = next((name for name in names if name in stats), "")
    mean, spread = (_weighted(stats.get(wmparc), "NVoxels", column, "wm-") for column in ("normMean", "normStdDev"))
    shown += [f"signal to noise of white matter {mean / spread:.1f}"] if mean and spread else []
    if not shown:
        return []
    values = ", ".join(shown)
    file = wmparc if mean else "stats/lh.w-g.pct.stats"
    return [found("FS12", values, where, file=file, seen=values)]


def _weighted(table: StatsFile | None, sizes: str, column: str, prefix: str = "") -> float:
    """Average of a column, weighted by the size of each structure that has a value; 0 without any."""
    if table is None or "StructName" not in table.columns:
        return 0.0
    names = [row[table.columns.index("StructName")] for row in table.rows]
    cells = zip(names, table.column(sizes), table.column(column), strict=False)
    used = [(size, value) for name, size, value in cells if value and name.startswith(prefix)]
    total = sum(size for size, _ in used)
    return sum(size * value for size, value in used) / total if total else 0.0
