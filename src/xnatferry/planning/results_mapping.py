"""Maps results of other programs to a resource of a project, subject, session, scan or assessor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xnatferry.errors import UsageError
from xnatferry.planning.placement import (
    MappingRules,
    Placement,
    day_of,
    label_of,
    scan_words,
    session_text,
    session_type_of,
)
from xnatferry.xnat.labels import label_problem, remote_name_problem, resource_label_problem
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from xnatferry.sources.model import Source

#: The data type of assessors that only carry resources (``xnat.xsd``: quality control with free content).
_ASSESSOR_TYPE = "xnat:qcAssessmentData"
_LEVELS = {level.value: level for level in (Level.PROJECT, Level.SUBJECT, Level.SESSION, Level.SCAN, Level.ASSESSOR)}


def place_result(source: Source, rules: MappingRules) -> tuple[Placement | None, tuple[str, ...]]:
    """The placement of one result, or the reasons why it is refused."""
    claims, level = source.claims, _level(source, rules)
    reasons: list[str] = []
    session_type = session_type_of(rules.session_type or claims.session_type)
    resource = rules.resource or claims.resource or "FILES"
    subject = session = scan = assessor = ""
    if level is not Level.PROJECT:
        found = rules.subject or claims.subject
        if not found:
            return None, ("the subject is unknown; use --template, --subject or a mapping table",)
        subject = label_of("subject", found, rules, reasons) or ""
    if level not in {Level.PROJECT, Level.SUBJECT}:
        text = session_text(rules, claims, session_type, subject or "x")
        session = label_of("session", text, rules, reasons) or ""
    if level is Level.SCAN:
        if claims.scan is None:
            return None, ("the scan is unknown; use --template with {scan}, or a mapping table",)
        scan = label_of("scan", claims.scan, rules, reasons) or ""
    if level is Level.ASSESSOR:
        assessor = (rules.assessor or "{session}_" + resource).replace("{session}", session)
        if problem := label_problem(assessor):
            reasons.append(f"assessor label {assessor!r}: {problem}; use --assessor")
    if problem := resource_label_problem(resource):
        reasons.append(f"resource label {resource!r}: {problem}")
    named = ((file.name, remote_name_problem(file.name)) for file in source.files)
    reasons.extend(f"file name {name!r}: {problem}" for name, problem in named if problem)
    day = day_of(claims, rules, reasons)
    if reasons:
        return None, tuple(reasons)
    fields = {
        "format": rules.format or claims.format,
        "content": rules.content or claims.content,
        "tags": rules.tags or claims.tags,
    }
    return Placement(
        source=source,
        subject=subject,
        session=session,
        resource=resource,
        session_type=session_type,
        scan=scan or None,
        numbered=bool(scan),
        on_scan=level is Level.SCAN,
        assessor=assessor,
        assessor_type=(rules.assessor_type or _ASSESSOR_TYPE) if assessor else "",
        session_fields={"date": day} if day and session else {},
        scan_fields=scan_words(claims, rules) if scan else {},
        resource_fields={key: value for key, value in fields.items() if value},
    ), ()


def _level(source: Source, rules: MappingRules) -> Level:
    """The object it is attached to: from the user, from the source, else the scan that it names or its session.

    Raises:
        UsageError: The level is unknown.
    """
    if rules.level is not None:
        if rules.level not in _LEVELS:
            raise UsageError(f"level {rules.level!r} is unknown; use {', '.join(_LEVELS)}")
        return _LEVELS[rules.level]
    if source.level is not None:
        return source.level
    return Level.SCAN if source.claims.scan is not None else Level.SESSION
