"""The tables of a dataset against its folders: fields of subjects and sessions, times of scans, and problems."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.sources.bids.inheritance import read_object
from xnatferry.sources.bids.participants import BIRTH, custom_name, person_of, session_times, visit_of
from xnatferry.sources.bids.tables import Table, read_tsv
from xnatferry.sources.model import Severity
from xnatferry.wording import counted
from xnatferry.xnat.custom_fields import custom_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from xnatferry.sources.bids.scan_grouping import Part
    from xnatferry.sources.folder_walk import Entry
    from xnatferry.sources.model import Finding


@dataclass(slots=True)
class Cohort:
    """Content of the tables.

    Attributes:
        subjects: Fields by subject, by full path.
        sessions: Fields by subject and session.
        times: Date and time by path of the data file.
        scans: Other columns about a data file, as custom fields of its scan, by its path.
        findings: Problems of the tables.
    """

    subjects: dict[str, dict[str, str]] = field(default_factory=dict)
    sessions: dict[tuple[str, str | None], dict[str, str]] = field(default_factory=dict)
    times: dict[str, tuple[str, str]] = field(default_factory=dict)
    scans: dict[str, dict[str, str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


def read_cohort(
    root: Path,
    entries: Iterable[Entry],
    parts: Iterable[Part],
    sessions: Mapping[str, set[str | None]],
    *,
    custom: bool,
) -> Cohort:
    """Read participants, sessions and scans tables.

    Args:
        root: The dataset.
        entries: Every file of the dataset.
        parts: Those of subjects that are uploaded.
        sessions: Sessions of each subject that has a folder, uploaded or not.
        custom: Whether columns without a field become custom fields.
    """
    parts = list(parts)
    files = {entry.relative: entry for entry in entries}
    cohort = Cohort()
    wanted = {part.subject for part in parts}
    if (table := files.get("participants.tsv")) is not None and table.problem is None:
        about = read_object(files["participants.json"])[0] if "participants.json" in files else {}
        _participants(cohort, table, about, sessions, wanted, custom=custom)
    elif "participants.tsv" not in files and sessions:
        why = "participants.tsv is missing, so subjects get no fields such as age and sex"
        cohort.findings.append(replace(found("BIDS10", why, root), severity=Severity.INFO))  # BIDS recommends it
    unmapped: Counter[str] = Counter()
    for part in parts:
        if part.session is None and (own := files.get(f"sub-{part.subject}/sub-{part.subject}_sessions.tsv")):
            _sessions(cohort, own, part.subject, unmapped, custom=custom)
        name = part.folder.replace("/", "_") + "_scans.tsv"
        if (own := files.get(f"{part.folder}/{name}")) is not None:
            _scans(cohort, own, part, files, unmapped, custom=custom)
    for path in sorted(path for path in files if fnmatchcase(path, "phenotype/*.tsv") and path.count("/") == 1):
        _phenotype(cohort, files[path], wanted, sessions, custom=custom)
    if unmapped and not custom:
        names = sorted(unmapped)
        why = (
            f"columns of sessions and scans tables without an XNAT field: {listed(names)}; use"
            " --custom-fields to store them"
        )
        cohort.findings.append(found("BIDS11", why, root))
    return cohort


def _participants(
    cohort: Cohort,
    entry: Entry,
    about: Mapping[str, Any],
    sessions: Mapping[str, set[str | None]],
    wanted: set[str],
    *,
    custom: bool,
) -> None:
    table = read_tsv(entry.path, "participant_id")
    cohort.findings += table.findings
    unmapped: Counter[str] = Counter()
    impossible: list[str] = []
    capped = 0
    rows = {label.removeprefix("sub-"): row for label, row in table.by("participant_id")}
    for subject, row in rows.items():
        if subject not in wanted:
            continue
        person = person_of(row, about, custom=custom)
        cohort.subjects[subject] = person.subject
        unmapped.update(person.unmapped)
        impossible += [f"{value} (sub-{subject})" for value in person.impossible]
        capped += person.capped
        known = sessions.get(subject, set())
        for session in known:
            fields = dict(person.session)
            if person.age_years is not None and len(known) == 1:
                fields["age"] = f"{person.age_years:g}"
            cohort.sessions.setdefault((subject, session), {}).update(fields)
    cohort.findings += _against_folders(entry.path, table, set(rows), set(sessions))
    if unmapped and not custom:
        why = f"columns or values without an XNAT field: {listed(sorted(unmapped))}; use --custom-fields to store them"
        cohort.findings.append(found("BIDS11", why, entry.path))
    _find_birth_dates(cohort, entry, table)
    _tell_impossible(cohort, entry, impossible)
    if capped:
        why = (
            f"{counted(capped, 'age')} above 89 can identify people; the fields get 89, the table is uploaded unchanged"
        )
        cohort.findings.append(found("BIDS16", why, entry.path))


def _find_birth_dates(cohort: Cohort, entry: Entry, table: Table) -> None:
    if birth := [column for column in table.columns if column.lower() in BIRTH]:
        why = f"birth dates in column {', '.join(birth)}; no field gets them, the table is uploaded unchanged"
        cohort.findings.append(found("BIDS16", why, entry.path))


def _against_folders(path: Path, table: Table, rows: set[str], folders: set[str]) -> list[Finding]:
    if not table.columns:
        return []
    findings = []
    if without := sorted(rows - folders):
        names = listed([f"sub-{name}" for name in without])
        findings.append(found("BIDS10", f"rows without a folder: {names}; no subject is created for them", path))
    if lost := sorted(folders - rows):
        names = listed([f"sub-{name}" for name in lost])
        findings.append(found("BIDS10", f"folders without a row: {names}; their subjects get no fields", path))
    return findings


def _sessions(cohort: Cohort, entry: Entry, subject: str, unmapped: Counter[str], *, custom: bool) -> None:
    if entry.problem is not None:
        return
    table = read_tsv(entry.path, "session_id")
    cohort.findings += table.findings
    impossible: list[str] = []
    for label, row in table.by("session_id"):
        fields, left, wrong = visit_of(row, custom=custom)
        unmapped.update(left)
        impossible += [f"{value} ({label})" for value in wrong]
        cohort.sessions.setdefault((subject, label.removeprefix("ses-")), {}).update(fields)
    _tell_impossible(cohort, entry, impossible)


def _tell_impossible(cohort: Cohort, entry: Entry, values: Sequence[str]) -> None:
    if values:
        why = f"impossible values: {listed(values)}; no field gets them, the table is uploaded unchanged"
        cohort.findings.append(found("BIDS09", why, entry.path))


def _phenotype(
    cohort: Cohort, entry: Entry, wanted: set[str], sessions: Mapping[str, set[str | None]], *, custom: bool
) -> None:
    """Measurements of one tool: fields ``bids_<tool>_<column>``, of the session where ``session_id`` names one."""
    if entry.problem is not None:
        return
    table = read_tsv(entry.path, "participant_id", "session_id")
    cohort.findings += table.findings
    tool = entry.name.removesuffix(".tsv")
    _find_birth_dates(cohort, entry, table)
    columns = [c for c in table.columns if c not in {"participant_id", "session_id"} and c.lower() not in BIRTH]
    if columns and not custom:
        why = f"columns without an XNAT field: {listed(columns)}; use --custom-fields to store them"
        cohort.findings.append(found("BIDS11", why, entry.path))
    for label, row in table.by("participant_id") if custom else ():
        subject, visit = label.removeprefix("sub-"), row.get("session_id")
        if subject not in wanted:
            continue
        values = {custom_name(f"{tool}_{column}"): row[column][:255] for column in columns if column in row}
        if visit is None:
            prefix, fields = "xnat:subjectData/", cohort.subjects.setdefault(subject, {})
        elif (session := visit.removeprefix("ses-")) in sessions.get(subject, ()):
            prefix, fields = "", cohort.sessions.setdefault((subject, session), {})
        else:
            continue
        fields |= {prefix + custom_path(name): value for name, value in values.items()}


def _scans(
    cohort: Cohort,
    entry: Entry,
    part: Part,
    files: Mapping[str, Entry],
    unmapped: Counter[str],
    *,
    custom: bool,
) -> None:
    if entry.problem is not None:
        return
    table = read_tsv(entry.path, "filename")
    cohort.findings += table.findings
    lost: list[str] = []
    first: tuple[str, str] | None = None
    for name, row in table.by("filename"):
        place = f"{part.folder}/{name}"
        if place not in files and not any(file.startswith(f"{place}/") for file in files):
            lost.append(name)
        if (times := session_times(row.get("acq_time"))) is not None:
            cohort.times[place] = times
            first = min(first or times, times)
        rest = {column: cell for column, cell in row.items() if column not in {"filename", "acq_time"}}
        unmapped.update(rest.keys())
        if custom:
            cohort.scans[place] = {custom_path(custom_name(column)): cell[:255] for column, cell in rest.items()}
    if lost:
        cohort.findings.append(
            found("BIDS15", f"the table names missing files: {listed(lost)}; correct it", entry.path)
        )
    if first is not None:
        fields = cohort.sessions.setdefault((part.subject, part.session), {})
        if "date" not in fields:
            fields["date"] = first[0]
            if first[1]:
                fields["time"] = first[1]
