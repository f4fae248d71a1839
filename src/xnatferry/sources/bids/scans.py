"""One scan of a dataset: its files checked, its header and its sidecars read as XNAT fields."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.bids import fitting_fields
from xnatferry.checks.bids_requirements import COMPANIONS, check_axes, check_fields, check_volume_rows, check_volumes
from xnatferry.checks.data_files import accepted
from xnatferry.checks.finding_catalog import found
from xnatferry.checks.images import ImageReport, inspect_image
from xnatferry.checks.sidecars import check_gradients, disagreements
from xnatferry.sources.bids.inheritance import read_object
from xnatferry.sources.bids.names import parse_name
from xnatferry.sources.bids.scan_grouping import Unit, duplicates_in
from xnatferry.sources.limits import is_possible, possible_values
from xnatferry.sources.model import Severity
from xnatferry.sources.nifti_header import number
from xnatferry.sources.sidecar import series_description, sidecar_facts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from xnatferry.sources.bids.inheritance import Inheritance
    from xnatferry.sources.bids.scan_grouping import Kept
    from xnatferry.sources.model import Finding
    from xnatferry.sources.nifti_header import NiftiHeader

_MR: Final = frozenset({"anat", "func", "dwi", "fmap", "perf"})
_SCAN_TYPES: Final = {
    "mrs": "xnat:mrsScanData", "pet": "xnat:petScanData", "meg": "xnat:megScanData", "eeg": "xnat:eegScanData",
}  # fmt: skip
_LISTED_PARAMETERS: Final = (
    "TaskName", "PhaseEncodingDirection", "TotalReadoutTime", "MultibandAccelerationFactor", "SliceTiming",
    "ParallelReductionFactorInPlane", "DwellTime", "SeriesNumber", "EchoNumber", "ArterialSpinLabelingType",
    "PostLabelingDelay", "ReconMethodName", "SpecificRadioactivityUnits",
)  # fmt: skip
_MOST_FRAMES: Final = 60
#: Half-lives in seconds.
_ISOTOPES: Final = {
    "C11": "1221.8", "N13": "597.9", "O15": "122.2", "F18": "6586.2", "Ga68": "4063.0", "Cu64": "45721.0",
    "Zr89": "282280.0",
}  # fmt: skip
#: Fields that only MR scans have; ``parameters/`` of other types have other names and units.
MR_ONLY: Final = frozenset({"coil", "fieldStrength"})


@dataclass(slots=True)
class ScanReport:
    """Result of reading one scan.

    Attributes:
        attributes: Fields of the scan.
        session: Fields of its session that it gives.
        series_description: Name that the sidecar gives.
        sidecar: All its sidecars, merged.
        inherited: The same without its own sidecar.
        digests: MD5 of files that were read to the end.
        findings: Findings about it.
    """

    attributes: dict[str, str] = field(default_factory=dict)
    session: dict[str, str] = field(default_factory=dict)
    series_description: str | None = None
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    inherited: Mapping[str, Any] = field(default_factory=dict)
    digests: Mapping[Path, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def scan_type_of(unit: Unit) -> str:
    """XNAT data type of a scan."""
    return "xnat:mrScanData" if unit.datatype in _MR else _SCAN_TYPES.get(unit.datatype, "xnat:otherDicomScanData")


def session_type_of(datatypes: set[str]) -> str:
    """Short name of the type of a session with scans of these datatypes; MR counts before MEG and EEG."""
    images = bool(datatypes & (_MR | {"mrs"}))
    if "pet" in datatypes:
        return "PETMR" if images else "PET"
    if images:
        return "MR"
    return next((name.upper() for name in ("meg", "eeg") if name in datatypes), "OTHER")


def read_scan(unit: Unit, inheritance: Inheritance, *, allow_incomplete: bool) -> ScanReport:
    """Check the files of a scan and read their metadata.

    Args:
        unit: The scan.
        inheritance: The metadata of the dataset.
        allow_incomplete: Whether empty or truncated images are uploaded with a warning.
    """
    report = ScanReport()
    for kept in unit.kept:
        if stands_alone(kept, unit):
            continue
        if kept.entry.problem is not None:
            report.findings.append(found(*kept.entry.problem, kept.entry.path))
        elif kept.name.endswith(".json"):
            report.findings += read_object(kept.entry)[1]
    if same := duplicates_in(unit):
        why = f"{' and '.join(same)} share one name and one sidecar; keep one"
        report.findings.append(found("BIDS06", why, unit.data[0].path))
    image = _image(unit, allow_incomplete=allow_incomplete, report=report)
    report.sidecar = inheritance.sidecar_of(unit)
    possible, problems = possible_values(report.sidecar)
    report.findings += [found("SID03", why, unit.data[0].path) for why in problems]
    report.inherited = inheritance.sidecar_of(unit, without={kept.entry.relative for kept in unit.kept})
    header = image.header
    report.findings += _lacking(unit, header, report.sidecar, inheritance)
    attributes: dict[str, str] = {}
    if scan_type_of(unit) == "xnat:mrScanData":
        attributes = _mr_facts(unit, header, possible, report, inheritance)
    else:
        kept_facts = sidecar_facts(possible)
        attributes = {p: v for p, v in kept_facts.items() if p not in MR_ONLY and not p.startswith("parameters/")}
        if unit.datatype == "pet":
            attributes |= _pet_facts(header) | _frames(possible)
            report.session |= _tracer(report.sidecar)
    attributes |= _parameters(possible, header)
    report.attributes = fitting_fields(scan_type_of(unit), attributes)
    report.series_description = series_description(report.sidecar)
    return report


def _lacking(
    unit: Unit, header: NiftiHeader | None, sidecar: Mapping[str, Any], inheritance: Inheritance
) -> Iterator[Finding]:
    """What BIDS requires of the scan and is not there, or does not fit its image."""
    path = unit.data[0].path
    yield from check_fields(unit.datatype, unit.name, sidecar, path)
    for kept in unit.kept:
        name = parse_name(kept.name)
        if name is not None and name.extension == ".tsv.gz":
            about = Unit("", unit.datatype, unit.folder, name)
            yield from check_fields(unit.datatype, name, inheritance.sidecar_of(about), kept.entry.path)
    for names in inheritance.rivals(unit):
        why = f"{' and '.join(names)} in one folder apply to this file, BIDS allows one; their order is not defined"
        yield found("BIDS28", why, path)
    suffix, extensions = COMPANIONS.get(unit.name.suffix, ("", ()))
    beside = [one for extension in extensions for one in inheritance.applicable(unit, extension, suffix=suffix)]
    if suffix and not beside:
        yield found("BIDS26", f"there is no {suffix}{extensions[0]} for this image; add it", path)
    parts = {entry.name.rpartition(".")[2] for entry in unit.data}
    if parts & {"vhdr", "vmrk"} and (lost := sorted({"eeg", "vhdr", "vmrk"} - parts)):
        why = f"the recording has no {' and no '.join(f'.{part}' for part in lost)}; BrainVision needs three files"
        yield found("BIDS26", why, path)
    if header is not None:
        yield from check_axes(unit.name, header, path)
        yield from check_volumes(unit.name, header, sidecar, path)
        if suffix == "aslcontext" and beside and beside[-1].problem is None:
            yield from check_volume_rows(beside[-1].path, header)


def stands_alone(kept: Kept, unit: Unit) -> bool:
    """Whether it is an unusable companion without which the scan is uploaded, as a table of events."""
    return kept.entry.problem is not None and kept.entry not in unit.data and not kept.name.endswith(".json")


def _image(unit: Unit, *, allow_incomplete: bool, report: ScanReport) -> ImageReport:
    only = unit.data[0]
    if not unit.is_image or only.problem is not None or len(unit.data) > 1:
        return ImageReport(())
    image = inspect_image(only.path)
    report.findings += [accepted(finding) if allow_incomplete else finding for finding in image.findings]
    report.digests = image.digests or {}
    return image


def _mr_facts(
    unit: Unit, header: NiftiHeader | None, sidecar: Mapping[str, Any], report: ScanReport, inheritance: Inheritance
) -> dict[str, str]:
    attributes = dict(header.attributes()) if header is not None else {}
    attributes.update(sidecar_facts(sidecar))
    report.findings += [found("SID02", why, unit.data[0].path) for why in disagreements(sidecar, header)]
    bval, bvec = inheritance.nearest(unit, ".bval"), inheritance.nearest(unit, ".bvec")
    needed = (unit.datatype, unit.name.suffix) == ("dwi", "dwi")
    if needed or bval is not None or bvec is not None:
        gradients, more = check_gradients(bval, bvec, header, image=unit.data[0].path)
        report.findings += more
        if gradients is not None and not any(finding.severity is Severity.ERROR for finding in more):
            attributes.update(gradients.attributes())
    return attributes


def _pet_facts(header: NiftiHeader | None) -> dict[str, str]:
    """Geometry of ``xnat:petScanData``, which is in centimetres."""
    if header is None:
        return {}
    sizes = header.voxel_size_mm
    attributes = {
        f"parameters/dimensions/{axis}": str(length) for axis, length in zip("xyz", header.shape, strict=False)
    }
    if len(sizes) == 3 and all(is_possible("VoxelSize", size) for size in sizes):
        attributes |= {
            f"parameters/pixelSize/{axis}": number(size / 10) for axis, size in zip("xyz", sizes, strict=True)
        }
        attributes["parameters/planeSeparation"] = number(sizes[2] / 10)
    if len(header.shape) > 2:
        attributes["parameters/numPlanes"] = str(header.shape[2])
    attributes["parameters/frames/numFrames"] = str(header.frames)
    return attributes


def _frames(sidecar: Mapping[str, Any]) -> dict[str, str]:
    """When each frame of a PET scan starts and how long it takes, in seconds; long lists stay in the sidecar alone."""
    starts, lengths = sidecar.get("FrameTimesStart"), sidecar.get("FrameDuration")
    if not isinstance(starts, list) or not isinstance(lengths, list) or len(starts) != len(lengths):
        return {}
    if len(starts) > _MOST_FRAMES or not all(map(_is_number, [*starts, *lengths])):
        return {}
    attributes = {"parameters/frames/numFrames": str(len(starts))} if starts else {}
    for position, (start, length) in enumerate(zip(starts, lengths, strict=True), start=1):
        values = {"number": position, "starttime": start, "length": length, "units": "sec"}
        attributes |= {f"parameters/frames/frame[{position}]/{name}": str(value) for name, value in values.items()}
    return attributes


def _tracer(sidecar: Mapping[str, Any]) -> dict[str, str]:
    """Fields of a PET session; units stay as they were given."""
    attributes: dict[str, str] = {}
    if isinstance(name := sidecar.get("TracerName"), str):
        attributes["tracer/name"] = name
    if isinstance(isotope := sidecar.get("TracerRadionuclide"), str):
        attributes["tracer/isotope"] = isotope
        if isotope in _ISOTOPES:
            attributes["tracer/isotope/half-life"] = _ISOTOPES[isotope]
    for key, path in (("InjectedRadioactivity", "dose"), ("InjectedMass", "totalMass")):
        if _is_number(value := sidecar.get(key)):
            attributes[f"tracer/{path}"] = str(value)
            if isinstance(unit := sidecar.get(f"{key}Units"), str):
                attributes[f"tracer/{path}/units"] = unit
    if _is_number(value := sidecar.get("SpecificRadioactivity")):
        attributes["tracer/specificActivity"] = str(value)
    return attributes


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _parameters(sidecar: Mapping[str, Any], header: NiftiHeader | None) -> dict[str, str]:
    """Values without a field of their own, as named parameters."""
    found_facts: dict[str, str] = {}
    for key in _LISTED_PARAMETERS:
        value = sidecar.get(key)
        if isinstance(value, list):
            value = ",".join(str(part) for part in value)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            found_facts[f"parameters/addParam[name={key}]/addField"] = str(value)[:255]
    if header is not None and not header.is_cifti:
        found_facts["parameters/addParam[name=nifti_shape]/addField"] = "x".join(map(str, header.shape))
    return found_facts


def session_facts_of(reports: list[ScanReport], *, mr: bool) -> dict[str, str]:
    """Fields of a session on which all its scans that say something agree, and those only one kind of scan gives."""
    paths = ["scanner/manufacturer", "scanner/model", *(sorted(MR_ONLY) if mr else ())]
    attributes: dict[str, str] = {}
    for path in paths:
        values = {report.attributes[path] for report in reports if path in report.attributes}
        if len(values) == 1:
            attributes[path] = values.pop()
    for report in reports:
        attributes |= report.session
    return attributes
