"""Where sources belong on a server: claims and defaults become wanted objects; bad labels are refused.

Defaults (reference: XNAT's own tutorials, bx, bbrc-validator): session ``<subject>_MR1``, scans numbered 1, 2, 3,
scan quality ``usable``, images in the scan resource ``NIFTI`` with format ``NIFTI`` and content ``NIFTI_RAW``,
FreeSurfer subjects in the session resource ``FREESURFER<major version>``.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from xnatferry.errors import UsageError
from xnatferry.planning.plan import Refusal
from xnatferry.sources.base import Claims, Kind, LocalFile, Source
from xnatferry.xnat.labels import (
    clean_label,
    label_problem,
    remote_name_problem,
    resource_label_problem,
    scan_id_problem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

__all__ = ["Mapped", "MappingRules", "Wanted", "map_sources", "scan_type_for", "session_type_of"]

#: Short names people use for session types, and what XNAT calls them (schema ``xnat.xsd``).
SESSION_TYPES: Mapping[str, str] = {
    "MR": "xnat:mrSessionData",
    "PET": "xnat:petSessionData",
    "PETMR": "xnat:petmrSessionData",
    "CT": "xnat:ctSessionData",
    "EEG": "xnat:eegSessionData",
    "MEG": "xnat:megSessionData",
    "OTHER": "xnat:otherDicomSessionData",
}

_SCAN_TYPES: Mapping[str, str] = {
    "xnat:mrSessionData": "xnat:mrScanData",
    "xnat:petmrSessionData": "xnat:mrScanData",
    "xnat:petSessionData": "xnat:petScanData",
    "xnat:ctSessionData": "xnat:ctScanData",
    "xnat:eegSessionData": "xnat:eegScanData",
    "xnat:megSessionData": "xnat:megScanData",
}

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


@dataclass(frozen=True, slots=True)
class MappingRules:
    """What the user says about places and fields; None leaves it to claims and defaults.

    Attributes:
        project: Project ID.
        subject: One subject label for all sources.
        session_template: Session label from the subject, e.g. ``{subject}_MR1``.
        session_type: ``MR``, ``PET`` ... or an XNAT data type.
        clean_labels: Whether to use the proposed label where XNAT refuses the one found.
        gzip: Whether ``.nii`` travels as ``.nii.gz``.
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
    clean_labels: bool = False
    gzip: bool = False


@dataclass(frozen=True, slots=True)
class Wanted:
    """One source with its place; the scan number may still be open.

    Attributes:
        scan: Scan ID, None for a session-level resource.
        numbered: Whether *scan* was claimed; otherwise reconciling with the server may find the scan that already holds
            these files.
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
    session_fields: Mapping[str, str] = field(default_factory=dict)
    scan_fields: Mapping[str, str] = field(default_factory=dict)
    resource_fields: Mapping[str, str] = field(default_factory=dict)

    def name_of(self, file: LocalFile, *, gzip: bool) -> str:
        """The name of *file* in the resource; a ``.nii`` compressed on the way changes its name with its bytes."""
        return f"{file.name}.gz" if gzip and is_gzipped_on_the_way(file) else file.name


@dataclass(frozen=True, slots=True)
class Mapped:
    """The outcome of mapping: what is wanted, what is refused, and what concerns the whole push.

    Attributes:
        misplaced: Sources of which two claim one place: nothing may move before that is settled.
    """

    wanted: tuple[Wanted, ...]
    refusals: tuple[Refusal, ...] = ()
    misplaced: tuple[Refusal, ...] = ()


def is_gzipped_on_the_way(file: LocalFile) -> bool:
    """Whether ``--gzip`` compresses this file: plain single-file NIfTI only."""
    return file.member is None and file.name.lower().endswith(".nii")


def entry_fields(name: str) -> Mapping[str, str]:
    """Format and content of the catalog entry for *name*; empty when we have no word for it."""
    for ending, kind, content in _ENTRIES:
        if name.lower().endswith(ending):
            return {"format": kind, "content": content}
    return {}


def session_type_of(text: str | None) -> str:
    """The XNAT data type for ``MR``, ``PET`` ... or for a data type given in full; MR when None.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return "xnat:mrSessionData"
    if text.upper() in SESSION_TYPES:
        return SESSION_TYPES[text.upper()]
    if re.fullmatch(r"\w+:\w+", text):
        return text
    raise UsageError(
        f"session type {text!r} is unknown; say {', '.join(SESSION_TYPES)} or a data type such as xnat:mrSessionData"
    )


def scan_type_for(session_type: str) -> str:
    """The data type of scans that go with a session type."""
    return _SCAN_TYPES.get(session_type, "xnat:otherDicomScanData")


