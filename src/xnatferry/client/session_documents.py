"""Writes sessions with their scans as XML documents, in the order of XNAT's schema.

Sources: ``xnat.xsd``, types ``experimentData``, ``imageSessionData``, ``imageScanData`` and their extensions. Fields
are paths as in queries of XNAT: ``note``, ``parameters/voxelRes/x``,
``parameters/addParam[name=shape]/addField``, ``parameters/frames/frame[1]/length``.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.client.http import Request
from xnatferry.errors import UsageError
from xnatferry.xnat.custom_fields import wire_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xnatferry.xnat.model import Address
    from xnatferry.xnat.records import ScanDocument

_XNAT = "http://nrg.wustl.edu/xnat"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SESSION_TYPE = re.compile(r"xnat:([A-Za-z0-9]+)SessionData")
_STEP = re.compile(r"@?([A-Za-z0-9_-]+)(?:\[(?:@?name=)?([^\]]+)\])?")

# Characters that are not allowed in XML (XML 1.0, 2.2), even escaped; image headers contain them.
_NOT_XML = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")


def _order(names: str) -> Sequence[str]:
    return tuple(names.split())


# Elements of each type in schema order; others follow at the end, in the given order.
_SESSION = _order(
    "date time duration delay note investigator validation resources fields acquisition_site subject_ID age "
    "regions scanner operator prearchivePath scans reconstructions assessors dcmAccessionNumber dcmPatientId "
    "dcmPatientName dcmPatientBirthDate dcmPatientWeight coil fieldStrength marker stabilization studyType patientID "
    "patientName tracer start_time start_time_scan start_time_injection"
)
_SCAN = _order(
    "sharing image_session_ID note quality condition series_description series_class documentation scanner modality "
    "frames operator file validation startTime start_date requestedProcedureDescription protocolName bodyPartExamined "
    "coil fieldStrength marker stabilization fileNameUUID parameters dcmValidation ecatValidation"
)
_PARAMETERS = {
    "xnat:mrScanData": _order(
        "voxelRes orientation subjectPosition fov matrix partitions tr te deltaTE ti flip sequence origin imageType "
        "scanSequence seqVariant scanOptions acqType readoutSampleSpacing coil coilElements dtiAcqCount pixelBandwidth "
        "echoSpacing phaseEncodingDirection acqTime diffusion addParam inPlanePhaseEncoding pmc"
    ),
    "xnat:petScanData": _order(
        "orientation addParam originalFileName systemType fileType transaxialFOV acqType facility numPlanes frames "
        "numGates planeSeparation binSize dataType dimensions offset reconZoom pixelSize filterCode resolution"
    ),
    "xnat:ctScanData": _order(
        "voxelRes orientation subjectPosition fov rescale kvp acquisitionNumber imageType options collectionDiameter "
        "distanceSourceToDetector distanceSourceToPatient gantryTilt tableHeight rotationDirection exposureTime "
        "xrayTubeCurrent exposure filter generatorPower focalSpots convolutionKernel collimationWidth tableSpeed "
        "tableFeedPerRotation pitchFactor estimatedDoseSaving ctDIvol derivation contrastBolus addParam"
    ),
}
_DIFFUSION = ("bValues", "bMax", "directionality", "orientations", "anisotropyType", "refocusFlipAngle")

# XML attributes, by element.
_ATTRIBUTES: Mapping[str, frozenset[str]] = {
    "session": frozenset({"visit_id", "visit", "version", "original", "protocol", "session_type", "modality", "UID"})
    | {"study_id"},
    "scan": frozenset({"type", "UID"}),
    "scanner": frozenset({"manufacturer", "model", "softwareVersion"}),
    "frames": frozenset({"numFrames"}),
    "frame": frozenset({"number", "starttime", "length", "units"}),
    "tracer": frozenset({"name", "startTime"}),
    "dose": frozenset({"units"}),
    "totalMass": frozenset({"units"}),
    "isotope": frozenset({"half-life"}),
} | {
    name: frozenset({"x", "y", "z", "num", "units"})
    for name in ("voxelRes", "fov", "matrix", "pixelSize", "dimensions", "offset", "resolution")
}


def has_document(xsi_type: str) -> bool:
    """Whether a session of this data type can be written as a document: the name of its element is known."""
    return _SESSION_TYPE.fullmatch(xsi_type) is not None


def session_document(
    project: str, label: str, *, xsi_type: str, fields: Mapping[str, str], scans: Sequence[ScanDocument]
) -> bytes:
    """Write a session with its scans for ``PUT .../experiments/LABEL``.

    Raises:
        UsageError: The data type is not a session type of XNAT's schema, or the path of a field is not valid.
    """
    ET.register_namespace("xnat", _XNAT)
    ET.register_namespace("xsi", _XSI)
    root = ET.Element(_tag(_root_name(xsi_type)), {"project": project, "label": label})
    _fill(root, "session", fields)
    if scans:
        group = ET.SubElement(root, _tag("scans"))
        for scan in scans:
            element = ET.SubElement(group, _tag("scan"), {"ID": scan.id, f"{{{_XSI}}}type": scan.xsi_type})
            _fill(element, "scan", {wire_path(scan.xsi_type, path): value for path, value in scan.fields.items()})
            _sort(element, _SCAN)
            for parameters in element.findall(_tag("parameters")):
                _sort(parameters, _PARAMETERS.get(scan.xsi_type, ()))
                for diffusion in parameters.findall(_tag("diffusion")):
                    _sort(diffusion, _DIFFUSION)
    _sort(root, _SESSION)
    document: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document


def _of_scan(scan: str, path: str) -> str:
    return f"{scan}\n{path}"


def fields_by_scan(fields: Mapping[str, str], scans: Sequence[ScanDocument]) -> dict[str, str]:
    """The fields of a session and its scans in one mapping, as a refusal can name any of them."""
    everything = {_of_scan("", path): value for path, value in fields.items()}
    for scan in scans:
        everything |= {_of_scan(scan.id, path): value for path, value in scan.fields.items()}
    return everything


def scan_of(key: str) -> tuple[str, str]:
    """Scan ID ("" for the session itself) and path of a key of `fields_by_scan`; any other key is a path."""
    scan, _, path = key.rpartition("\n")
    return scan, path


def document_request(
    address: Address,
    xsi_type: str,
    fields: Mapping[str, str],
    scans: Sequence[ScanDocument],
    taken: Mapping[str, str],
) -> Request:
    """The PUT of the document of a session, with the fields in *taken*."""

    def chosen(scan: str, of: Mapping[str, str]) -> dict[str, str]:
        return {path: value for path, value in of.items() if _of_scan(scan, path) in taken}

    kept = [replace(scan, fields=chosen(scan.id, scan.fields)) for scan in scans]
    document = session_document(
        address.project, address.session or "", xsi_type=xsi_type, fields=chosen("", fields), scans=kept
    )
    headers = (("Content-Type", "text/xml"),)
    return Request("PUT", address.path, headers=headers, body=lambda: [document], size_bytes=len(document))


def _root_name(xsi_type: str) -> str:
    """Name of the element of a session type: ``xnat:mrSessionData`` is ``MRSession``."""
    found = _SESSION_TYPE.fullmatch(xsi_type)
    if found is None:
        raise UsageError(f"{xsi_type}: not a session type of XNAT's schema")
    modality = found[1]
    if modality == "otherDicom":
        return "OtherDicomSession"
    short = re.match(r"[a-z]*", modality)
    lower = short[0] if short is not None else ""
    return lower.upper() + modality[len(lower) :] + "Session"


def _fill(element: ET.Element, kind: str, fields: Mapping[str, str]) -> None:
    for path, text in fields.items():
        value = _NOT_XML.sub(" ", text)
        target, inside = element, kind
        steps = path.split("/")
        for position, step in enumerate(steps):
            found = _STEP.fullmatch(step)
            if found is None:
                raise UsageError(f"{path!r}: not a path of an XNAT field")
            name, chosen = found[1], found[2]
            last = position == len(steps) - 1
            if last and (step.startswith("@") or name in _ATTRIBUTES.get(inside, ())):
                target.set(name, value)
            elif last and target.get("name") is not None and name in {"addField", "field"}:
                target.text = value
            else:
                target = _child(target, name, chosen)
                if last:
                    target.text = value
            inside = name


def _child(element: ET.Element, name: str, chosen: str | None) -> ET.Element:
    """The child *name*: the one with the name or at the position *chosen*, created if it does not exist."""
    if chosen is not None and chosen.isdecimal():
        while len(there := element.findall(_tag(name))) < int(chosen):
            ET.SubElement(element, _tag(name))
        return there[int(chosen) - 1]
    for child in element.findall(_tag(name)):
        if chosen is None or child.get("name") == chosen:
            return child
    return ET.SubElement(element, _tag(name), {} if chosen is None else {"name": chosen})


def _sort(element: ET.Element, order: Sequence[str]) -> None:
    places = {_tag(name): place for place, name in enumerate(order)}
    element[:] = sorted(element, key=lambda child: places.get(child.tag, len(places)))


def _tag(name: str) -> str:
    return f"{{{_XNAT}}}{name}"
