"""`Placement`: one source with its address on the server; and the rules for addresses and fields."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from string import Formatter
from sys import intern
from typing import TYPE_CHECKING

from xnatferry.errors import UsageError
from xnatferry.sources.model import Kind
from xnatferry.sources.path_layouts import iso_date
from xnatferry.xnat.datatypes import data_type
from xnatferry.xnat.interning import interned, no_fields
from xnatferry.xnat.labels import clean_label, label_problem, remote_name_problem, scan_id_problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xnatferry.planning.plan import Refusal
    from xnatferry.sources.model import Claims, LocalFile, Source

#: Short names of session types, and XNAT data types (schema ``xnat.xsd``).
SESSION_TYPES: Mapping[str, str] = {
    "MR": "xnat:mrSessionData",
    "PET": "xnat:petSessionData",
    "PETMR": "xnat:petmrSessionData",
    "CT": "xnat:ctSessionData",
    "EEG": "xnat:eegSessionData",
    "MEG": "xnat:megSessionData",
    "OTHER": "xnat:otherDicomSessionData",
}

#: A resource with more files than this is sent as one archive; for fewer files, one request per file is as fast.
PACK_ABOVE_FILES = 8

#: Format and content of a catalog entry by the end of its name.
_ENTRIES: Sequence[tuple[str, str, str]] = (
    (".nii.gz", "NIFTI", "NIFTI_RAW"),
    (".nii", "NIFTI", "NIFTI_RAW"),
    (".hdr.gz", "NIFTI", "NIFTI_RAW"),
    (".img.gz", "NIFTI", "NIFTI_RAW"),
    (".hdr", "NIFTI", "NIFTI_RAW"),
    (".img", "NIFTI", "NIFTI_RAW"),
    (".json", "JSON", "NIFTI_RAW"),
    (".bval", "BVAL", "NIFTI_RAW"),
    (".bvals", "BVAL", "NIFTI_RAW"),
    (".bvec", "BVEC", "NIFTI_RAW"),
    (".bvecs", "BVEC", "NIFTI_RAW"),
    (".tsv", "TSV", "NIFTI_RAW"),
)
_COMPANIONS = (".json", ".tsv", ".tsv.gz", ".bval", ".bvals", ".bvec", ".bvecs", ".txt")


@dataclass(frozen=True, slots=True)
class MappingRules:
    """Options of the user for addresses and fields; None uses claims and defaults.

    Attributes:
        project: Project ID.
        subject: One subject label for all sources.
        session_template: Session label from the subject, e.g. ``{subject}_MR1``.
        session_type: ``MR``, ``PET`` ... or an XNAT data type.
        level: Object that results of other programs are attached to: ``project``, ``subject``, ``session``, ``scan`` or
            ``assessor``.
        assessor: Label of the assessor from the session, e.g. ``{session}_CAT12``.
        assessor_type: Its XNAT data type.
        clean_labels: Whether to replace labels that XNAT does not accept by the proposed ones.
        gzip: Whether ``.nii`` is sent as ``.nii.gz``.
        existing_only: Whether sources are refused if their subject or session does not exist on the server.
    """

    project: str
    subject: str | None = None
    session: str | None = None
    session_template: str | None = None
    session_type: str | None = None
    resource: str | None = None
    format: str | None = None
    content: str | None = None
    tags: str | None = None
    type: str | None = None
    series_description: str | None = None
    quality: str | None = None
    date: str | None = None
    level: str | None = None
    assessor: str | None = None
    assessor_type: str | None = None
    clean_labels: bool = False
    gzip: bool = False
    existing_only: bool = False


@dataclass(frozen=True, slots=True)
class Placement:
    """One source with its address on the server; the scan number may change.

    Attributes:
        subject: Label of the subject; empty for a resource of the project.
        session: Label of the session; empty for a resource of the project or of a subject.
        scan: Scan ID, None for a resource of anything else.
        numbered: Whether the source names the *scan*; otherwise the scan that already has these files may be used.
        assessor: Label of the image assessor; empty for a resource of anything else.
        assessor_type: Its data type.
        scan_type: Data type of the scan; when empty, the one that belongs to the type of the session.
        group: Sources of one session with the same group share one scan; empty for no group.
        by_type: Whether the label of the session depends on the kind of its data, so that an earlier push may have used
            another label.
        subject_fields: XNAT paths of the subject, in full.
        session_fields: XNAT paths below the session.
        scan_fields: XNAT paths below the scan.
        resource_fields: ``format``, ``content``, ``tags`` of the resource.
    """

    source: Source
    subject: str
    session: str
    resource: str
    session_type: str
    scan: str | None = None
    numbered: bool = False
    on_scan: bool = False
    scan_type: str = ""
    assessor: str = ""
    assessor_type: str = ""
    group: str = ""
    by_type: bool = False
    subject_fields: Mapping[str, str] = field(default_factory=no_fields)
    session_fields: Mapping[str, str] = field(default_factory=no_fields)
    scan_fields: Mapping[str, str] = field(default_factory=no_fields)
    resource_fields: Mapping[str, str] = field(default_factory=no_fields)

    @property
    def owner(self) -> tuple[str, str]:
        """Subject and session of its resource, as far as they exist."""
        return ("", self.session) if self.session else (self.subject, "")

    def name_of(self, file: LocalFile, *, gzip: bool) -> str:
        """The name of *file* in the resource: with *gzip* (``--gzip``), a plain ``.nii`` becomes ``.nii.gz``."""
        plain = file.member is None and file.name.lower().endswith(".nii")
        return f"{file.name}.gz" if gzip and plain else file.name


@dataclass(frozen=True, slots=True)
class MappedSources:
    """The result of the mapping: placements, refused sources, and sources that stop the whole push.

    Attributes:
        conflicting: Sources with the same address: nothing is sent before this is solved.
    """

    placements: tuple[Placement, ...]
    refusals: tuple[Refusal, ...] = ()
    conflicting: tuple[Refusal, ...] = ()


def identifying_files(source: Source) -> tuple[LocalFile, ...]:
    """The image or recording itself, which alone tells one scan from another.

    Sidecars, tables of events and gradients are often the same for several scans. Other resources of a scan have none.
    """
    own = source.files[:1]
    if source.kind is Kind.BIDS:
        own = tuple(file for file in source.files if file.path == source.path and file.data is None)
    if not own:
        return ()
    return tuple(file for file in source.files if file in own or not file.name.lower().endswith(_COMPANIONS))


def compressed_as(file: LocalFile, name: str) -> bool:
    """Whether *file* is compressed on the way when it is stored as *name* (`Placement.name_of`)."""
    return name != file.name or (file.scrub is not None and file.scrub.packed)


def is_packed(source: Source) -> bool:
    """Whether its files are sent as one archive, an existing one or one made on the fly."""
    return source.archived or source.kind is Kind.FREESURFER or len(source.files) > PACK_ABOVE_FILES


def file_name_reasons(source: Source) -> list[str]:
    """Why XNAT cannot store its files under their names."""
    named = ((file.name, remote_name_problem(file.name)) for file in source.files)
    return [f"file name {name!r}: {problem}" for name, problem in named if problem]


def entry_fields(name: str) -> Mapping[str, str]:
    """Format and content of the catalog entry for *name*; empty when unknown."""
    for ending, kind, content in _ENTRIES:
        if name.lower().endswith(ending):
            return interned({"format": kind, "content": content})
    return {}


def session_type_of(text: str | None) -> str:
    """The XNAT data type for ``MR``, ``PET`` ... or for a data type given in full; MR when None.

    Raises:
        UsageError: It is not one of them.
    """
    if text is None:
        return "xnat:mrSessionData"
    if text.upper() in SESSION_TYPES:
        return SESSION_TYPES[text.upper()]
    if re.fullmatch(r"\w+:\w+", text):
        return text
    raise UsageError(
        f"session type {text!r} is unknown; use {', '.join(SESSION_TYPES)} or a data type such as xnat:mrSessionData"
    )


def scan_type_for(session_type: str) -> str:
    """The data type of scans in a session type: its own one if XNAT has one (``xnat:usScanData``)."""
    if session_type == "xnat:petmrSessionData":
        return "xnat:mrScanData"
    scan_type = session_type.replace("SessionData", "ScanData")
    known = scan_type not in {"xnat:imageScanData", session_type} and data_type(scan_type) is not None
    return scan_type if known else "xnat:otherDicomScanData"


def label_of(what: str, text: str, rules: MappingRules, reasons: list[str]) -> str | None:
    """A label that XNAT accepts; None, and a reason, when there is none."""
    problem = scan_id_problem(text) if what == "scan" else label_problem(text)
    if problem is None:
        return intern(text)  # equal for all sources of a session
    proposed = clean_label(text)
    if not proposed:
        reasons.append(f"{what} label {text!r}: {problem}; no valid label can be proposed, use a mapping table")
        return None
    if rules.clean_labels:
        return intern(proposed)
    reasons.append(f"{what} label {text!r}: {problem}; to use {proposed} instead, add --clean-labels")
    return None


def session_text(rules: MappingRules, claims: Claims, session_type: str, subject: str) -> str:
    """The label of a session: from the user, from the source, or ``SUBJECT_MR1``.

    Raises:
        UsageError: The template of the rules cannot be used.
    """
    if rules.session or claims.session:
        return rules.session or claims.session or ""
    if rules.session_template:
        return session_from(rules.session_template, subject)
    return default_session(subject, session_type)


def names_session(source: Source, rules: MappingRules) -> bool:
    """Whether the source or the user names its session."""
    return any(part is not None for part in (rules.session, rules.session_template, source.claims.session))


def short_type(session_type: str) -> str:
    """The short name of a session type: ``MR``, ``PET`` ..."""
    return next((name for name, full in SESSION_TYPES.items() if full == session_type), "OTHER")


def default_session(subject: str, session_type: str) -> str:
    """The label of a session that nothing names: ``SUBJECT_MR1``."""
    return f"{subject}_{short_type(session_type)}1"


def day_of(claims: Claims, rules: MappingRules, reasons: list[str]) -> str | None:
    """The date of a session as ``yyyy-mm-dd``, from the user or the source; a reason when it is not a date.

    Paths often hold dates without hyphens, and dcm2niix (``%t``) adds the time: ``20240501093000``.
    """
    text = rules.date or claims.date
    if text is None or (day := iso_date(text)) is not None:
        return text and day
    reasons.append(f"date {text!r} is not a date; use the form yyyy-mm-dd")
    return None


def session_from(template: str, subject: str) -> str:
    """A session label from ``{subject}_MR1``.

    Raises:
        UsageError: It contains other fields than the subject.
    """
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError:
        fields = {template}
    if fields - {"subject"}:
        raise UsageError(f"session template {template!r} cannot be used: only {{subject}} is allowed in it")
    return template.replace("{subject}", subject)


def scan_words(claims: Claims, rules: MappingRules) -> dict[str, str]:
    """Type, description, quality and note of a scan: from the user, from the source, else defaults."""
    kind = rules.type or claims.type or "unknown"
    found = {
        "type": kind,
        "series_description": rules.series_description or claims.series_description or kind,
        "quality": rules.quality or claims.quality or "usable",
    }
    return found | ({"note": claims.note} if claims.note else {})


def next_free(taken: set[str]) -> str:
    """The smallest positive number, as text, that is not taken as a scan ID."""
    number = 1
    while str(number) in taken:
        number += 1
    return intern(str(number))