def map_sources(sources: Sequence[Source], rules: MappingRules) -> Mapped:
    """Give every source its place, or the reasons why it has none.

    Raises:
        UsageError: The rules themselves cannot be used (project ID, template, session type).
    """
    _check_rules(rules)
    wanted: list[Wanted] = []
    refusals: list[Refusal] = []
    for source in sources:
        if source.refused:
            reasons = tuple(f.message for f in source.findings if f.severity == "error")
            refusals.append(Refusal(source.relative, reasons, source.path))
            continue
        placed, reasons = _place(source, rules)
        if placed is None or reasons:
            refusals.append(Refusal(source.relative, reasons, source.path))
        else:
            wanted.append(placed)
    wanted, collided = _without_label_collisions(wanted)
    numbered = _number(wanted)
    return Mapped(tuple(numbered), (*refusals, *collided), _same_place(numbered, rules))


def _check_rules(rules: MappingRules) -> None:
    if problem := label_problem(rules.project):
        raise UsageError(f"project {rules.project!r} cannot be used: {problem}")
    if rules.resource is not None and (problem := resource_label_problem(rules.resource)):
        raise UsageError(f"resource label {rules.resource!r} cannot be used: {problem}")
    if rules.date is not None and not re.fullmatch(r"\d{4}-\d\d-\d\d", rules.date):
        raise UsageError(f"date {rules.date!r} cannot be used: write it as yyyy-mm-dd")
    session_type_of(rules.session_type)
    if rules.session_template is not None:
        _from_template(rules.session_template, "x")


def _from_template(template: str, subject: str) -> str:
    try:
        return template.format(subject=subject)
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(f"session template {template!r} cannot be used: only {{subject}} may stand in it") from error


def _place(source: Source, rules: MappingRules) -> tuple[Wanted | None, tuple[str, ...]]:
    claims = source.claims
    subject = rules.subject or claims.subject
    if not subject:
        return None, ("nothing says which subject it belongs to; use --template, --subject or a table",)
    session_type = session_type_of(rules.session_type or claims.session_type)
    on_scan = source.kind is Kind.NIFTI
    resource = rules.resource or claims.resource or ("NIFTI" if on_scan else "FILES")
    reasons: list[str] = []
    label = {"subject": _label("subject", subject, rules, reasons)}
    template = rules.session_template or _default_session(session_type)
    session = rules.session or claims.session or _from_template(template, label["subject"] or "x")
    label["session"] = _label("session", session, rules, reasons)
    label["scan"] = _label("scan", claims.scan, rules, reasons) if on_scan and claims.scan else None
    if problem := resource_label_problem(resource):
        reasons.append(f"resource label {resource!r}: {problem}")
    named = ((file.name, remote_name_problem(file.name)) for file in source.files)
    reasons.extend(f"file name {name!r}: {problem}" for name, problem in named if problem)
    if reasons:
        return None, tuple(reasons)
    date = rules.date or claims.date
    return Wanted(
        source=source,
        subject=label["subject"] or "",
        session=label["session"] or "",
        resource=resource,
        session_type=session_type,
        scan=label["scan"],
        numbered=label["scan"] is not None,
        on_scan=on_scan,
        session_fields={"date": date} if date else {},
        scan_fields=_scan_fields(source, rules, session_type) if on_scan else {},
        resource_fields=_resource_fields(source, rules, on_scan=on_scan),
    ), ()


def _default_session(session_type: str) -> str:
    short = next((name for name, full in SESSION_TYPES.items() if full == session_type), "OTHER")
    return f"{{subject}}_{short}1"


def _label(what: str, text: str, rules: MappingRules, reasons: list[str]) -> str | None:
    problem = scan_id_problem(text) if what == "scan" else label_problem(text)
    if problem is None:
        return text
    proposed = clean_label(text)
    if not proposed:
        reasons.append(f"{what} label {text!r}: {problem}; nothing usable is left of it, so name it by a table")
        return None
    if rules.clean_labels:
        return proposed
    reasons.append(f"{what} label {text!r}: {problem}; proposed: {proposed} (--clean-labels uses it)")
    return None


def _scan_fields(source: Source, rules: MappingRules, session_type: str) -> dict[str, str]:
    claims = source.claims
    kind = rules.type or claims.type or "unknown"
    found = {
        "type": kind,
        "series_description": rules.series_description or claims.series_description or kind,
        "quality": rules.quality or claims.quality or "usable",
    }
    if claims.note:
        found["note"] = claims.note
    # Other scan types keep geometry under other names and units, or not at all (mapping of PET: centimetres).
    geometry = scan_type_for(session_type) == "xnat:mrScanData"
    found.update({path: value for path, value in source.facts.items() if geometry or "/" not in path})
    return found


