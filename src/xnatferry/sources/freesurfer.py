"""FreeSurfer subjects: folders of recon-all or FastSurfer, a SUBJECTS_DIR of them, or archives of one."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from xnatferry.checks.file_type import GZIP_WINDOW, UNPACK_ERROR, decompressobj, read_stream
from xnatferry.checks.finding_catalog import found, listed
from xnatferry.checks.freesurfer import Run, RunFile, check_run, is_text_needed, names_inside
from xnatferry.checks.freesurfer_deep import check_deep
from xnatferry.checks.surfaces import FormatError, mgh_bytes
from xnatferry.sources.archives import (
    STATISTICS,
    ArchiveProblem,
    Contents,
    archive_errors,
    is_archive_name,
    members,
    read_contents,
    stem_of,
    target_within,
)
from xnatferry.sources.folder_walk import is_desktop_file, natural_key
from xnatferry.sources.freesurfer_folder import SubjectFile, is_excluded, read_subject_folder
from xnatferry.sources.model import Claims, Discovery, Finding, Kind, LocalFile, Severity, Source
from xnatferry.sources.run_identity import claims_of_run, contradiction, subject_of_time_point
from xnatferry.sources.template import AmbiguousPathError
from xnatferry.wording import counted
from xnatferry.xnat.model import Level
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from xnatferry.sources.template import PathTemplate

#: Folders of which a subject has at least two.
_MARKERS: Final = frozenset({"mri", "surf", "stats", "label", "scripts"})
#: Atlases and examples that recon-all or FreeSurfer put beside subjects.
_NOT_A_SUBJECT: Final = re.compile(r"fsaverage\w*|[lr]h\.EC_average|cvs_avg35\w*|bert|V1_average")
#: How deep below the root subjects are looked for.
_DEPTH: Final = 5
_TEXT_LIMIT_BYTES: Final = 16 << 20
_HEAD_BYTES: Final = 4096
_PACKED_HEAD_BYTES: Final = 16 << 10
#: FreeSurfer writes tags (command lines, colour tables) behind the voxels.
_MOST_TAG_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class _Found:
    """A subject folder or archive, with its path below the root."""

    path: Path
    relative: str


@dataclass(frozen=True, slots=True)
class _Reading:
    """How subjects are read."""

    templates: tuple[PathTemplate, ...] = ()
    allow_incomplete: bool = False
    deep: bool = False


def is_subject_folder(folder: Path) -> bool:
    """Whether a folder looks like a subject: it has two of mri, surf, stats, label, scripts, or statistics alone."""
    try:
        with os.scandir(folder) as listing:
            held = {child.name for child in listing if child.name in _MARKERS and child.is_dir()}
        alone = (one for name in held & STATISTICS.keys() for one in (folder / name).glob(STATISTICS[name]))
        return len(held) >= 2 or any(alone)
    except OSError:
        return False


def is_result_path(path: Path) -> bool:
    """Whether a path is a subject folder, or is named as an archive."""
    return is_subject_folder(path) if path.is_dir() else is_archive_name(path.name)


def find_subjects(root: Path) -> tuple[list[_Found], list[Finding]]:
    """Subject folders and archives at and below *root*, in natural order; with findings on skipped folders."""
    if not root.is_dir() or is_subject_folder(root):
        return [_Found(root, root.name)], []
    subjects: list[_Found] = []
    findings: list[Finding] = []
    waiting = [(root, "", 0)]
    while waiting:
        folder, prefix, depth = waiting.pop()
        inner: list[tuple[Path, str, int]] = []
        try:
            children = sorted(folder.iterdir(), key=lambda child: natural_key(child.name))
        except OSError as error:
            findings.append(found("FS16", f"the folder cannot be listed ({error.strerror})", folder))
            continue
        for child in children:
            relative = prefix + child.name
            if child.name.startswith(".") or is_desktop_file(child.name):
                continue
            if child.is_dir() and (why := _skip_reason(child)) is not None:
                findings.append(found("FS16", why, child))
            elif is_result_path(child):
                subjects.append(_Found(child, relative))
            elif child.is_dir() and not child.is_symlink() and depth < _DEPTH:
                inner.append((child, f"{relative}/", depth + 1))
        waiting.extend(reversed(inner))
    return subjects, findings


def _skip_reason(folder: Path) -> str | None:
    if _NOT_A_SUBJECT.fullmatch(folder.name):
        return "this is a FreeSurfer atlas or example, not a subject; it is not uploaded"
    if folder.is_symlink() and is_subject_folder(folder):
        return "this is a link to a subject and is not followed; push its target"
    return None


def discover_freesurfer(
    path: Path,
    templates: Sequence[PathTemplate] = (),
    *,
    allow_incomplete: bool = False,
    deep: bool = False,
    workers: int | None = None,
) -> Discovery:
    """Read a SUBJECTS_DIR, one subject folder, or an archive of one or several subjects.

    Args:
        path: Folder or archive. Subjects are looked for some folders deep.
        templates: Templates for the path of a subject's folder, e.g. ``{subject}_{session}``.
        allow_incomplete: Whether missing files and unfinished runs (FS01, FS02) are warnings.
        deep: Whether volumes and surfaces are read to their end.
        workers: Threads that read; as many as there are processors when None.
    """
    subjects, findings = find_subjects(path)
    named_alone = len(subjects) == 1 and subjects[0].path == path
    how = _Reading(tuple(templates), allow_incomplete=allow_incomplete, deep=deep)
    sources: list[Source] = []
    reading = thread_map(lambda one: _read(one, how), subjects, workers=workers)
    for subject, (read, more) in zip(subjects, reading, strict=True):
        findings += more
        if not read and not more:
            finding_id = "FS18" if named_alone else "FS17"
            why = "the archive contains no FreeSurfer subject; it is not uploaded"
            findings.append(found(finding_id, why, subject.path))
        for source in read:
            claims, why_not = _by_template(source, how.templates)
            findings += why_not
            sources += [] if why_not else [replace(source, claims=claims)]
    if not sources and not any(finding.severity is Severity.ERROR for finding in findings):
        why = "no FreeSurfer subject found (a folder with mri, surf, stats ...); check the path, or use --as"
        findings.append(found("NII22", why, path))
    return Discovery(path, Kind.FREESURFER, tuple(sources), tuple(findings))


def _by_template(source: Source, templates: Sequence[PathTemplate]) -> tuple[Claims, list[Finding]]:
    if not templates or source.level is Level.SUBJECT:  # a base's subject is that of its time points
        return source.claims, []
    relative = source.relative.partition(".long.")[0]
    for template in templates:
        for name in (relative, PurePosixPath(relative).name):
            try:
                fields = template.read(name)
            except AmbiguousPathError as error:
                return source.claims, [found("NII21", str(error), source.path)]
            if fields is not None:
                return replace(source.claims, **{"session": None, **fields}), []
    why = f"the path does not match {' or '.join(template.text for template in templates)}; add a --template for it"
    return source.claims, [found("NII20", why, source.path)]


def freesurfer_source(path: Path, relative: str, *, allow_incomplete: bool = False) -> Source:
    """Read and check one subject folder, or an archive of one subject."""
    read, _ = _read(_Found(path, relative), _Reading(allow_incomplete=allow_incomplete))
    if len(read) == 1:
        return read[0]
    why = "the archive contains no FreeSurfer subject"
    if read:
        names = ", ".join(PurePosixPath(source.relative).name for source in read[:3])
        why = f"the archive contains {len(read)} subjects ({names} ...), a table row needs one; push it without a table"
    return Source(Kind.FREESURFER, path, relative, (), archived=True, findings=(found("FS18", why, path),))


def _read(subject: _Found, how: _Reading) -> tuple[list[Source], list[Finding]]:
    """The sources of one folder or archive, and findings that belong to none of them."""
    path, relative = subject.path, subject.relative
    try:
        if path.is_dir():
            source, run = _from_folder(path, relative, how)
            return [_checked(source, run, how)], []
        parts, findings = _from_archive(path, relative)
        return [_checked(source, run, how) for source, run in parts], findings
    except ArchiveProblem as problem:
        why = str(problem)
    except OSError as error:
        why = f"the subject cannot be read ({error.strerror or error}); check its permissions and the disk"
    archived = not path.is_dir()
    return [Source(Kind.FREESURFER, path, relative, (), archived=archived, findings=(found("FS18", why, path),))], []


def _checked(source: Source, run: Run, how: _Reading) -> Source:
    checked = check_run(run)
    if how.deep and not source.refused:
        checked += check_deep(run)
    if how.allow_incomplete:
        checked = [_allowed(f) if f.id in {"FS01", "FS02"} else f for f in checked]
    claims, level, kin = _place(run, source.relative, how.templates)
    findings = sorted((*checked, *source.findings, *kin), key=lambda finding: finding.severity is not Severity.ERROR)
    return replace(source, claims=claims, version=run.version, findings=tuple(findings), level=level)


def _allowed(finding: Finding) -> Finding:
    """A finding that the user accepts: the problem, without the advice at its end."""
    what, _, advice = finding.message.rpartition("; ")
    why = f"{what or advice}; uploaded because of --allow-incomplete"
    return replace(finding, severity=Severity.WARNING, message=why)


def _place(run: Run, relative: str, templates: Sequence[PathTemplate]) -> tuple[Claims, Level | None, list[Finding]]:
    """Subject, session and resource of a run; a longitudinal run goes to its time point, its base to the subject."""
    major = "" if run.version is None else run.version.partition(".")[0]
    resource = "FASTSURFER" if run.fastsurfer else f"FREESURFER{major}"
    resource += "_HIRES" if run.high_resolution else ""
    name, _, base = run.name.partition(".long.")
    file = run.time_points
    inside = [one.partition(".long.")[0] for one in names_inside(run)]
    claims = claims_of_run(run.where, relative, name, inside)
    if file is None:
        why = "" if templates else contradiction(relative, name, inside)
        odd = [found("FS27", f"{why}; rename one, or use --subject, --template or a table", run.where)] if why else []
        return replace(claims, resource=f"{resource}_LONG" if base else resource), None, odd
    resource += "_BASE"
    people = {subject_of_time_point(point, templates) for point in run.text(file).split()}
    if len(people) == 1:
        (subject,) = people
        why = f"base of a longitudinal series; it is uploaded to subject {subject}, resource {resource}"
        note = replace(found("FS20", why, run.where, file=file), severity=Severity.INFO)
        return Claims(subject=subject, resource=resource), Level.SUBJECT, [note]
    shown = ", ".join(sorted(people)) or "no subject"
    why = (
        f"base of a longitudinal series, but its time points ({file}) are of {shown}, not of one subject;"
        " use --template to show where the subject is in their names"
    )
    seen = f"time points of {shown}"
    return (
        replace(claims, resource=resource),
        Level.SUBJECT,
        [found("FS20", why, run.where, file=file, seen=seen, expected="one subject")],
    )


def _from_folder(folder: Path, relative: str, how: _Reading) -> tuple[Source, Run]:
    # "." and ".." have no name of their own, and the name becomes the top folder on the server.
    name = folder.name if folder.name not in {"", ".."} else folder.resolve().name
    files, findings = read_subject_folder(folder)
    kept: list[LocalFile] = []
    read: dict[str, RunFile] = {}
    for file in files:
        digest = None
        try:
            read[file.relative], digest = _read_file(file, deep=how.deep)
        except OSError as error:
            why = f"{file.relative} cannot be read ({error.strerror}); check its permissions and the disk"
            findings.append(found("FS04", why, folder, file=file.relative, seen=error.strerror or ""))
        kept.append(LocalFile(file.path, f"{name}/{file.relative}", file.size_bytes, file.mtime_ns, digest=digest))
    source = Source(Kind.FREESURFER, folder, relative, tuple(kept), findings=tuple(findings))
    places = {file.relative: file.path for file in files}
    return source, Run(name, folder, read, opener=lambda inner: places[inner].open("rb"))


def _read_file(file: SubjectFile, *, deep: bool) -> tuple[RunFile, str | None]:
    """Read as much of a file as the checks need: texts whole, others their beginning; *deep* reads volumes whole."""
    packed = file.relative.endswith((".mgz", ".gz"))
    text = is_text_needed(file.relative) and file.size_bytes <= _TEXT_LIMIT_BYTES
    if not packed and not text and not file.relative.startswith(("surf/", "label/")):
        return RunFile(file.size_bytes, mtime_ns=file.mtime_ns), None
    with file.path.open("rb") as stream:
        if file.relative.endswith(".mgz") and not deep and (quick := _read_ends(stream, file)) is not None:
            return quick, None
        if packed or text:
            return _read_whole(stream, file.relative, file.mtime_ns)
        return RunFile(file.size_bytes, head=stream.read(_HEAD_BYTES), mtime_ns=file.mtime_ns), None


def _read_ends(stream: IO[bytes], file: SubjectFile) -> RunFile | None:
    """Header of a volume, and its size as the end of the gzip stream tells it (RFC 1952, ISIZE).

    None when they do not fit each other: then only reading all of it says why. The bytes that end a cut stream are
    taken for a size that fits once in four thousand times.
    """
    unpacker = decompressobj(GZIP_WINDOW)
    try:
        head = bytes(unpacker.decompress(stream.read(_PACKED_HEAD_BYTES), _HEAD_BYTES))
        stream.seek(-4, os.SEEK_END)
        size = int.from_bytes(stream.read(4), "little")
        beyond = (size - mgh_bytes(head)) % (1 << 32)
        unpacked = mgh_bytes(head) + beyond
    except (OSError, UNPACK_ERROR, FormatError):
        stream.seek(0)
        return None
    if beyond > _MOST_TAG_BYTES:
        stream.seek(0)
        return None
    return RunFile(file.size_bytes, head=head, unpacked_bytes=unpacked, mtime_ns=file.mtime_ns)


def _read_whole(stream: IO[bytes], relative: str, mtime_ns: int = 0) -> tuple[RunFile, str]:
    text: list[bytes] = []
    needs_text = is_text_needed(relative)
    seen = read_stream(stream, seen=text.append if needs_text else None)
    damage = None
    if relative.endswith((".mgz", ".gz")) and seen.size_bytes:
        damage = seen.damage.value if seen.damage is not None else None if seen.packed else "the file is not gzip"
    file = RunFile(
        seen.size_bytes,
        head=seen.head[:_HEAD_BYTES],
        unpacked_bytes=seen.unpacked_bytes,
        text=b"".join(text)[:_TEXT_LIMIT_BYTES] if needs_text else None,
        damage=damage,
        mtime_ns=mtime_ns,
    )
    return file, seen.digest


def _from_archive(path: Path, relative: str) -> tuple[list[tuple[Source, Run]], list[Finding]]:
    """Every subject of an archive, read in one pass."""
    held = read_contents(path, _MARKERS)
    findings = [
        found("FS16", f"{one.prefix} is a FreeSurfer atlas or example, not a subject; it is not uploaded", path)
        for one in held
        if _NOT_A_SUBJECT.fullmatch(one.top)
    ]
    subjects = [one for one in held if not _NOT_A_SUBJECT.fullmatch(one.top)]
    places = {member.name: (one.prefix, inner) for one in subjects for inner, member in one.files.items()}
    read: dict[str, dict[str, RunFile]] = {one.prefix: {} for one in subjects}
    digests: dict[str, str] = {}
    with archive_errors():
        for member, stream in members(path):
            if stream is not None and (place := places.get(member.name)) is not None:
                prefix, inner = place
                read[prefix][inner], digests[member.name] = _read_whole(stream, inner)
    alone = len(held) == 1
    places_of = {one.prefix: relative if alone else f"{relative}/{one.prefix.rstrip('/')}" for one in subjects}
    found_in = [_of_contents(path, places_of[one.prefix], one, read[one.prefix], digests) for one in subjects]
    return found_in, findings


def _of_contents(
    path: Path, relative: str, contents: Contents, read: dict[str, RunFile], digests: Mapping[str, str]
) -> tuple[Source, Run]:
    status = path.stat()
    name = contents.top or stem_of(path.name)
    findings: list[Finding] = []
    linked = dict(contents.files)
    if not contents.ready:
        findings.append(found("FS22", f"the archive is repacked for the upload: {_not_ready(contents)}", path))
        for inner, link in contents.links.items():
            target = target_within(inner, link.target or "")
            if target in contents.files:
                linked[inner], read[inner] = contents.files[target], read[target]
            else:
                why = f"{inner} is a link to {link.target}, outside the subject; it is not uploaded"
                findings.append(found("FS14", why, path, file=inner, seen=link.target or ""))
    kept = {inner: member for inner, member in linked.items() if contents.ready or not is_excluded(inner)}
    files = tuple(
        LocalFile(path, f"{name}/{inner}", member.size_bytes, status.st_mtime_ns, digests[member.name], member.name)
        for inner, member in sorted(kept.items())
    )
    source = Source(Kind.FREESURFER, path, relative, files, archived=contents.ready, findings=tuple(findings))
    return source, Run(name, path, read)


def _not_ready(contents: Contents) -> str:
    reasons = []
    if contents.links:
        reasons.append(f"it contains {counted(len(contents.links), 'link')} ({listed(sorted(contents.links), 2)})")
    if contents.prefix.count("/") != 1:
        reasons.append("the subject is not the top folder")
    if contents.others_outside:
        reasons.append(f"it contains other files ({listed(contents.others_outside, 1)})")
    return ", ".join(reasons)
