"""Checks of the files beside an image: JSON sidecar and gradient tables."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.sources.gradients import B0_LIMIT, GradientError, Gradients, read_bvals, read_bvecs
from xnatferry.sources.limits import possible_values
from xnatferry.sources.sidecar import SidecarError, read_sidecar, repetition_time_ms
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from xnatferry.sources.model import Finding
    from xnatferry.sources.nifti_header import NiftiHeader

#: Largest difference of two repetition times, in ms, that is only rounding.
_SAME_TIME_MS: Final = 1.0
#: A time that is larger by this factor has another unit.
_OTHER_UNIT: Final = 10
#: How far from 1 the length of a direction may be.
_UNIT_TOLERANCE: Final = 0.01
#: Volumes that a tensor needs: six directions and one without weighting.
_FEWEST_VOLUMES: Final = 7
_DIFFUSION: Final = re.compile(r"(?<![a-z])(dwi|dti|dmri|diff(usion)?|hardi|noddi|dki)(?![a-z])", re.IGNORECASE)
_SIDECAR_LIMIT_BYTES: Final = 64 << 20


def check_sidecar(path: Path, header: NiftiHeader | None) -> tuple[dict[str, Any], list[Finding]]:
    """Read the JSON beside an image, and compare it with *header*; empty when it cannot be read.

    Values that cannot be are left out, with a finding.
    """
    sidecar, findings = sidecar_at(path)
    sidecar, problems = possible_values(sidecar)
    findings += [found("SID03", why, path) for why in problems]
    return sidecar, [*findings, *(found("SID02", why, path) for why in disagreements(sidecar, header))]


def sidecar_at(path: Path) -> tuple[dict[str, Any], list[Finding]]:
    """The JSON object in a file, empty when it cannot be read; what is wrong with it."""
    try:
        if path.stat().st_size > _SIDECAR_LIMIT_BYTES:
            return {}, [found("SID01", "the file is larger than 64 MiB, too large for a sidecar; move it away", path)]
        return read_sidecar(path.read_bytes()), []
    except OSError as error:
        return {}, [found("SID01", f"the file cannot be read ({error.strerror}); check its permissions", path)]
    except SidecarError as error:
        return {}, [found("SID01", f"{error}; repair the file, or move it away", path)]


def disagreements(sidecar: Mapping[str, Any], header: NiftiHeader | None) -> list[str]:
    """Where a sidecar (with inherited values) and the image header differ: repetition time, number of slices."""
    differences: list[str] = []
    given_ms, header_ms = repetition_time_ms(sidecar), None if header is None else header.repetition_time_ms
    if given_ms is not None and header_ms is not None and abs(given_ms - header_ms) > _SAME_TIME_MS:
        why = f"the repetition time is {given_ms:.10g} ms in the sidecar and {header_ms:.10g} ms in the image header"
        unit = " (BIDS uses seconds, not milliseconds)" if abs(given_ms - 1000 * header_ms) <= 1000 else ""
        differences.append(f"{why}; the value of the sidecar is used{unit}")
    times = sidecar.get("SliceTiming")
    last = _last_second(times)
    # The reference image of a series has the repetition time of the series, and slices after it.
    factor = 1 if header is not None and header.frames > 1 else _OTHER_UNIT
    if given_ms is not None and last is not None and 1000 * last > factor * given_ms + _SAME_TIME_MS:
        why = f"SliceTiming goes up to {last:.10g} s, the repetition time is {given_ms / 1000:.10g} s"
        differences.append(f"{why}; BIDS uses seconds for both")
    if header is None:
        return differences
    axis = "ijk".find(str(sidecar.get("SliceEncodingDirection", "k"))[:1])
    fits = 0 <= axis < len(header.shape) and not header.is_cifti
    if isinstance(times, list) and fits and len(times) != header.shape[axis]:
        differences.append(
            f"SliceTiming has {counted(len(times), 'value')}, the image has {counted(header.shape[axis], 'slice')}"
        )
    return differences


def _last_second(times: object) -> float | None:
    """The largest of a list of times in seconds; None if it is no list of numbers."""
    numbers = times if isinstance(times, list) else []
    if not numbers or any(isinstance(time, bool) or not isinstance(time, int | float) for time in numbers):
        return None
    return float(max(numbers))


def is_diffusion(header: NiftiHeader | None, *names: str | None) -> bool:
    """Whether an image is a diffusion series, by its file name or type and the number of its volumes."""
    enough = header is not None and header.frames >= _FEWEST_VOLUMES
    return enough and any(_DIFFUSION.search(name) for name in names if name)


def check_gradients(
    bval: Path | None, bvec: Path | None, header: NiftiHeader | None, *, image: Path
) -> tuple[Gradients | None, list[Finding]]:
    """Compare gradient tables of *image* with each other and with the number of volumes."""
    if bval is None and bvec is None:
        why = "the diffusion image has no gradient tables (.bval, .bvec); without them it cannot be analysed, add them"
        return None, [found("DWI04", why, image)]
    findings: list[Finding] = []
    gradients: Gradients | None = None
    volumes = None if header is None else header.frames
    if bval is not None:
        try:
            gradients = read_bvals(bval.read_bytes())
        except (OSError, GradientError) as error:
            findings.append(found("DWI02", f"{_why(error)}; repair the table, or move it away", bval))
        else:
            findings += _count(bval, len(gradients.bvals), "b-value", volumes)
    if bvec is not None:
        try:
            directions, in_rows = read_bvecs(bvec.read_bytes())
        except (OSError, GradientError) as error:
            findings.append(found("DWI02", f"{_why(error)}; repair the table, or move it away", bvec))
        else:
            findings += _count(bvec, len(directions), "direction", volumes)
            findings += _odd_directions(bvec, directions, gradients, in_rows=in_rows)
    if (bval is None) != (bvec is None):
        here, missing = (bval or bvec), (".bvec" if bvec is None else ".bval")
        findings.append(found("DWI03", f"there is no {missing} beside it; most programs need both files", here))
    return gradients, findings


def _why(error: Exception) -> str:
    return f"the table cannot be read ({error.strerror})" if isinstance(error, OSError) else str(error)


def _count(path: Path, number: int, noun: str, volumes: int | None) -> list[Finding]:
    if volumes is None or number == volumes:
        return []
    why = (
        f"the table has {counted(number, noun)}, the image has {counted(volumes, 'volume')}; use the"
        " table of this image"
    )
    return [found("DWI01", why, path)]


def _odd_directions(
    path: Path, directions: list[tuple[float, float, float]], gradients: Gradients | None, *, in_rows: bool
) -> list[Finding]:
    findings = []
    if not in_rows:
        why = "the table has one row per volume, BIDS and FSL expect three rows; it is uploaded unchanged"
        findings.append(found("DWI03", why, path))
    bvals = gradients.bvals if gradients is not None and len(gradients.bvals) == len(directions) else None
    weighted = [index for index in range(len(directions)) if bvals is None or bvals[index] > B0_LIMIT]
    lost = [index for index in weighted if not math.isfinite(math.hypot(*directions[index]))]
    if lost and bvals is not None:
        why = f"volume {lost[0]} (counted from 0) is diffusion-weighted, but has no direction; repair the table"
        findings.append(found("DWI02", why, path))
    elif not all(math.isfinite(part) for direction in directions for part in direction):
        why = "volumes at b = 0 have the direction NaN, BIDS expects 0 0 0; the table is uploaded unchanged"
        findings.append(found("DWI03", why, path))
    odd = [
        index
        for index in weighted
        if any(directions[index]) and abs(math.hypot(*directions[index]) - 1) > _UNIT_TOLERANCE
    ]
    if odd:
        why = f"{counted(len(odd), 'direction')} not of length 1 (first: volume {odd[0]}, counted from 0)"
        findings.append(found("DWI03", why, path))
    return findings
