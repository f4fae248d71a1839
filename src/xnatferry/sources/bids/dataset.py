"""A BIDS dataset as sources: one for each resource that a scan, a session, a subject or the project gets."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from xnatferry.checks.bids import (
    broken_intended_for,
    case_duplicates,
    check_description,
    check_table_header,
    duplicate_labels,
    fitting_fields,
)
from xnatferry.checks.bids_validator import find_validator, not_installed, run_validator
from xnatferry.checks.finding_catalog import found, listed
from xnatferry.sources.bids.cohort import Cohort, read_cohort
from xnatferry.sources.bids.derivatives import pipelines_of, whole_pipeline
from xnatferry.sources.bids.inheritance import Inheritance, read_object
from xnatferry.sources.bids.names import BidsSchema, bids_schema
from xnatferry.sources.bids.resources import DESCRIPTION, Resources, Visit, with_digests
from xnatferry.sources.bids.scan_grouping import EXTRA, Part, Unit, companions_of, parts_of, units_of
from xnatferry.sources.bids.scans import read_scan, scan_type_of, session_facts_of, session_type_of
from xnatferry.sources.bids.tree import Ignored, Tree, read_tree
from xnatferry.sources.model import Discovery, Finding, Kind, Severity, Source
from xnatferry.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from xnatferry.sources.folder_walk import Entry

#: Tables that the cohort reads, and those that have no header.
_WITHOUT_HEADER_CHECK: Final = ("_sessions.tsv", "_scans.tsv", "_motion.tsv")
_CHECKED_ELSEWHERE: Final = (".nii", ".nii.gz", ".tsv", ".json", ".bval", ".bvec")
#: What a pipeline's results were made from; the runs of FreeSurfer that fMRIPrep keeps there are results as well.
_SOURCES: Final = re.compile(r"sourcedata/(?!freesurfer[^/]*/)")


@dataclass(frozen=True, slots=True)
class BidsChoices:
    """Options for a dataset.

    Attributes:
        takes: Whether a session is read, by the bare labels of subject and session (None without sessions).
            Files of the whole dataset are always read.
        unmatched: Why a selection matches none of the sessions of the dataset; empty when it matches some.
        sourcedata: Whether ``sourcedata/`` is uploaded, which may identify people.
        custom_fields: Whether columns without an XNAT field become custom fields.
        allow_incomplete: Whether empty or truncated images are uploaded with a warning.
        validate: Whether the official validator is run, where it is installed.
        force: Whether errors of the official validator are warnings; its report is uploaded then.
    """

    takes: Callable[[str, str | None], bool] = lambda _subject, _session: True
    unmatched: Callable[[Iterable[tuple[str, str | None]]], str] = lambda _parts: ""
    sourcedata: bool = False
    custom_fields: bool = False
    allow_incomplete: bool = False
    validate: bool = False
    force: bool = False


def discover_bids(root: Path, choices: BidsChoices, *, workers: int | None = None) -> Discovery:
    """Read and check a BIDS dataset.

    Args:
        root: Its folder.
        choices: What of it, and how.
        workers: Threads that read images; as many as there are processors when None.
    """
    return _Dataset(root, choices).discovered(workers or os.cpu_count() or 1)


class _Dataset:
    def __init__(self, root: Path, choices: BidsChoices) -> None:
        self._root = root
        self._choices = choices
        self._schema: BidsSchema = bids_schema()
        self._tree: Tree = read_tree(root)
        self._files = {entry.relative: entry for entry in self._tree.entries}
        self._findings: list[Finding] = []
        self._ignored = Ignored(self._lines(".bidsignore"))

    def discovered(self, workers: int) -> Discovery:
        """Everything, as sources."""
        description = self._files.get(DESCRIPTION)
        about = read_object(description)[0] if description is not None else {}
        derived = about.get("DatasetType") == "derivative"
        sources: Sequence[Source] = self._derived() if derived else self._raw(workers)
        sources = with_digests(sources, workers, allow_incomplete=self._choices.allow_incomplete)
        return Discovery(self._root, Kind.BIDS, sources, tuple(self._findings))

    def _derived(self) -> list[Source]:
        """Those of a dataset that is one pipeline's results: resources of the sessions that it is about."""
        own: list[Entry] = []
        excluded: list[Entry] = []
        for entry in self._tree.entries:
            (excluded if _SOURCES.match(entry.relative) else own).append(entry)
        self._findings += self._description()
        self._findings += case_duplicates(self._files, self._root)
        self._findings += self._not_uploaded(excluded)
        parts = [part for part in parts_of(own)[0] if part.subject]
        self._findings += duplicate_labels({part.subject for part in parts}, self._root)
        # Files in sub-01 outside its sessions belong to the subject.
        sessions = {subject: (visits - {None}) or {None} for subject, visits in _sessions(parts).items()}
        visits = [
            Visit(part) for part in parts if part.session in sessions[part.subject] and self._chosen(part, sessions)
        ]
        self._findings += self._nothing_selected(sessions, visits)
        for visit in visits:
            folders = {visit.part.inside(entry).partition("/")[0] for entry in visit.part.entries}
            visit.type = session_type_of(folders & self._schema.datatypes)
        pipeline = whole_pipeline(self._root.name, own)
        report = self._validated()
        make = Resources(self._root, self._files, self._schema, self._ignored, self._choices.takes)
        incomplete = self._choices.allow_incomplete
        sources = [
            *make.of_derivatives([pipeline], sessions, visits, allow_incomplete=incomplete),
            *make.of_project([], excluded if self._choices.sourcedata else []),
            *(make.of_report(report) if self._choices.force and report else ()),
        ]
        return [replace(one, claims=replace(one.claims, pipeline=pipeline.label)) for one in sources]

    def _raw(self, workers: int) -> list[Source]:
        raw, made, excluded = self._split()
        parts, project = parts_of(raw)
        self._findings += self._description()
        self._findings += self._names(raw)
        self._findings += self._headers(raw)
        self._findings += self._empty_files(raw)
        self._findings += self._not_uploaded(excluded)
        self._findings += duplicate_labels({part.subject for part in parts}, self._root)
        sessions = _sessions(parts)
        parts = [part for part in parts if self._chosen(part, sessions)]
        self._findings += self._nothing_selected(sessions, parts)
        cohort = read_cohort(self._root, self._tree.entries, parts, sessions, custom=self._choices.custom_fields)
        self._findings += cohort.findings
        visits, of_subjects = self._visits(parts, sessions, Inheritance(raw), cohort, workers)
        report = self._validated()
        make = Resources(self._root, self._files, self._schema, self._ignored, self._choices.takes)
        return [
            *make.of_project(project, excluded if self._choices.sourcedata else []),
            *(make.of_report(report) if self._choices.force and report else ()),
            *(source for part, entries in of_subjects for source in make.of_subject(part, entries, cohort)),
            *(source for visit in visits for source in make.of_visit(visit, cohort)),
            *make.of_derivatives(pipelines_of(made), sessions, visits, allow_incomplete=self._choices.allow_incomplete),
        ]

    def _split(self) -> tuple[list[Entry], list[Entry], list[Entry]]:
        """Files of the dataset itself, of derivatives, of sourcedata."""
        groups: dict[str, list[Entry]] = defaultdict(list)
        for entry in self._tree.entries:
            first, slash, rest = entry.relative.partition("/")
            inside = first in {"derivatives", "sourcedata"} and slash and (first == "sourcedata" or "/" in rest)
            groups[first if inside else ""].append(entry)
        return groups[""], groups["derivatives"], groups["sourcedata"]

    def _chosen(self, part: Part, sessions: Mapping[str, set[str | None]]) -> bool:
        """Whether it is selected; files that a subject's sessions share are selected with any of them."""
        takes, visits = self._choices.takes, sessions[part.subject]
        if part.session in visits:
            return takes(part.subject, part.session)
        return any(takes(part.subject, visit) for visit in visits or {None})

    def _nothing_selected(
        self, sessions: Mapping[str, set[str | None]], selected: Sequence[object]
    ) -> Iterator[Finding]:
        """An error when the selection, or one of its patterns, matches nothing."""
        why = self._choices.unmatched(
            (subject, visit) for subject, visits in sessions.items() for visit in visits or {None}
        )
        if why or (sessions and not selected):
            why = why or "--only and --exclude select no subject or session; use labels such as sub-01 or sub-01/ses-02"
            yield found("BIDS19", why, self._root)

    # Checks of the whole

    def _validated(self) -> bytes:
        """The official validator's report; empty when it is not run."""
        if not self._choices.validate:
            return b""
        if (program := find_validator()) is None:
            self._findings.append(not_installed(self._root))
            return b""
        report = run_validator(
            program, self._root, force=self._choices.force, allow_incomplete=self._choices.allow_incomplete
        )
        self._findings += report.findings
        return report.content

    def _lines(self, relative: str) -> list[str]:
        entry = self._files.get(relative)
        if entry is None or entry.problem is not None:
            return []
        return entry.path.read_text(encoding="utf-8", errors="replace").splitlines()

    def _description(self) -> Iterator[Finding]:
        entry = self._files.get(DESCRIPTION)
        if entry is None:
            why = f"{DESCRIPTION} is missing; create it with Name and BIDSVersion, or use --as nifti"
            yield found("BIDS01", why, self._root)
            return
        description, findings = read_object(entry)
        if entry.problem is not None:
            yield found(*entry.problem, entry.path)
        elif bad := [finding for finding in findings if finding.severity is Severity.ERROR]:
            yield found("BIDS02", bad[0].message, entry.path)
        else:
            yield from check_description(entry.path, description)

    def _names(self, raw: Sequence[Entry]) -> Iterator[Finding]:
        odd = [
            entry.relative
            for entry in raw
            # The names of hidden folders and files belong to other programs: .datalad/, .gitattributes.
            if not any(step.startswith(".") for step in entry.relative.split("/"))
            and not self._ignored.matches(entry.relative)
            and not self._schema.allows(entry.relative)
        ]
        if odd:
            why = (
                f"{counted(len(odd), 'path')} not valid in BIDS {self._schema.version}: {listed(odd)};"
                " uploaded unchanged"
            )
            yield found("BIDS04", why, self._root)
        if ignored := [entry.relative for entry in raw if self._ignored.matches(entry.relative)]:
            why = (
                f"{counted(len(ignored), 'file')} listed in .bidsignore, uploaded to resource {EXTRA}:"
                f" {listed(ignored)}"
            )
            yield found("BIDS13", why, self._root)
        yield from case_duplicates(self._files, self._root)

    def _empty_files(self, raw: Sequence[Entry]) -> Iterator[Finding]:
        """Recordings and other data without content; images, tables and sidecars have checks of their own."""
        for entry in raw:
            *folders, name = ["", *entry.relative.split("/")]
            is_data = entry.relative.startswith("sub-") and folders[-1] in self._schema.datatypes
            checked = name.startswith(".") or name.endswith(_CHECKED_ELSEWHERE) or entry.problem is not None
            if is_data and not entry.size_bytes and not checked:
                yield found("BIDS27", "the file is empty (0 bytes); copy it again from its source", entry.path)

    def _headers(self, raw: Sequence[Entry]) -> Iterator[Finding]:
        """Headers of tables that are uploaded only; `read_cohort` checks those whose values are used."""
        for entry in raw:
            ignored = self._ignored.matches(entry.relative) or not self._schema.allows(entry.relative)
            read = entry.relative == "participants.tsv" or entry.name.endswith(_WITHOUT_HEADER_CHECK)
            if entry.name.endswith(".tsv") and not (ignored or read) and entry.problem is None:
                yield from check_table_header(entry.path)

    def _not_uploaded(self, excluded: Sequence[Entry]) -> Iterator[Finding]:
        if excluded and not self._choices.sourcedata:
            why = (
                f"sourcedata ({counted(len(excluded), 'file')}) is not uploaded, as it may identify"
                " people; use --sourcedata to upload it"
            )
            yield found("BIDS14", why, self._root / "sourcedata")
        if self._tree.excluded:
            why = f"not uploaded, files of git or the desktop: {listed(self._tree.excluded)}"
            yield replace(found("BIDS14", why, self._root), severity=Severity.INFO)
        if self._tree.empty:
            yield found("BIDS14", f"not uploaded, empty folders: {listed(self._tree.empty)}", self._root)
        for folder, why in self._tree.unreadable:
            yield found("BIDS17", f"the folder cannot be listed ({why}); check its permissions", folder)

    # Sessions

    def _visits(
        self,
        parts: Sequence[Part],
        sessions: Mapping[str, set[str | None]],
        inheritance: Inheritance,
        cohort: Cohort,
        workers: int,
    ) -> tuple[list[Visit], list[tuple[Part, list[Entry]]]]:
        """Sessions with their scans read, and the files that sessions of a subject share."""
        visits: list[Visit] = []
        of_subjects: list[tuple[Part, list[Entry]]] = []
        for part in parts:
            if part.session not in sessions[part.subject]:
                of_subjects.append((part, part.entries))
                continue
            units, others = units_of(part, self._schema, self._ignored)
            left = companions_of(units, others, part, self._ignored)
            above = [entry for entry in left if "/" not in part.inside(entry)]
            if part.session is None and len(sessions[part.subject]) > 1 and above:
                of_subjects.append((part, above))
                left = [entry for entry in left if "/" in part.inside(entry)]
            visits.append(Visit(part, _in_time(units, cohort), shared=left))
        with ThreadPoolExecutor(workers) as pool:
            for visit in visits:
                visit.reports = list(
                    pool.map(
                        lambda unit: read_scan(unit, inheritance, allow_incomplete=self._choices.allow_incomplete),
                        visit.units,
                    )
                )
        for visit in visits:
            self._complete(visit, cohort)
        return visits, of_subjects

    def _complete(self, visit: Visit, cohort: Cohort) -> None:
        visit.type = session_type_of({unit.datatype for unit in visit.units})
        attributes = session_facts_of(visit.reports, mr=visit.type in {"MR", "PETMR"})
        attributes |= cohort.sessions.get((visit.part.subject, visit.part.session), {})
        xsi_type = f"xnat:{'otherDicom' if visit.type == 'OTHER' else visit.type.lower()}SessionData"
        visit.attributes = fitting_fields(xsi_type, attributes)
        files = frozenset(self._files)
        for unit, report in zip(visit.units, visit.reports, strict=True):
            if (times := cohort.times.get(unit.data[0].relative)) is not None:
                values = {"start_date": times[0], "startTime": times[1]}
                report.attributes |= fitting_fields(scan_type_of(unit), values)
            values = cohort.scans.get(unit.data[0].relative, {})
            report.attributes |= fitting_fields(scan_type_of(unit), values)
            subject = f"sub-{visit.part.subject}"
            report.findings += broken_intended_for(report.sidecar, subject, files, unit.data[0].path)


def _sessions(parts: Iterable[Part]) -> dict[str, set[str | None]]:
    """Sessions of each subject; files beside its session folders make none."""
    found_sessions: dict[str, set[str | None]] = {}
    for part in parts:
        own = found_sessions.setdefault(part.subject, set())
        if part.session is not None or any("/" in part.inside(entry) for entry in part.entries):
            own.add(part.session)
    return found_sessions


def _in_time(units: list[Unit], cohort: Cohort) -> list[Unit]:
    """Scans in the order of their times, when all have one."""
    times = {unit.key: cohort.times.get(unit.data[0].relative) for unit in units}
    if not all(times.values()):
        return units
    return sorted(units, key=lambda unit: times[unit.key] or ("", ""))
