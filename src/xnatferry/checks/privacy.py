"""Rules for text that may identify a person: field names, header texts, extensions, paths, tables and logs.

The rules are patterns: text that passes them may still identify a person. Values are never shown.
Sources: DICOM PS3.15 annex E for what identifies, dcm2niix and BIDS for how sidecars spell it, nifti1.h for header
fields and extension codes.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from xnatferry.sources.nifti_header import NiftiHeader
    from xnatferry.sources.scrub_nifti import Extension

__all__ = [
    "DICOM_EXTENSION",
    "EXTENSION_NAMES",
    "INDIRECT",
    "PERSON",
    "blocking_keys",
    "contains_user_details",
    "flagged_texts",
    "indirect_keys",
    "is_free_content",
    "is_full_head",
    "is_marked_defaced",
    "mrs_keys",
    "path_problem",
    "table_problem",
]

#: Keys that name a person, in lower case; they refuse a source.
PERSON: Final = frozenset(
    {
        "patientname", "patientid", "otherpatientids", "otherpatientnames", "patientbirthdate", "patientbirthtime",
        "patientbirthname", "patientaddress", "patienttelephonenumbers", "patientmothersbirthname", "accessionnumber",
        "referringphysicianname", "performingphysicianname", "requestingphysician", "physiciansofrecord",
        "operatorsname", "operatorname", "patientcomments", "issuerofpatientid", "medicalrecordlocator",
    }
)  # fmt: skip
#: Keys for a place, a device, a date or a body, which identify indirectly; they give a warning.
INDIRECT: Final = frozenset(
    {
        "patientsex", "patientage", "patientweight", "patientsize", "studyinstanceuid", "seriesinstanceuid", "studyid",
        "acquisitiondatetime", "acquisitiondate", "studydate", "seriesdate", "contentdate", "institutionname",
        "institutionaddress", "institutionaldepartmentname", "deviceserialnumber", "stationname", "imagecomments",
        "studycomments", "studydescription", "sopinstanceuid", "frameofreferenceuid",
    }
)  # fmt: skip
#: Values that replace a removed name.
_REMOVED_VALUES: Final = frozenset(
    {"", "n/a", "none", "null", "unknown", "anonymous", "anonymized", "anonymised", "anon", "removed"}
)

#: Text that programs write into ``descrip`` and similar fields; other text is reported.
_TOOL_TEXT: Final = re.compile(
    r"(FSL[\d.:a-z]*|SPM\S*( - .*)?|TE=[\d.]+|phase=\d|mb=\d|dcm2nii\S*|FREESURFER.*|[56]\.0\.\d+(:\w+)?"
    r"|v[\d.]+ NIfTI-1 Single file format|ANTs\S*|AFNI\S*|C3D\S*|NiBabel\S*|MRtrix\S*.*|Analyze\S*|dsr|none|n/a"
    r"|mrs_v\d+_\d+|unknown"
    r"|Greyscale|Random-Rainbow|(Red|Blue|Green)(-\w+)?|Yellow|Pink|Cool|Copper|Hot|render\w+|MGH-\w+)[;, ]*",
    re.IGNORECASE,
)
_IDENTIFYING_TEXT: Final = re.compile(r"\^|Time=|\b(19|20)\d\d[-/.]?[01]\d[-/.]?[0-3]\d\b|\d{6,}")
_WORD: Final = re.compile(r"[A-Za-z]{3,}|\d{3,}")

DICOM_EXTENSION: Final = 2
EXTENSION_NAMES: Final[Mapping[int, str]] = {
    2: "a DICOM header",
    4: "AFNI history (users, hosts, folders)",
    6: "comments",
    16: "a Python pickle, content unknown",
    40: "MATLAB data",
    44: "MR spectroscopy metadata",
}
#: Codes of numeric extensions (nifti1.h): b-values, directions, frame times, CIFTI's axes.
_NUMERIC: Final = frozenset({20, 22, 24, 26, 32, 34})

_DAY: Final = r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])"
_DATE_IN_NAME: Final = re.compile(rf"(?<!\d)({_DAY}|(19|20)\d\d-[01]\d-[0-3]\d|{_DAY}\d{{4,6}})(?!\d)")
_NUMBER_IN_NAME: Final = re.compile(r"(?<![\dA-Fa-f])\d{6,10}(?![\dA-Fa-f])")
_TWO_NAMES: Final = re.compile(r"[A-Z][A-Za-z'-]{2,}(\^|, ?|_)[A-Z][A-Za-z'-]{2,}")

_COLUMNS: Final = re.compile(
    r"(sur|last|first|given|family|full)_?name|name|address|street|city|zip(_?code)?|postal_?code|postcode|phone|ssn"
    r"|mrn|medical_record.*|initials|comments?|notes?|remarks?|free_?text|birth_?place|e_?mail"
)
_REAL_DATE: Final = re.compile(r"(?P<year>(19|20)\d\d)-[01]\d-[0-3]\d|[0-3]?\d[./][01]?\d[./](?P<late>(19|20)\d\d)")
_SHIFTED_BEFORE: Final = 1925  # BIDS: dates of an earlier year were shifted on purpose
_USER_DETAILS: Final = re.compile(
    rb"(/home/|/Users/|[A-Z]:\\+Users\\+)[\w.-]+|[\w.-]+@[\w-]+\.[\w.-]+|(?i:hostname|username)\W"
)

_HEAD: Final = re.compile(
    r"(?<![a-z])(t1w?|t2w?|pdw?|t1rho|t2star|flair|inplanet[12]|unit1|mprage|mp2rage|f?spgr|flash|megre|ct)(?![a-z])",
    re.IGNORECASE,
)
_NO_FACE: Final = re.compile(
    r"brain|mask|seg|defac|skull|bet\b|desc-preproc|label-|probseg|xfm|aparc|aseg", re.IGNORECASE
)


def blocking_keys(sidecar: Mapping[str, Any], subject: str | None = None) -> list[str]:
    """Keys at any depth that name a person; the subject's label and values such as ``removed`` pass."""
    own = {"", (subject or "").casefold(), f"sub-{subject or ''}".casefold()}
    return sorted({key for key, value in _members(sidecar) if key.lower() in PERSON and not _is_removed(value, own)})


