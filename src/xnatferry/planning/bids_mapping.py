"""Maps the parts of a BIDS dataset to addresses on a server.

``sub-01`` is the subject ``01``; ``sub-01/ses-02`` the session ``01_02``, which is
unambiguous, as BIDS labels contain no ``_``; without sessions it is ``01_MR1``, ``01_PET1`` ... by its data. Labels
that XNAT refuses are encoded (``A+B``: ``A-x2B-B``). A manifest stores the original paths, so a pull does not use the
labels.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from xnatferry.errors import UsageError
from xnatferry.planning.placement import (
    MappingRules,
    Placement,
    compressed_as,
    file_name_reasons,
    label_of,
    scan_words,
    session_type_of,
)
from xnatferry.sources.model import Claims, Kind, LocalFile, Source
from xnatferry.wording import counted
from xnatferry.xnat.bids_manifest import MANIFEST_RESOURCE, BidsFile, manifest_name, write_manifest
from xnatferry.xnat.labels import encode_label, label_problem, resource_label_problem
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_TEMPLATE = "{sub}_{ses}"
#: Format and content of resources; recordings and pipelines have their own labels.
_RESOURCES: Mapping[str, tuple[str, str]] = {
    "NIFTI": ("NIFTI", "NIFTI_RAW"),
    "BIDS": ("BIDS", "BIDS"),
    "BIDS_EXTRA": ("BIDS", "BIDS"),
    MANIFEST_RESOURCE: ("JSON", "BIDS"),
    "BIDS_VALIDATION": ("JSON", "BIDS"),
}


def check_bids_rules(sources: Sequence[Source], rules: MappingRules) -> None:
    """Refuse options that cannot be used with a dataset.

    Raises:
        UsageError: An option of *rules* cannot be used with BIDS.
    """
    if not any(source.kind is Kind.BIDS for source in sources):
        return
    for option, value in (("--resource", rules.resource), ("--type", rules.type), ("--gzip", rules.gzip)):
        if value:
            raise UsageError(f"{option} cannot be used with a BIDS dataset: a pull could not restore it")
    subjects = {source.claims.subject for source in sources if source.claims.subject}
    visits = {
        (source.claims.subject, source.claims.session)
        for source in sources
        if source.level in {Level.SESSION, Level.SCAN}
    }
    if rules.subject and len(subjects) > 1:
        raise UsageError(
            f"--subject {rules.subject}: the dataset has {counted(len(subjects), 'subject')}; select one with --only"
        )
    if rules.session and len(visits) > 1:
        raise UsageError(
            f"--session {rules.session}: the dataset has {counted(len(visits), 'session')}; select one with --only"
        )
    if rules.session_template is not None:
        _session_text(rules.session_template, "x", "y")


def place_bids(source: Source, rules: MappingRules) -> tuple[Placement | None, tuple[str, ...]]:
    """The placement of one part of a dataset, or the reasons why it is refused."""
    claims, level = source.claims, source.level or Level.PROJECT
    reasons: list[str] = []
    subject = session = ""
    session_type = session_type_of(rules.session_type or claims.session_type)
    if level is not Level.PROJECT:
        subject = _label("subject", rules.subject or claims.subject or "", rules, reasons)
    if level in {Level.SESSION, Level.SCAN}:
        session = _session(claims, subject, rules, reasons)
    resource = claims.resource or "BIDS"
    if problem := resource_label_problem(resource):
        reasons.append(f"resource label {resource!r}: {problem}")
    reasons += file_name_reasons(source)
    if reasons:
        return None, tuple(reasons)
    kind, content = _RESOURCES.get(resource, (resource.partition("_")[0], resource))
    kind, content = claims.format or kind, claims.content or content
    fields = {"format": kind, "content": content, "tags": claims.tags or ("BIDS" if resource == "BIDS" else "")}
    date = {"date": rules.date} if rules.date else {}
    on_scan = level is Level.SCAN
    return Placement(
        source=source,
        subject=subject,
        session=session,
        resource=resource,
        session_type=session_type,
        on_scan=on_scan,
        scan_type=claims.scan_type or "",
        group=claims.group or "",
        by_type=bool(session) and _is_by_type(claims, rules),
        subject_fields=source.subject_facts,
        session_fields={**source.session_facts, **date},
        scan_fields={**scan_words(claims, rules), **source.attributes} if on_scan else {},
        resource_fields={key: value for key, value in fields.items() if value},
    ), ()


def _session(claims: Claims, subject: str, rules: MappingRules, reasons: list[str]) -> str:
    if rules.session:
        return _label("session", rules.session, rules, reasons)
    template = rules.session_template or _TEMPLATE
    if _is_by_type(claims, rules):
        template = f"{{sub}}_{claims.session_type or 'MR'}1"
    session = "" if claims.session is None else _label("session", claims.session, rules, reasons)
    text = _session_text(template, subject, session)
    if problem := label_problem(text):
        reasons.append(f"session label {text!r}: {problem}; use --session-template")
    return text


def _is_by_type(claims: Claims, rules: MappingRules) -> bool:
    """Whether the label of the session depends only on the kind of its data."""
    template = rules.session_template or _TEMPLATE
    return not rules.session and claims.session is None and ("{ses}" in template or "{session}" in template)


def _session_text(template: str, subject: str, session: str) -> str:
    try:
        return template.format(sub=subject, ses=session, subject=subject, session=session)
    except (KeyError, IndexError, ValueError) as error:
        raise UsageError(
            f"session template {template!r} cannot be used: only {{sub}} and {{ses}} are allowed in it"
        ) from error


def _label(what: str, text: str, rules: MappingRules, reasons: list[str]) -> str:
    """A label unchanged, encoded if XNAT refuses it, or cleaned with ``--clean-labels``."""
    if label_problem(text) is None:
        return text
    if rules.clean_labels:
        return label_of(what, text, rules, reasons) or ""
    encoded = encode_label(text)
    if problem := label_problem(encoded):
        reasons.append(f"{what} label {text!r}: {problem}")
    return encoded


def manifests_of(placements: Sequence[Placement], rules: MappingRules) -> list[Placement]:
    """The manifests of all projects, subjects and sessions with files of a dataset."""
    holders: dict[tuple[str, ...], list[Placement]] = defaultdict(list)
    for item in placements:
        if item.source.kind is Kind.BIDS:
            holders[*item.owner, item.source.claims.pipeline or ""].append(item)
    return [_manifest(items, rules) for items in holders.values()]


def _manifest(items: Sequence[Placement], rules: MappingRules) -> Placement:
    first = items[0]
    data = write_manifest(_entries(items))
    where = first.session or first.subject or rules.project
    about = first.source.path
    local = LocalFile.written(about, manifest_name(first.source.claims.pipeline), data)
    source = Source(
        Kind.BIDS, about, f"{MANIFEST_RESOURCE} of {where}", (local,), replace(first.source.claims, group=None)
    )
    kind, content = _RESOURCES[MANIFEST_RESOURCE]
    return replace(
        first,
        source=source,
        resource=MANIFEST_RESOURCE,
        scan=None,
        on_scan=False,
        group="",
        scan_fields={},
        resource_fields={"format": kind, "content": content},
    )


def _entries(items: Iterable[Placement]) -> Iterator[BidsFile]:
    for item in items:
        level = item.source.level or Level.PROJECT
        for file in item.source.files:
            packed = compressed_as(file, file.name)
            place = (level.value, item.resource, file.name)
            yield BidsFile(file.tree_path, file.size_bytes, file.digest or "", *place, packed)
