"""Whether the numbers of a FreeSurfer subject are those of a brain.

Ranges are wide on purpose: they catch broken runs, not unusual people.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xnatferry.checks.catalogue import found

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from xnatferry.freesurfer.stats_file import StatsFile
    from xnatferry.sources.base import Finding

__all__ = ["check_plausibility"]

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
    findings = [*_talairach(text, where), *_contrast(stats, where), *_thickness(stats, where)]
    aseg = stats.get(_ASEG)
    if aseg is not None:
        findings += [*_segmentation(aseg, where), *_holes(aseg, where), *_volumes(aseg, where)]
    return findings


def _segmentation(aseg: StatsFile, where: Path) -> list[Finding]:
    findings = []
    if len(aseg.rows) < _FEWEST_STRUCTURES:
        why = f"{_ASEG} has {len(aseg.rows)} structures; {_FEWEST_STRUCTURES} or more are usual"
        findings.append(found("FS06", why, where))
    nothing = [
        f"{side}-{name}"
        for side in ("Left", "Right")
        for name in _STRUCTURES
        if not aseg.value(f"{side}-{name}", "Volume_mm3")
    ]
    if nothing:
        findings.append(found("FS06", f"{_ASEG} gives no volume to {', '.join(nothing)}", where))
    return findings


def _holes(aseg: StatsFile, where: Path) -> list[Finding]:
    holes = {side: aseg.measures.get(f"{side}SurfaceHoles", 0.0) for side in ("lh", "rh")}
    if max(holes.values()) <= _MANY_HOLES:
        return []
    why = (
        f"{holes['lh']:g} holes left and {holes['rh']:g} right before fixing (over {_MANY_HOLES}); look at the surfaces"
    )
    return [found("FS08", why, where)]


def _volumes(aseg: StatsFile, where: Path) -> list[Finding]:
    measures = aseg.measures
    intracranial_mm3 = measures.get("eTIV", measures.get("ICV"))
    findings = []
    if intracranial_mm3 is not None:
        findings += _range(intracranial_mm3 / 1e6, 0.8, 2.4, "intracranial volume (eTIV), litres", where)
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
            findings += _range(table.measures["MeanThickness"], 1.8, 3.2, f"mean thickness {side}, mm", where)
    return findings


def _range(value: float, low: float, high: float, what: str, where: Path) -> list[Finding]:
    if low <= value <= high:
        return []
    why = f"{what}: {value:.3g}, usual are {low} to {high}; look at the segmentation"
    return [found("FS10", why, where)]


def _talairach(text: Callable[[str], str], where: Path) -> list[Finding]:
    findings = []
    matrix = _matrix(text("mri/transforms/talairach.xfm"))
    if matrix is not None:
        (a, b, c), (d, e, f), (g, h, i) = matrix
        determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
        if not 0.5 <= determinant <= 3:
            why = f"talairach.xfm scales the volume by {determinant:.3g}, usual are 0.5 to 3; eTIV depends on it"
            findings.append(found("FS11", why, where))
    match = re.search(r"TalAviQA:\s*([0-9.]+)", text("mri/transforms/talairach_avi_QA.log"))
    if match is not None and (quality := _number(match[1])) is not None and quality < 0.9:
        why = f"the Talairach registration scores {quality:g}, good ones 0.97 and more; eTIV depends on it"
        findings.append(found("FS11", why, where))
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


def _contrast(stats: Mapping[str, StatsFile], where: Path) -> list[Finding]:
    """Gray/white contrast in per cent, averaged over the cortex, as a measure of image quality."""
    shown = []
    for side in ("lh", "rh"):
        table = stats.get(f"stats/{side}.w-g.pct.stats")
        if table is None:
            continue
        means, sizes = table.column("Mean"), table.column("NVertices")
        weights = [size if mean else 0.0 for mean, size in zip(means, sizes, strict=False)]
        if sum(weights) > 0:
            mean = sum(m * w for m, w in zip(means, weights, strict=False)) / sum(weights)
            shown.append(f"{side} {mean:.1f} %")
    return [found("FS12", f"contrast of gray and white matter: {', '.join(shown)}", where)] if shown else []
