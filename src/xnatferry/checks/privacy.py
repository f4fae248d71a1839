"""Rules for text that may identify a person: field names, header texts, extensions, paths, tables and logs.

The rules are patterns: text that passes them may still identify a person. Values are never shown.
Sources: DICOM PS3.15 annex E for what identifies, dcm2niix and BIDS for how sidecars spell it, nifti1.h for header
fields and extension codes.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from xnatferry.sources.scrub_table import table_rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from xnatferry.sources.nifti_header import NiftiHeader
    from xnatferry.sources.scrub_nifti import Extension

#: Keys that name a person, as `_spelt_alike` writes them; they refuse a source.
PERSON: Final = frozenset(
    {
        "patientname", "patientid", "otherpatientids", "otherpatientnames", "patientbirthdate", "patientbirthtime",
        "patientbirthname", "patientaddress", "patienttelephonenumbers", "patientmothersbirthname", "accessionnumber",
        "referringphysicianname", "performingphysicianname", "requestingphysician", "physiciansofrecord",
        "operatorsname", "operatorname", "patientcomments", "issuerofpatientid", "medicalrecordlocator",
        "patientdateofbirth", "patientsid", "patientsname", "patientsbirthdate", "patientsaddress",
    }
)  # fmt: skip
#: Keys for a place, a device, a date or a body, which identify indirectly; they give a warning.
INDIRECT: Final = frozenset(
    {
        "patientsex", "patientage", "patientweight", "patientsize", "studyinstanceuid", "seriesinstanceuid", "studyid",
        "acquisitiondatetime", "acquisitiondate", "studydate", "seriesdate", "contentdate", "institutionname",
        "institutionaddress", "institutionaldepartmentname", "deviceserialnumber", "stationname", "imagecomments",
        "studycomments", "studydescription", "sopinstanceuid", "frameofreferenceuid", "operator",
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
    r"|mrs_v\d+_\d+|huh\?|unknown"
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
#: Recordings that are folders: formats of CTF, MEF3 and Zarr.
_FOLDER_FORMAT: Final = re.compile(r"(?<=\.ds)/|(?<=\.mefd)/|(?<=\.zarr)/")
#: Name of a run of fMRIPrep and its relatives: time and random number. Date of an empty-room session, shifted (BIDS).
_GIVEN_BY_PROGRAMS: Final = re.compile(
    r"\d{8}-\d{6}_[\da-f]{8}-[\da-f]{4}-[\da-f-]{22}|(?<=ses-)(18\d\d|19[01]\d|192[0-4])\d{4}(?!\d)"
)
_NUMBER_IN_NAME: Final = re.compile(r"(?<![\dA-Fa-f])\d{6,10}(?![\dA-Fa-f])")
_TWO_NAMES: Final = re.compile(r"[A-Z][A-Za-z'-]{2,}(\^|, ?|_)[A-Z][A-Za-z'-]{2,}")

_SEPARATORS: Final = re.compile(r"[\s_'-]+")
#: Columns that are about a person in every table, and those that name a channel or a region in tables of measurements.
_COLUMNS: Final = re.compile(
    r"(sur|last|first|given|family|full)name|address|street|zip(code)?|postalcode|postcode|phone|ssn"
    r"|mrn|medicalrecord.*|initials|birthplace|email|technician|radiographer|physician"
)
_COLUMNS_OF_PEOPLE: Final = re.compile(r"name|city|comments?|notes?|remarks?|freetext|operators?")
_REAL_DATE: Final = re.compile(r"(?P<year>(19|20)\d\d)-[01]\d-[0-3]\d|[0-3]?\d[./][01]?\d[./](?P<late>(19|20)\d\d)")
_DATE_COLUMN: Final = re.compile(r".*(date|birth|dob).*")
_COMPACT_DATE: Final = re.compile(rf"(?=(?P<year>(19|20)\d\d)){_DAY}(?!\d)")
_SHIFTED_BEFORE: Final = 1925  # BIDS: dates of an earlier year were shifted on purpose
_HOME: Final = re.compile(rb"(/home/|/Users/|[A-Z]:\\+Users\\+)[\w.-]+")
_USER_DETAILS: Final = re.compile(rb"(?<![\w.-])[\w.-]{1,64}@[\w-]+\.[\w.-]|(?i:hostname|username)\W")
#: A line ``Patient ID: 4711``; a line of a printed DICOM header, by the tags of name, ID and birth date.
_NAMED_VALUE: Final = re.compile(r"^[^A-Za-z\n]{0,40}([A-Za-z][\w' -]{3,40}?)[\"' ]*[:=\t][ \t]*(\S.*)$", re.MULTILINE)
_DICOM_LINE: Final = re.compile(r"\(0010, ?00[123]0\).{0,80}?['\[][^'\]\n]{1,80}['\]]")

_HEAD: Final = re.compile(
    r"(?<![a-z])(t1w?|t2w?|pdw?|t1rho|t2star|flair|inplanet[12]|unit1|mprage|mp2rage|f?spgr|flash|megre|ct)(?![a-z])",
    re.IGNORECASE,
)
_NO_FACE: Final = re.compile(
    r"brain|mask|seg|defac|skull|bet\b|desc-preproc|label-|probseg|xfm|aparc|aseg", re.IGNORECASE
)


def _spelt_alike(name: str) -> str:
    """A name of a field or column without case, blanks, ``_``, ``-`` and apostrophes: ``patient_id`` is PatientID."""
    return _SEPARATORS.sub("", name).lower()


def names_person(column: str) -> bool:
    """Whether a field or column names a person."""
    return _spelt_alike(column) in PERSON


def own_labels(subjects: Collection[str]) -> frozenset[str]:
    """Values that identify nobody further, as they are the labels of *subjects*."""
    return frozenset(label for subject in subjects for label in (subject.casefold(), f"sub-{subject}".casefold()))


def blocking_keys(sidecar: object, own: Collection[str] = ()) -> list[str]:
    """Keys at any depth that name a person; values in *own* (`own_labels`) and such as ``removed`` pass."""
    return sorted({key for key, value in _members(sidecar) if names_person(key) and not _is_removed(value, own)})


def _is_removed(value: object, own: Collection[str]) -> bool:
    text = str(value).strip().casefold() if isinstance(value, str | int | float) else value
    return (
        text is None or text == [] or text in _REMOVED_VALUES or text in own if not isinstance(text, list) else not text
    )


def indirect_keys(sidecar: object) -> list[str]:
    """Keys of `INDIRECT` at any depth that have a value."""
    return sorted(
        {
            key
            for key, value in _members(sidecar)
            if _spelt_alike(key) in INDIRECT and value not in ("", None, [], "n/a")
        }
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


def mrs_keys(extension: Extension, own: Collection[str]) -> list[str] | None:
    """Keys in the JSON of an MR spectroscopy extension that name a person; None when it cannot be read."""
    try:
        content = json.loads(extension.content.rstrip(b"\x00"))
    except (ValueError, RecursionError):
        return None
    return blocking_keys(content, own) if isinstance(content, dict) else None


def path_problem(relative: str, subject: str | None = None) -> str | None:
    """What in a path looks like a patient number, a date or a name.

    Names that programs give are not judged: those within a recording that is a folder, those of runs, shifted dates.
    """
    judged = _GIVEN_BY_PROGRAMS.sub("", _FOLDER_FORMAT.split(relative, maxsplit=1)[0])
    if _DATE_IN_NAME.search(judged):
        return "a date"
    if _NUMBER_IN_NAME.search(judged):
        return "a number of 6 to 10 digits (a patient number?)"
    return "two words like a personal name" if subject and _TWO_NAMES.fullmatch(subject) else None


@dataclass(frozen=True, slots=True)
class TableProblem:
    """What in a table may identify people.

    Attributes:
        person: Columns that name a person, as fields of sidecars do.
        suspicious: Other columns, in words; None if there are none.
    """

    person: tuple[str, ...] = ()
    suspicious: str | None = None


def table_problem(text: str, *, about_people: bool, own: Collection[str] = ()) -> TableProblem:
    """Columns that may identify people: by their names if they have values, and dates by their values.

    Args:
        text: The table, or the beginning of a long one.
        about_people: Whether its rows are people or scans; in other tables a name is that of a channel or region.
        own: Values that pass in columns that name a person, as in `blocking_keys`.
    """
    rows = table_rows(text)
    columns = [(cell, _spelt_alike(cell)) for cell in next(rows, ())]
    named = re.compile(f"{_COLUMNS.pattern}|{_COLUMNS_OF_PEOPLE.pattern}") if about_people else _COLUMNS
    checked = [
        (place, column, spelt in PERSON, named.fullmatch(spelt), _DATE_COLUMN.fullmatch(spelt))
        for place, (column, spelt) in enumerate(columns)
    ]
    if not _REAL_DATE.search(text):  # most tables: the cells of other columns need no look
        checked = [one for one in checked if any(one[2:])]
    person: set[str] = set()
    identifying: set[str] = set()
    dates: set[str] = set()
    for line in rows if checked else ():
        for place, column, is_person, is_named, is_date in checked:
            cell = line[place].strip() if place < len(line) else ""
            if is_person or is_named:
                if not _is_removed(cell, own if is_person else ()):
                    (person if is_person else identifying).add(column)
            elif _is_real_date(cell, compact=is_date is not None):
                dates.add(column)
    parts = []
    if identifying:
        parts.append(f"columns that may name people or contain free text ({', '.join(sorted(identifying)[:5])})")
    if dates:
        parts.append(f"real dates ({', '.join(sorted(dates)[:5])})")
    return TableProblem(tuple(sorted(person)), " and ".join(parts) or None)


def _is_real_date(text: str, *, compact: bool) -> bool:
    match = _REAL_DATE.match(text) or (_COMPACT_DATE.match(text) if compact else None)
    return match is not None and int(match["year"] or match["late"]) >= _SHIFTED_BEFORE


def names_home(beginning: bytes) -> bool:
    """Whether the beginning of a text names a home folder."""
    return _HOME.search(beginning) is not None


def text_problem(beginning: bytes, *, is_report: bool, own: Collection[str] = ()) -> str | None:
    """What in the beginning of a text without fields of its own may identify people.

    Args:
        beginning: Bytes of the text.
        is_report: Whether a program wrote it about its run; addresses in other texts are those of authors.
        own: As in `blocking_keys`.
    """
    if is_report and (names_home(beginning) or _USER_DETAILS.search(beginning)):
        return "home folders, host names or mail addresses"
    text = beginning.decode("utf-8", "replace")
    named = (names_person(name) and not _is_removed(value, own) for name, value in _NAMED_VALUE.findall(text))
    if any(named) or _DICOM_LINE.search(text):
        return "fields that name a person"
    return "home folders" if names_home(beginning) else None


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
