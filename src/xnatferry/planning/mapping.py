"""Maps sources to addresses on a server by claims, options and defaults; refuses labels that XNAT does not accept.

Defaults (reference: XNAT's own tutorials, bx, bbrc-validator): session ``<subject>_MR1``, scans numbered 1, 2, 3,
scan quality ``usable``, images in the scan resource ``NIFTI`` with format ``NIFTI`` and content ``NIFTI_RAW``,
FreeSurfer subjects in the session resource ``FREESURFER<major version>``. BIDS has its own module.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.checks.bids import fitting_fields
from xnatferry.checks.freesurfer import label_problem_of
from xnatferry.errors import UsageError
from xnatferry.planning.bids_mapping import check_bids_rules, manifests_of, place_bids
from xnatferry.planning.collisions import same_place, without_label_collisions
from xnatferry.planning.placement import (
    MappedSources,
    MappingRules,
    Placement,
    day_of,
    file_name_reasons,
    label_of,
    next_free,
    scan_type_for,
    scan_words,
    session_from,
    session_text,
    session_type_of,
)
from xnatferry.planning.plan import Refusal
from xnatferry.planning.results_mapping import place_result
from xnatferry.planning.session_dates import sessions_by_date
from xnatferry.sources.model import Kind, Source
from xnatferry.sources.nifti import split_name
from xnatferry.sources.nifti_header import number
from xnatferry.sources.path_layouts import iso_date
from xnatferry.xnat.interning import interned, no_fields
from xnatferry.xnat.labels import label_problem, resource_label_problem
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["MappedSources", "MappingRules", "Placement", "map_sources", "scan_type_for", "session_type_of"]

#: Findings about the subject that a path names; they do not matter if the user names it.
_ABOUT_SUBJECT = frozenset({"NII26", "NII35", "FS27"})
#: Kinds with their own mapping module.
_PLACES = {Kind.BIDS: place_bids, Kind.FILES: place_result}


def map_sources(sources: Sequence[Source], rules: MappingRules) -> MappedSources:
    """Map every source to an address, or to the reasons why it is refused.

    Raises:
        UsageError: The rules themselves cannot be used (project ID, template, session type).
    """
    _check_rules(rules)
    if rules.session_template is not None and not any(source.kind is Kind.BIDS for source in sources):
        session_from(rules.session_template, "x")
    check_bids_rules(sources, rules)
    placements: list[Placement] = []
    refusals: list[Refusal] = []
    for source in sources:
        if errors := _errors(source, rules):
            refusals.append(Refusal(source.relative, errors, source.path))
            continue
        placed, reasons = _PLACES.get(source.kind, _place)(source, rules)
        if placed is None or reasons:
            refusals.append(Refusal(source.relative, reasons, source.path))
        else:
            placements.append(placed)
    placements, hollow = _without_hollow_sessions(placements, sources)
    placements, collided = without_label_collisions(placements, rules)
    placements, of_two_dates = sessions_by_date(placements, rules)
    numbered = [*_number(placements), *manifests_of(placements, rules)]
    return MappedSources(tuple(numbered), (*refusals, *hollow, *collided, *of_two_dates), same_place(numbered, rules))


def _without_hollow_sessions(
    placements: Sequence[Placement], sources: Sequence[Source]
) -> tuple[list[Placement], list[Refusal]]:
    """Refuse the other files of BIDS sessions of which every image is refused: they would be sessions without scans."""
    scanned = [source for source in sources if source.kind is Kind.BIDS and source.level is Level.SCAN]
    expected = {(source.claims.subject, source.claims.session) for source in scanned}
    placed = {(one.source.claims.subject, one.source.claims.session) for one in placements if one.on_scan}
    hollow = expected - placed
    kept: list[Placement] = []
    refused: list[Refusal] = []
    for item in placements:
        claims = item.source.claims
        if item.session and item.source.kind is Kind.BIDS and (claims.subject, claims.session) in hollow:
            why = f"every image of session {item.session} is refused"
            refused.append(Refusal(item.source.relative, (why,), item.source.path))
        else:
            kept.append(item)
    return kept, refused


def _errors(source: Source, rules: MappingRules) -> tuple[str, ...]:
    """Errors of the checks of a source; with the name of the file when it is not the image."""
    reasons: list[str] = []
    for finding in source.findings:
        if finding.severity != "error" or (finding.id in _ABOUT_SUBJECT and rules.subject):
            continue
        beside = source.kind in {Kind.NIFTI, Kind.BIDS} and finding.line is None
        about = finding.path if beside and finding.path not in {source.path, None} else None
        reasons.append(finding.message if about is None else f"{about.name}: {finding.message}")
    return tuple(reasons)


def _check_rules(rules: MappingRules) -> None:
    if problem := label_problem(rules.project):
        raise UsageError(f"project {rules.project!r} cannot be used: {problem}")
    if rules.resource is not None and (problem := resource_label_problem(rules.resource)):
        raise UsageError(f"resource label {rules.resource!r} cannot be used: {problem}")
    if rules.date is not None and iso_date(rules.date) != rules.date:
        raise UsageError(f"date {rules.date!r} cannot be used: write YYYY-MM-DD")
    if rules.quality is not None and rules.quality not in {"usable", "questionable", "unusable"}:
        raise UsageError(f"quality {rules.quality!r} cannot be used: use usable, questionable or unusable")
    session_type_of(rules.session_type)


def _place(source: Source, rules: MappingRules) -> tuple[Placement | None, tuple[str, ...]]:
    claims = source.claims
    subject = rules.subject or claims.subject
    if not subject:
        return None, ("the subject is unknown; use --template, --subject or a mapping table",)
    session_type = session_type_of(rules.session_type or claims.session_type)
    on_scan = source.kind is Kind.NIFTI
    resource = rules.resource or claims.resource or ("NIFTI" if source.kind is Kind.NIFTI else "FREESURFER")
    reasons: list[str] = []
    label = {"subject": label_of("subject", subject, rules, reasons)}
    session = session_text(rules, claims, session_type, label["subject"] or "x")
    of_subject = source.level is Level.SUBJECT
    label["session"] = None if of_subject else label_of("session", session, rules, reasons)
    label["scan"] = label_of("scan", claims.scan, rules, reasons) if on_scan and claims.scan else None
    if problem := resource_label_problem(resource):
        reasons.append(f"resource label {resource!r}: {problem}")
    if source.kind is Kind.FREESURFER and (problem := label_problem_of(resource, source.version)):
        reasons.append(problem)
    reasons += file_name_reasons(source)
    day = day_of(claims, rules, reasons)
    if reasons:
        return None, tuple(reasons)
    return Placement(
        source=source,
        subject=label["subject"] or "",
        session=label["session"] or "",
        resource=resource,
        session_type=session_type,
        scan=label["scan"],
        numbered=label["scan"] is not None,
        group=claims.group or "",
        on_scan=on_scan,
        session_fields=interned({"date": day}) if day and not of_subject else no_fields(),
        scan_fields=_scan_fields(source, rules, session_type) if on_scan else no_fields(),
        resource_fields=_resource_fields(source, rules),
    ), ()


def _scan_fields(source: Source, rules: MappingRules, session_type: str) -> Mapping[str, str]:
    stem = split_name(source.files[0].name)[0] if source.files else ""
    claims = source.claims
    # A name that is all of a path is the subject, unless the user or a table names that.
    if claims.type is None and (rules.subject is not None or stem != claims.subject):
        claims = replace(claims, type=stem or None)
    found = scan_words(claims, rules)
    scan_type = scan_type_for(session_type)
    if scan_type == "xnat:mrScanData":
        return interned({**found, **source.attributes})
    geometry = _pet_geometry(source.attributes) if scan_type == "xnat:petScanData" else {}
    return interned(found | fitting_fields(scan_type, {**source.attributes, **geometry}))


def _pet_geometry(attributes: Mapping[str, str]) -> dict[str, str]:
    """Geometry of an MR scan in mm, converted to ``xnat:petScanData`` in cm (schema ``xnat.xsd``)."""
    found: dict[str, str] = {}
    sizes = {axis: attributes.get(f"parameters/voxelRes/{axis}") for axis in "xyz"}
    for axis, size in sizes.items():
        if size is not None:
            found[f"parameters/pixelSize/{axis}"] = number(float(size) / 10)
    if sizes["z"] is not None:
        found["parameters/planeSeparation"] = number(float(sizes["z"]) / 10)
    for path, source in (
        ("dimensions/x", "parameters/matrix/x"),
        ("dimensions/y", "parameters/matrix/y"),
        ("dimensions/z", "parameters/partitions"),
        ("numPlanes", "parameters/partitions"),
        ("frames/numFrames", "frames"),
    ):
        if source in attributes:
            found[f"parameters/{path}"] = attributes[source]
    return found


def _resource_fields(source: Source, rules: MappingRules) -> Mapping[str, str]:
    claims = source.claims
    if source.kind is Kind.NIFTI:
        defaults = {"format": "NIFTI", "content": "NIFTI_RAW"}
    elif source.kind is Kind.FREESURFER:
        defaults = {"format": "MGZ", "content": "FREESURFER", "tags": source.version or ""}
    else:
        defaults = {}
    given = {
        "format": rules.format or claims.format or defaults.get("format"),
        "content": rules.content or claims.content or defaults.get("content"),
        "tags": rules.tags or claims.tags or defaults.get("tags"),
    }
    return interned({key: value for key, value in given.items() if value})


def _number(placements: Iterable[Placement]) -> list[Placement]:
    """Give unnumbered scans of each session the next free numbers, in the order of discovery."""
    placements = list(placements)
    taken: dict[str, set[str]] = defaultdict(set)
    for item in placements:
        if item.scan is not None:
            taken[item.session].add(item.scan)
    grouped: dict[tuple[str, str], str] = {}
    result: list[Placement] = []
    for item in placements:
        if item.on_scan and item.scan is None:
            number = grouped.get((item.session, item.group)) or next_free(taken[item.session])
            taken[item.session].add(number)
            if item.group:
                grouped[item.session, item.group] = number
            result.append(replace(item, scan=number))
        else:
            result.append(item)
    return result
