"""The resources that the parts of a dataset become, as sources."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Final

from xnatferry.checks.data_files import accepted, inspect_data, is_data_name
from xnatferry.checks.finding_catalog import found, listed
from xnatferry.sources.bids.derivatives import grouped
from xnatferry.sources.bids.freesurfer_runs import freesurfer_runs_in
from xnatferry.sources.bids.inheritance import merged_text, read_object
from xnatferry.sources.bids.scan_grouping import BIDS, EXTRA, Part, Unit
from xnatferry.sources.bids.scans import ScanReport, scan_type_of, stands_alone
from xnatferry.sources.model import Claims, Finding, Kind, LocalFile, Severity, Source
from xnatferry.sources.path_layouts import entities_of
from xnatferry.xnat.digest import PIECE_BYTES, digest_of
from xnatferry.xnat.model import Level
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from xnatferry.sources.bids.cohort import Cohort
    from xnatferry.sources.bids.derivatives import Pipeline, Whose
    from xnatferry.sources.bids.names import BidsSchema
    from xnatferry.sources.bids.tree import Ignored
    from xnatferry.sources.folder_walk import Entry

DESCRIPTION: Final = "dataset_description.json"
_ROOT_FOLDERS: Final = frozenset({"phenotype", "stimuli", "code", "docs", "logs"})


@dataclass(slots=True)
class Visit:
    """One session with its scans.

    Attributes:
        part: Its files.
        units: Its scans, in order.
        reports: Result of reading each scan.
        shared: Files that belong to no scan.
        type: Short name of its type.
        attributes: Its fields.
    """

    part: Part
    units: list[Unit] = field(default_factory=list)
    reports: list[ScanReport] = field(default_factory=list)
    shared: list[Entry] = field(default_factory=list)
    type: str = "OTHER"
    attributes: dict[str, str] = field(default_factory=dict)


class Resources:
    """Makes sources.

    Args:
        root: The dataset.
        files: Every file by path.
        schema: The names of BIDS.
        ignored: What ``.bidsignore`` says.
        takes: Whether a session is selected.
    """

    def __init__(
        self,
        root: Path,
        files: Mapping[str, Entry],
        schema: BidsSchema,
        ignored: Ignored,
        takes: Callable[[str, str | None], bool],
    ) -> None:
        self._root = root
        self._files = files
        self._schema = schema
        self._ignored = ignored
        self._takes = takes

    def of_visit(self, visit: Visit, cohort: Cohort) -> Iterator[Source]:
        """Those of a session and its scans."""
        subject, session = visit.part.subject, visit.part.session
        attributes = cohort.subjects.get(subject, {})
        for unit, report in zip(visit.units, visit.reports, strict=True):
            refused = any(finding.severity is Severity.ERROR for finding in report.findings)
            files: dict[str, list[LocalFile]] = defaultdict(list)
            usable = [kept for kept in unit.kept if not stands_alone(kept, unit)]
            for kept in usable:
                local = _local(kept.entry, kept.name, report.digests.get(kept.entry.path))
                if report.inherited and kept.name == f"{unit.name.stem}.json":
                    # A push before it was written had only what is inherited, and merged that under this name.
                    local = replace(local, stands_for=digest_of([merged_text(report.inherited)]))
                files[unit.resource if refused else kept.resource].append(local)
            lacks = not refused and not any(file.name.endswith(".json") for file in files[BIDS])
            if lacks and (report.sidecar or unit.is_image):  # NRG's xnat2bids skips a scan that has none
                data = merged_text(report.sidecar)
                files[BIDS].insert(0, LocalFile.written(unit.data[0].path, f"{unit.name.stem}.json", data))
            for resource, inside in files.items():
                if not inside:
                    continue
                source = Source(
                    kind=Kind.BIDS,
                    path=unit.data[0].path,
                    relative=unit.data[0].relative,
                    files=tuple(inside),
                    claims=Claims(
                        subject=subject,
                        session=session,
                        type=unit.name.suffix,
                        series_description=report.series_description or unit.name.short_stem(),
                        note=f"BIDS: {visit.part.inside(unit.data[0])}",
                        session_type=visit.type,
                        resource=resource,
                        scan_type=scan_type_of(unit),
                        group=unit.key,
                    ),
                    level=Level.SCAN,
                    attributes=report.attributes,
                    session_facts=visit.attributes,
                    subject_facts=attributes,
                    findings=tuple(report.findings) if resource == unit.resource else (),
                )
                yield source
            for kept in unit.kept:
                if kept not in usable and kept.entry.problem is not None:
                    why = found(*kept.entry.problem, kept.entry.path)
                    yield from _apart(replace(source, files=()), [(_local(kept.entry, kept.name), [why])])
        own = [_local(entry, visit.part.inside(entry)) for entry in visit.shared]
        yield from self._plain(
            own,
            Claims(subject=subject, session=session, session_type=visit.type),
            Level.SESSION,
            relative=visit.part.folder,
            extra=[_local_description(self._files)] if visit.units else [],
            session_facts=visit.attributes,
            subject_facts=attributes,
        )

    def of_subject(self, part: Part, entries: Sequence[Entry], cohort: Cohort) -> Iterator[Source]:
        """Those of what the sessions of a subject share."""
        files = [_local(entry, entry.relative.partition("/")[2]) for entry in entries]
        claims = Claims(subject=part.subject)
        attributes = cohort.subjects.get(part.subject, {})
        yield from self._plain(files, claims, Level.SUBJECT, relative=f"sub-{part.subject}", subject_facts=attributes)

    def of_project(self, entries: Sequence[Entry], sourcedata: Sequence[Entry]) -> Iterator[Source]:
        """Those of what the whole dataset shares."""
        files = [_local(entry, entry.relative) for entry in entries if self._takes_file(entry)]
        yield from self._plain(files, Claims(), Level.PROJECT, relative=self._root.name)
        moved = [_local(entry, entry.relative.partition("/")[2]) for entry in sourcedata if self._takes_file(entry)]
        if moved:
            yield from self._sources(moved, Claims(resource="SOURCEDATA"), Level.PROJECT, relative="sourcedata")

    def of_report(self, report: bytes) -> Iterator[Source]:
        """That of the official validator's report."""
        files = [LocalFile.written(self._root, "bids-validator.json", report)]
        yield from self._sources(files, Claims(resource="BIDS_VALIDATION"), Level.PROJECT, relative=self._root.name)

    def of_derivatives(
        self,
        pipelines: Sequence[Pipeline],
        sessions: Mapping[str, set[str | None]],
        visits: Sequence[Visit],
        *,
        allow_incomplete: bool,
    ) -> Iterator[Source]:
        """Those of pipelines and FreeSurfer runs, at the session, subject or project they are about."""
        by_visit = {(visit.part.subject, visit.part.session): visit for visit in visits}
        pipelines = [replace(pipeline, entries=self._selected(pipeline, sessions)) for pipeline in pipelines]
        for run in freesurfer_runs_in(self._root, pipelines, sessions, allow_incomplete=allow_incomplete):
            subject, session, has_session = run.whose
            if subject is None or not self._is_selected(subject, session, sessions, has_session=has_session):
                continue
            yield from self._derived(
                [
                    _local(entry, entry.relative.removeprefix(run.above), run.digests.get(entry.path))
                    for entry in run.entries
                ],
                run.whose,
                Claims(resource=run.label, tags=run.version or None, format="MGZ", content="FREESURFER"),
                by_visit,
                relative=f"{run.above}{run.name}",
                findings=run.findings,
            )
        for pipeline in pipelines:
            for whose, entries in grouped(pipeline, sessions).items():
                files = [_local(entry, pipeline.inside(entry)) for entry in entries]
                unknown = sorted({file.name.partition("/")[0] for file in files if file.name.startswith("sub-")})
                yield from self._derived(
                    files,
                    whose,
                    Claims(resource=pipeline.label, tags=pipeline.version or None),
                    by_visit,
                    relative="/".join(filter(None, (pipeline.folder, whose[0] and f"sub-{whose[0]}")))
                    or self._root.name,
                    findings=self._unknown_subjects(pipeline.folder, unknown) if whose[0] is None else (),
                )

    def _selected(self, pipeline: Pipeline, sessions: Mapping[str, set[str | None]]) -> list[Entry]:
        """The files of a pipeline but those of subjects and sessions that are not selected."""
        kept: list[Entry] = []
        for (subject, session, has_session), entries in grouped(pipeline, sessions).items():
            if subject is None:
                kept += filter(self._takes_file, entries)
            elif self._is_selected(subject, session, sessions, has_session=has_session):
                kept += entries
        return kept

    def _takes_file(self, entry: Entry) -> bool:
        """Whether a file of the project is selected: it names no subject, or one that is."""
        named = entities_of(entry.relative)
        return "sub" not in named or self._takes(named["sub"], named.get("ses"))

    def _derived(
        self,
        files: Sequence[LocalFile],
        whose: Whose,
        claims: Claims,
        by_visit: Mapping[tuple[str, str | None], Visit],
        *,
        relative: str,
        findings: Sequence[Finding],
    ) -> Iterator[Source]:
        subject, session, has_session = whose
        visit = by_visit.get((subject, session)) if subject is not None and has_session else None
        level = Level.SESSION if visit else Level.SUBJECT if subject is not None else Level.PROJECT
        yield from self._sources(
            files,
            replace(claims, subject=subject, session=session, session_type=visit.type if visit else None),
            level,
            relative=relative,
            session_facts=visit.attributes if visit else {},
            version=claims.tags,
            findings=findings,
        )

    def _unknown_subjects(self, folder: str, names: Sequence[str]) -> list[Finding]:
        if not names:
            return []
        why = f"results of subjects that are not in the dataset: {listed(names)}; they are uploaded to the project"
        return [found("BIDS18", why, self._root / folder)]

    def _is_selected(
        self, subject: str, session: str | None, sessions: Mapping[str, set[str | None]], *, has_session: bool
    ) -> bool:
        visits = {session} if has_session else sessions[subject] or {None}
        return any(self._takes(subject, visit) for visit in visits)

    def _plain(
        self,
        files: Sequence[LocalFile],
        claims: Claims,
        level: Level,
        *,
        relative: str,
        extra: Iterable[LocalFile | None] = (),
        session_facts: Mapping[str, str] | None = None,
        subject_facts: Mapping[str, str] | None = None,
    ) -> Iterator[Source]:
        """Files that belong to no scan: valid BIDS names go to ``BIDS``, others to ``BIDS_EXTRA``."""
        groups: dict[str, list[LocalFile]] = {BIDS: [file for file in extra if file is not None], EXTRA: []}
        for file in files:
            known = self._schema.allows(file.tree_path) and not self._ignored.matches(file.tree_path)
            groups[BIDS if known or file.tree_path.partition("/")[0] in _ROOT_FOLDERS else EXTRA].append(file)
        for resource, inside in groups.items():
            if inside:
                yield from self._sources(
                    inside,
                    replace(claims, resource=resource),
                    level,
                    relative=relative,
                    session_facts=session_facts,
                    subject_facts=subject_facts,
                )

    def _sources(
        self,
        files: Sequence[LocalFile],
        claims: Claims,
        level: Level,
        *,
        relative: str,
        session_facts: Mapping[str, str] | None = None,
        subject_facts: Mapping[str, str] | None = None,
        version: str | None = None,
        findings: Sequence[Finding] = (),
    ) -> Iterator[Source]:
        """The files of one resource; each that cannot be used as a refused source of its own."""
        findings = [*findings]
        refused: list[tuple[LocalFile, list[Finding]]] = []
        for file in files:
            entry = self._files.get(file.tree_path)
            own: list[Finding] = []
            if entry is not None and entry.problem is not None:
                own = [found(*entry.problem, entry.path)]
            elif entry is not None and _is_sidecar(entry, claims.resource):
                own = read_object(entry)[1]
            if any(finding.severity is Severity.ERROR for finding in own):
                refused.append((file, own))
            else:
                findings += own
        source = Source(
            kind=Kind.BIDS,
            path=self._root / relative,
            relative=relative,
            files=tuple(files),
            claims=claims,
            session_facts=session_facts or {},
            subject_facts=subject_facts or {},
            level=level,
            version=version or None,
            findings=tuple(findings),
        )
        yield from _apart(source, refused)


