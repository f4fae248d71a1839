"""JSON sidecars of images (BIDS, dcm2niix): the XNAT scan fields that follow from them.

Units: BIDS gives seconds, XNAT's ``tr``, ``te`` and ``ti`` hold what DICOM does, milliseconds; ``echoSpacing`` is in
seconds in both.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from xnatferry.sources.nifti_header import number

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TEXT_LIMIT: Final = 255
_NO_VALUE: Final = frozenset({"", "n/a", "none", "null", "unknown"})


class SidecarError(ValueError):
    """A sidecar that is no JSON object; the text says why."""


def read_sidecar(content: bytes) -> dict[str, Any]:
    """Parse a sidecar; a byte order mark is allowed.

    Raises:
        SidecarError: It is no JSON object in UTF-8.
    """
    try:
        parsed = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise SidecarError(f"the file is not UTF-8 text (byte {error.start})") from error
    except json.JSONDecodeError as error:
        raise SidecarError(f"the file is not JSON (line {error.lineno}, column {error.colno}: {error.msg})") from error
    except (ValueError, RecursionError) as error:
        raise SidecarError(f"the file is not usable JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise SidecarError(f"the file contains {_JSON_NAMES.get(type(parsed), 'null')} instead of a JSON object")
    return parsed


_JSON_NAMES: Final[Mapping[type, str]] = {
    list: "a list",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
}


def sidecar_facts(sidecar: Mapping[str, Any]) -> dict[str, str]:
    """Fields of ``xnat:mrScanData`` by path. Values that do not fit are left out; the sidecar itself is stored anyway.

    Names of people, places, devices and times are not among them.
    """
    attributes: dict[str, str] = {}
    for key, path, convert in _RULES:
        if path not in attributes and key in sidecar and (value := convert(sidecar[key])) is not None:
            attributes[path] = value
    second, first = _one_number(sidecar.get("EchoTime2")), _one_number(sidecar.get("EchoTime1"))
    if first is not None and second is not None:
        attributes["parameters/deltaTE"] = number(abs(second - first) * 1000)
    return attributes


def repetition_time_ms(sidecar: Mapping[str, Any]) -> float | None:
    """``RepetitionTime`` in ms, or None."""
    value = _one_number(sidecar.get("RepetitionTime"))
    return None if value is None else value * 1000


def series_description(sidecar: Mapping[str, Any]) -> str | None:
    """``SeriesDescription``, or None."""
    return _text(sidecar.get("SeriesDescription"))


def _one_number(value: object) -> float | None:
    """A finite number; the first of a list."""
    if isinstance(value, list) and value:
        value = value[0]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer of hundreds of digits
        return None


def _milliseconds(value: object) -> str | None:
    seconds = _one_number(value)
    return None if seconds is None else number(seconds * 1000)


def _float(value: object) -> str | None:
    found = _one_number(value)
    return None if found is None else number(found)


def _as_written(value: object) -> str | None:
    """A number with the digits of the source, or a text."""
    return str(value) if _one_number(value) is not None and not isinstance(value, list) else _text(value)


def _text(value: object) -> str | None:
    if not isinstance(value, str) or value.strip().lower() in _NO_VALUE:
        return None
    return " ".join(value.split())[:_TEXT_LIMIT]


def _joined(separator: str) -> Callable[[object], str | None]:
    def join(value: object) -> str | None:
        if isinstance(value, list):
            return _text(separator.join(str(part) for part in value))
        return _text(value)

    return join


#: BIDS key, XNAT path below the scan, conversion; of several keys for one path the first that fits counts.
_RULES: Final[tuple[tuple[str, str, Callable[[object], str | None]], ...]] = (
    ("RepetitionTime", "parameters/tr", _milliseconds),
    ("RepetitionTimeExcitation", "parameters/tr", _milliseconds),
    ("RepetitionTimePreparation", "parameters/tr", _milliseconds),
    ("EchoTime", "parameters/te", _milliseconds),
    ("EchoTime1", "parameters/te", _milliseconds),
    ("InversionTime", "parameters/ti", _milliseconds),
    ("FlipAngle", "parameters/flip", _float),
    ("MagneticFieldStrength", "fieldStrength", _as_written),
    ("PixelBandwidth", "parameters/pixelBandwidth", _float),
    ("EffectiveEchoSpacing", "parameters/echoSpacing", _float),
    ("InPlanePhaseEncodingDirectionDICOM", "parameters/inPlanePhaseEncoding/direction", _text),
    ("ReceiveCoilName", "coil", _text),
    ("ReceiveCoilActiveElements", "parameters/coilElements", _text),
    ("ScanningSequence", "parameters/scanSequence", _joined("_")),
    ("SequenceVariant", "parameters/seqVariant", _joined("_")),
    ("ScanOptions", "parameters/scanOptions", _joined("_")),
    ("SequenceName", "parameters/sequence", _text),
    ("PulseSequenceType", "parameters/sequence", _text),
    ("MRAcquisitionType", "parameters/acqType", _text),
    ("ImageType", "parameters/imageType", _joined("\\")),
    ("PatientPosition", "parameters/subjectPosition", _text),
    ("Manufacturer", "scanner/manufacturer", _text),
    ("ManufacturersModelName", "scanner/model", _text),
    ("SoftwareVersions", "scanner/softwareVersion", _text),
    ("ProtocolName", "protocolName", _text),
    ("BodyPartExamined", "bodyPartExamined", _text),
    ("BodyPart", "bodyPartExamined", _text),
)