def _is_removed(value: object, own: set[str]) -> bool:
    text = str(value).strip().casefold() if isinstance(value, str | int | float) else value
    return (
        text is None or text == [] or text in _REMOVED_VALUES or text in own if not isinstance(text, list) else not text
    )


def indirect_keys(sidecar: Mapping[str, Any]) -> list[str]:
    """Keys of `INDIRECT` at any depth that have a value."""
    return sorted(
        {key for key, value in _members(sidecar) if key.lower() in INDIRECT and value not in ("", None, [], "n/a")}
    )


def _members(value: object, depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every member whose value is not an object; at most 20 levels deep."""
    if depth > 20:
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(inner, dict):
                yield key, inner
            yield from _members(inner, depth + 1)
    elif isinstance(value, list):
        for one in value:
            if isinstance(one, dict | list):
                yield from _members(one, depth + 1)


def flagged_texts(header: NiftiHeader) -> list[str]:
    """Text fields of a header that may identify a person: patterns in all, any unknown word in rarely used ones.

    ``intent_name`` belongs to an image with an intent. Behind the first zero byte no program writes on purpose.
    """
    flagged = []
    for name, text in header.texts.items():
        foreign = _TOOL_TEXT.sub("", text)
        if name == "intent_name" and header.intent_code:
            continue
        seldom = name != "descrip" or name in header.leftovers
        if _IDENTIFYING_TEXT.search(foreign) or (seldom and _WORD.search(foreign)):
            flagged.append(name)
    return flagged


def is_free_content(extension: Extension) -> bool:
    """Whether an extension may contain more than numbers of the image."""
    return extension.code not in _NUMERIC


def mrs_keys(extension: Extension, subject: str | None) -> list[str] | None:
    """Keys in the JSON of an MR spectroscopy extension that name a person; None when it cannot be read."""
    try:
        content = json.loads(extension.content.rstrip(b"\x00"))
    except (ValueError, RecursionError):
        return None
    return blocking_keys(content, subject) if isinstance(content, dict) else None


def path_problem(relative: str, subject: str | None = None) -> str | None:
    """What in a path looks like a patient number, a date or a name."""
    if _DATE_IN_NAME.search(relative):
        return "a date"
    if _NUMBER_IN_NAME.search(relative):
        return "a number of 6 to 10 digits (a patient number?)"
    return "two words like a personal name" if subject and _TWO_NAMES.fullmatch(subject) else None


def table_problem(lines: Sequence[str]) -> str | None:
    """Columns of a tab-separated table that may identify people: by their names, and dates by their values."""
    if not lines:
        return None
    columns = [cell.strip() for cell in lines[0].split("\t")]
    identifying = [
        column for column in columns if _COLUMNS.fullmatch(column.lower().replace(" ", "_").replace("-", "_"))
    ]
    dates = set()
    for line in lines[1:]:
        for column, cell in zip(columns, line.split("\t"), strict=False):
            match = _REAL_DATE.match(cell.strip())
            if match is not None and int(match["year"] or match["late"]) >= _SHIFTED_BEFORE:
                dates.add(column)
    parts = []
    if identifying:
        parts.append(f"columns that may name people or contain free text ({', '.join(identifying[:5])})")
    if dates:
        parts.append(f"real dates ({', '.join(sorted(dates)[:5])})")
    return " and ".join(parts) or None


def contains_user_details(beginning: bytes) -> bool:
    """Whether the beginning of a report or log contains a home folder, a mail address or a host name."""
    return _USER_DETAILS.search(beginning) is not None


def is_full_head(name: str, kind: str | None) -> bool:
    """Whether an image is, by its name or scan type, of the whole head and neither a map nor stripped."""
    stem = name.rpartition("/")[2].partition(".")[0]
    if _NO_FACE.search(stem):
        return False
    return _HEAD.search(stem) is not None or (kind is not None and _HEAD.fullmatch(kind) is not None)


def is_marked_defaced(sidecar: Mapping[str, Any]) -> bool:
    """Whether a sidecar states that the image is defaced (``Defaced``, or a method that mentions it)."""
    lower = {key.lower(): value for key, value in sidecar.items()}
    if lower.get("defaced") in (True, "true", "True", "yes", 1):
        return True
    return "defac" in str(lower.get("deidentificationmethod", "")).lower()