def _apart(source: Source, refused: Sequence[tuple[LocalFile, Sequence[Finding]]]) -> Iterator[Source]:
    """*source* without the refused files, and each of them as a source that says why."""
    bad = {file.name for file, _ in refused}
    if len(bad) < len(source.files):
        yield replace(source, files=tuple(file for file in source.files if file.name not in bad))
    for file, why in refused:
        yield replace(source, path=file.path, relative=file.tree_path or file.name, files=(file,), findings=tuple(why))


def with_digests(sources: Iterable[Source], workers: int, *, allow_incomplete: bool) -> tuple[Source, ...]:
    """The same sources with the MD5 of every file, which the manifest and a second push need, and without damaged data.

    Args:
        sources: What is to be uploaded.
        workers: Threads that read.
        allow_incomplete: Whether empty or truncated data is uploaded with a warning.
    """
    read = partial(_with_digests, allow_incomplete=allow_incomplete)
    return tuple(one for several in thread_map(read, sources, workers=workers) for one in several)


def _with_digests(source: Source, *, allow_incomplete: bool) -> list[Source]:
    if source.refused:
        return [source]
    # Images of scans have been read as such, runs of FreeSurfer by their own checks.
    of_image = source.level is Level.SCAN and source.claims.resource == "NIFTI"
    checked = not of_image and source.claims.content != "FREESURFER"
    files: list[LocalFile] = []
    refused: list[tuple[LocalFile, list[Finding]]] = []
    warnings: list[Finding] = []
    for file in source.files:
        try:
            data = checked and file.opener is None and is_data_name(file.name)
            findings, digest = inspect_data(file.path) if data else ([], None)
            files.append(replace(file, digest=file.digest or digest or digest_of(_pieces(file.path))))
        except OSError as error:
            why = f"the file cannot be read ({error.strerror}); check its permissions and the disk"
            findings = [found("BIDS17", why, file.path)]
            files.append(file)
        findings = [accepted(finding) if allow_incomplete else finding for finding in findings]
        if any(finding.severity is Severity.ERROR for finding in findings):
            refused.append((file, findings))
        else:
            warnings += findings
    source = replace(source, files=tuple(files), findings=(*source.findings, *warnings))
    if source.level is Level.SCAN and source.claims.resource != BIDS:  # nothing without the image or recording
        return [replace(source, findings=(*source.findings, *(f for _, findings in refused for f in findings)))]
    return list(_apart(source, refused))


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while piece := stream.read(PIECE_BYTES):
            yield piece


def _local(entry: Entry, name: str, digest: str | None = None) -> LocalFile:
    return LocalFile(entry.path, name, entry.size_bytes, entry.mtime_ns, digest=digest, tree_path=entry.relative)


def _is_sidecar(entry: Entry, resource: str | None) -> bool:
    """Whether it is metadata in JSON, not a JSON file of some other kind."""
    first = entry.relative.partition("/")[0]
    return (
        resource == BIDS
        and entry.name.endswith(".json")
        and entry.relative != DESCRIPTION
        and first not in _ROOT_FOLDERS - {"phenotype"}
    )


def _local_description(files: Mapping[str, Entry]) -> LocalFile | None:
    """A copy of the dataset's description, which exporters of others look for in every session."""
    entry = files.get(DESCRIPTION)
    if entry is None or entry.problem is not None:
        return None
    return LocalFile(entry.path, DESCRIPTION, entry.size_bytes, entry.mtime_ns)
