"""Whether the volumes, surfaces and values of a FreeSurfer subject are complete and consistent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.checks.surfaces import (
    FormatError,
    MghHeader,
    annotation_vertices,
    curvature_vertices,
    label_vertices,
    read_mgh,
    surface_counts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from xnatferry.checks.freesurfer import Run
    from xnatferry.sources.model import Finding

_HEMISPHERES: Final = ("lh", "rh")
_SAME_GRID: Final = ("orig", "T1", "brainmask", "norm", "aseg", "aparc+aseg", "ribbon")
_SURFACES: Final = ("white", "pial", "inflated", "sphere.reg", "white.preaparc", "pial.T1", "smoothwm", "sphere")
_CURVATURES: Final = ("thickness", "curv", "area", "sulc", "volume", "area.pial", "curv.pial", "area.mid")
_FINAL_SURFACES: Final = ("white", "pial")
_AGAIN: Final = "copy it again from its source"


def check_files(run: Run) -> list[Finding]:
    """Checks FS04, FS05, FS07, the Euler numbers of FS08, and FS21; also finds out the resolution."""
    volumes, findings = _volumes(run)
    findings += _grids(run, volumes)
    for side in _HEMISPHERES:
        findings += _hemisphere(run, side)
    return findings


def _volumes(run: Run) -> tuple[dict[str, MghHeader], list[Finding]]:
    headers: dict[str, MghHeader] = {}
    findings: list[Finding] = []
    for name, file in run.files.items():
        if file.damage is not None:
            why = f"{name}: {file.damage}; {_AGAIN}"
            findings.append(
                found("FS04", why, run.where, file=name, seen=file.damage, expected="a complete gzip stream")
            )
        elif name.endswith(".mgz") and file.size_bytes:
            try:
                headers[name] = read_mgh(file.head, file.unpacked_bytes)
            except FormatError as error:
                why = f"{name}: {error}; {_AGAIN}"
                findings.append(
                    found("FS04", why, run.where, file=name, seen=str(error), expected="a complete MGH volume")
                )
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
            why = f"mri/{name}.mgz has another grid than the other volumes; check whether files of two runs are mixed"
            findings.append(found("FS05", why, run.where, file=f"mri/{name}.mgz", seen=str(other), expected=str(orig)))
    if orig.shape != (256, 256, 256) or any(abs(step - 1) > 1e-3 for step in orig.voxel_size_mm):
        run.high_resolution = True
        shape, steps = " x ".join(map(str, orig.shape)), " x ".join(f"{step:g}" for step in orig.voxel_size_mm)
        why = f"the volumes have {shape} voxels of {steps} mm, not 256 of 1 mm; the resource label ends in _HIRES"
        findings.append(
            found("FS21", why, run.where, file="mri/orig.mgz", seen=f"{shape} of {steps} mm", expected="256 of 1 mm")
        )
    return findings


def _hemisphere(run: Run, side: str) -> Iterator[Finding]:
    counts: dict[str, int] = {}
    for name, file in run.files.items():
        folder, _, rest = name.partition("/")
        if not rest.startswith(f"{side}.") or not file.size_bytes:
            continue
        kind = rest.removeprefix(f"{side}.")
        try:
            if folder == "surf" and kind in _SURFACES:
                counts[name], faces = surface_counts(file.head, file.size_bytes)
                if kind in _FINAL_SURFACES:
                    yield from _euler(run, name, counts[name], faces)
            elif folder == "surf" and kind in _CURVATURES:
                counts[name] = curvature_vertices(file.head, file.size_bytes)
            elif folder == "label" and kind.endswith(".annot"):
                counts[name] = annotation_vertices(file.head, file.size_bytes)
            elif folder == "label" and kind.endswith(".label"):
                label_vertices(file.head, file.size_bytes)
        except FormatError as error:
            why = f"{name}: {error}; {_AGAIN}"
            expected = "an ASCII label" if kind.endswith(".label") else "a complete file"
            yield found("FS04", why, run.where, file=name, seen=str(error), expected=expected)
    if len(set(counts.values())) > 1:
        yield _mixed(run, side, counts)


def _mixed(run: Run, side: str, counts: Mapping[str, int]) -> Finding:
    """The most frequent count is taken as right; the other files are named."""
    values = list(counts.values())
    usual = max(values, key=values.count)
    others = {name: count for name, count in counts.items() if count != usual}
    shown = ", ".join(f"{name} {count}" for name, count in others.items())
    why = f"vertex counts differ: {shown}, other {side} files {usual}; check whether files of two runs are mixed"
    return found("FS07", why, run.where, file=next(iter(others)), seen=shown, expected=f"{usual} vertices")


def _euler(run: Run, name: str, vertices: int, faces: int) -> Iterator[Finding]:
    """A closed surface of triangles without handles has ``V - E + F = 2``, and two faces meet at each edge."""
    euler = vertices - faces / 2
    if euler != 2:
        why = f"{name} has Euler number {euler:g} instead of 2 (remaining holes or handles); inspect the surface"
        yield found("FS08", why, run.where, file=name, seen=f"{euler:g}", expected="2")