def _resource_fields(source: Source, rules: MappingRules, *, on_scan: bool) -> dict[str, str]:
    claims = source.claims
    if on_scan:
        defaults = {"format": "NIFTI", "content": "NIFTI_RAW"}
    elif source.kind is Kind.FREESURFER:
        defaults = {"format": "MGZ", "content": "FREESURFER", "tags": source.version or ""}
    else:
        defaults = {}
    said = {
        "format": rules.format or claims.format or defaults.get("format"),
        "content": rules.content or claims.content or defaults.get("content"),
        "tags": rules.tags or claims.tags or defaults.get("tags"),
    }
    return {key: value for key, value in said.items() if value}


def _number(wanted: Iterable[Wanted]) -> list[Wanted]:
    """Give unnumbered scans of each session the next free numbers, in the order of discovery."""
    wanted = list(wanted)
    taken: dict[str, set[str]] = defaultdict(set)
    for item in wanted:
        if item.scan is not None:
            taken[item.session].add(item.scan)
    result: list[Wanted] = []
    for item in wanted:
        if item.on_scan and item.scan is None:
            number = next_free(taken[item.session])
            taken[item.session].add(number)
            result.append(replace(item, scan=number))
        else:
            result.append(item)
    return result


def next_free(taken: set[str]) -> str:
    """The smallest positive number, as text, that is not taken as a scan ID."""
    number = 1
    while str(number) in taken:
        number += 1
    return str(number)


def _without_label_collisions(wanted: list[Wanted]) -> tuple[list[Wanted], list[Refusal]]:
    """Refuse sources whose labels become one although what was found differs (by cleaning, or by case alone).

    XNAT compares labels exactly but its disks and people may not; a merge of two subjects must never be silent.
    """
    refused: dict[int, str] = {}
    for level, found_of, label_of in _LEVELS:
        by_folded: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for index, item in enumerate(wanted):
            found = found_of(item.source.claims) or label_of(item)
            by_folded[label_of(item).casefold()][found].append(index)
        for origins in by_folded.values():
            if len(origins) > 1:
                names = ", ".join(repr(name) for name in sorted(origins))
                for indexes in origins.values():
                    for index in indexes:
                        refused[index] = (
                            f"{level} labels {names} would become one ({label_of(wanted[index])}); name them by a table"
                        )
    kept = [item for index, item in enumerate(wanted) if index not in refused]
    return kept, [
        Refusal(wanted[i].source.relative, (why,), wanted[i].source.path) for i, why in sorted(refused.items())
    ]


_LEVELS: Sequence[tuple[str, Callable[[Claims], str | None], Callable[[Wanted], str]]] = (
    ("subject", lambda claims: claims.subject, lambda item: item.subject),
    ("session", lambda claims: claims.session, lambda item: item.session),
)


def _same_place(wanted: Sequence[Wanted], rules: MappingRules) -> tuple[Refusal, ...]:
    """Sources of which two claim one file in a resource, one numbered scan, or one session for two subjects."""
    claimed: dict[tuple[str, ...], list[Wanted]] = defaultdict(list)
    for item in wanted:
        for name in {item.name_of(file, gzip=rules.gzip).casefold() for file in item.source.files}:
            claimed["file", item.session, item.scan or "", item.resource.casefold(), name].append(item)
        if item.on_scan and item.numbered:
            claimed["scan", item.session, item.scan or "", item.resource.casefold()].append(item)
    misplaced: dict[str, Refusal] = {}
    for (what, session, scan, *_), items in claimed.items():
        if len(items) > 1:
            place = f"scan {scan} of {session}" if scan else session
            others = ", ".join(sorted({item.source.relative for item in items}))
            why = f"{len(items)} sources claim one place ({place}): {others}"
            if what == "scan":
                why += "; an image has a scan of its own"
            for item in items:
                misplaced.setdefault(item.source.relative, Refusal(item.source.relative, (why,), item.source.path))
    subjects: dict[str, set[str]] = defaultdict(set)
    for item in wanted:
        subjects[item.session].add(item.subject)
    for item in wanted:
        if len(subjects[item.session]) > 1:
            whose = ", ".join(sorted(subjects[item.session]))
            why = (
                f"session {item.session} is claimed for several subjects ({whose}); "
                "XNAT's session labels are unique in a project"
            )
            misplaced.setdefault(item.source.relative, Refusal(item.source.relative, (why,), item.source.path))
    return tuple(misplaced.values())
