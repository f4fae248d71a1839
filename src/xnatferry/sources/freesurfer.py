"""FreeSurfer subjects: folders of recon-all or FastSurfer, a SUBJECTS_DIR of them, or archives of one."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Final

from xnatferry.checks.catalogue import found
from xnatferry.checks.content import read_stream
from xnatferry.checks.freesurfer import Run, RunFile, check_run, is_text_needed
from xnatferry.sources.base import Claims, Discovery, Finding, Kind, LocalFile, Severity, Source
from xnatferry.sources.folder import natural_key
from xnatferry.sources.layouts import claims_of_folder
from xnatferry.sources.packed import ArchiveProblem, Contents, damage_told, is_archive_name, members, read_contents
from xnatferry.sources.subject_folder import SubjectFile, left_out, read_subject_folder
from xnatferry.sources.template import AmbiguousPathError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xnatferry.sources.template import PathTemplate

__all__ = ["discover_freesurfer", "find_subjects", "freesurfer_source", "is_result_path", "is_subject_folder"]

#: Folders of which a subject has at least two.
_MARKERS: Final = frozenset({"mri", "surf", "stats", "label", "scripts"})
#: Atlases and examples that recon-all or FreeSurfer put beside subjects.
_NO_SUBJECT: Final = re.compile(r"fsaverage\w*|[lr]h\.EC_average|cvs_avg35\w*|bert|V1_average")
#: How deep below the root subjects are looked for.
_DEPTH: Final = 5
_TEXT_LIMIT_BYTES: Final = 16 << 20
_HEAD_BYTES: Final = 4096


@dataclass(frozen=True, slots=True)
class _Found:
    """A subject folder or archive, with its path below the root."""

    path: Path
    relative: str


def is_subject_folder(folder: Path) -> bool:
    """Whether a folder looks like a FreeSurfer subject: two or more of mri, surf, stats, label and scripts in it."""
    try:
        with os.scandir(folder) as listing:
            return sum(child.name in _MARKERS and child.is_dir() for child in listing) >= 2
    except OSError:
        return False


def is_result_path(path: Path) -> bool:
    """Whether a path is a subject folder, or is named as an archive."""
    return is_subject_folder(path) if path.is_dir() else is_archive_name(path.name)


def find_subjects(root: Path) -> tuple[list[_Found], list[Finding]]:
    """Subject folders and archives at and below *root*, in natural order; what is passed by is said."""
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
            if child.name.startswith("."):
                continue
            if child.is_dir() and (why := _passed_by(child)) is not None:
                findings.append(found("FS16", why, child))
            elif is_result_path(child):
                subjects.append(_Found(child, relative))
            elif child.is_dir() and not child.is_symlink() and depth < _DEPTH:
                inner.append((child, f"{relative}/", depth + 1))
        waiting.extend(reversed(inner))
    return subjects, findings


def _passed_by(folder: Path) -> str | None:
    if _NO_SUBJECT.fullmatch(folder.name):
        return "an atlas or example of FreeSurfer, not a subject; it is not carried"
    if folder.is_symlink() and is_subject_folder(folder):
        return "a link to a subject; links between subjects are not followed, push what it points to"
    return None


def discover_freesurfer(
    path: Path,
    templates: Sequence[PathTemplate] = (),
    *,
    allow_incomplete: bool = False,
    workers: int | None = None,
) -> Discovery:
    """Read a SUBJECTS_DIR, one subject folder, or an archive of one subject.

    Args:
        path: Folder or archive. Subjects are looked for some folders deep.
        templates: Templates for the path of a subject's folder, e.g. ``{subject}_{session}``.
        allow_incomplete: Whether missing files and unfinished runs (FS01, FS02) are warnings.
        workers: Threads that read; as many as there are processors when None.
    """
    subjects, findings = find_subjects(path)
    named_alone = len(subjects) == 1 and subjects[0].path == path
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        read = pool.map(
            lambda subject: freesurfer_source(subject.path, subject.relative, allow_incomplete=allow_incomplete),
            subjects,
        )
        sources = []
        for source in read:
            if source.archived and not source.files and not source.refused:
                finding_id = "FS18" if named_alone else "FS17"
                findings.append(
                    found(finding_id, "an archive without a FreeSurfer subject; it stays behind", source.path)
                )
                continue
            claims, why = _by_template(source, templates)
            findings += why
            if not why:
                sources.append(replace(source, claims=claims))
    if not sources and not any(finding.severity is Severity.ERROR for finding in findings):
        findings.append(found("NII22", "no FreeSurfer subject in it (a folder with mri, surf, stats ...)", path))
    return Discovery(path, Kind.FREESURFER, tuple(sources), tuple(findings))


def _by_template(source: Source, templates: Sequence[PathTemplate]) -> tuple[Claims, list[Finding]]:
    if not templates:
        return source.claims, []
    for template in templates:
        for name in (source.relative, PurePosixPath(source.relative).name):
            try:
                fields = template.read(name)
            except AmbiguousPathError as error:
                return source.claims, [found("NII21", str(error), source.path)]
            if fields is not None:
                return replace(source.claims, **{"session": None, **fields}), []
    why = f"it does not match {' and '.join(template.text for template in templates)}"
    return source.claims, [found("NII20", why, source.path)]


def freesurfer_source(path: Path, relative: str, *, allow_incomplete: bool = False) -> Source:
    """Read and check one subject folder, or one archive of a subject."""
    try:
        source, run = _from_folder(path, relative) if path.is_dir() else _from_archive(path, relative)
    except ArchiveProblem as problem:
        return Source(Kind.FREESURFER, path, relative, (), archived=True, findings=(found("FS18", str(problem), path),))
    except OSError as error:
        why = f"it cannot be read ({error.strerror or error}); check its permissions and its disk"
        return Source(Kind.FREESURFER, path, relative, (), findings=(found("FS18", why, path),))
    if run is None:
        return source
    checked = check_run(run)
    if allow_incomplete:
        checked = [_allowed(finding) if finding.id in {"FS01", "FS02"} else finding for finding in checked]
    claims, kin = _place(run)
    findings = sorted((*checked, *source.findings, *kin), key=lambda finding: finding.severity is not Severity.ERROR)
    return replace(source, claims=claims, version=run.version, findings=tuple(findings))


def _allowed(finding: Finding) -> Finding:
    """A finding that the user carries knowingly: what is wrong, without the advice at its end."""
    what, _, advice = finding.message.rpartition("; ")
    return replace(finding, severity=Severity.WARNING, message=f"{what or advice}; carried as --allow-incomplete says")


def _place(run: Run) -> tuple[Claims, list[Finding]]:
    """Subject, session and resource of a run; a longitudinal run goes to its time point, its base to no session."""
    major = "" if run.version is None else run.version.partition(".")[0]
    resource = "FASTSURFER" if run.fastsurfer else f"FREESURFER{major}"
    resource += "_HIRES" if run.high_resolution else ""
    name, _, base = run.name.partition(".long.")
    if base:
        return replace(claims_of_folder(name), resource=f"{resource}_LONG"), []
    claims = replace(claims_of_folder(run.name), resource=resource)
    if "base-tps" in run.files:
        why = "it is the base of a longitudinal series (base-tps), which belongs to a subject and to no session"
        return claims, [found("FS20", why, run.where)]
    return claims, []


def _from_folder(folder: Path, relative: str) -> tuple[Source, Run]:
    # "." and ".." have no name of their own, and the name becomes the top folder on the server.
    name = folder.name if folder.name not in {"", ".."} else folder.resolve().name
    files, findings = read_subject_folder(folder)
    kept: list[LocalFile] = []
    read: dict[str, RunFile] = {}
    for file in files:
        digest = None
        try:
            read[file.relative], digest = _read_file(file)
        except OSError as error:
            why = f"{file.relative} cannot be read ({error.strerror}); check its permissions and its disk"
            findings.append(found("FS04", why, folder))
        kept.append(LocalFile(file.path, f"{name}/{file.relative}", file.size_bytes, file.mtime_ns, digest=digest))
    source = Source(Kind.FREESURFER, folder, relative, tuple(kept), findings=tuple(findings))
    return source, Run(name, folder, read)


def _read_file(file: SubjectFile) -> tuple[RunFile, str | None]:
    """Read as much of a file as the checks need: volumes whole, texts whole, surfaces and the like their beginning."""
    packed = file.relative.endswith((".mgz", ".gz"))
    text = is_text_needed(file.relative) and file.size_bytes <= _TEXT_LIMIT_BYTES
    if not packed and not text and not file.relative.startswith(("surf/", "label/")):
        return RunFile(file.size_bytes, mtime_ns=file.mtime_ns), None
    with file.path.open("rb") as stream:
        if packed or text:
            return _read_whole(stream, file.relative, file.mtime_ns)
        return RunFile(file.size_bytes, head=stream.read(_HEAD_BYTES), mtime_ns=file.mtime_ns), None


def _read_whole(stream: IO[bytes], relative: str, mtime_ns: int = 0) -> tuple[RunFile, str]:
    text: list[bytes] = []
    keeps_text = is_text_needed(relative)
    seen = read_stream(stream, seen=text.append if keeps_text else None)
    damage = None
    if relative.endswith((".mgz", ".gz")) and seen.size_bytes:
        damage = seen.damage.value if seen.damage is not None else None if seen.packed else "it is not gzip"
    file = RunFile(
        seen.size_bytes,
        head=seen.head[:_HEAD_BYTES],
        unpacked_bytes=seen.unpacked_bytes,
        text=b"".join(text)[:_TEXT_LIMIT_BYTES] if keeps_text else None,
        damage=damage,
        mtime_ns=mtime_ns,
    )
    return file, seen.digest


def _from_archive(path: Path, relative: str) -> tuple[Source, Run | None]:
    status = path.stat()
    contents = read_contents(path, _MARKERS)
    if contents is None:
        return Source(Kind.FREESURFER, path, relative, (), archived=True), None
    if not contents.ready and not contents.is_zip:
        raise ArchiveProblem(f"XNAT would not unpack it rightly: {_not_ready(contents)}; unpack it and push the folder")
    name = contents.top or path.name[: -len("".join(path.suffixes[-1:]))]
    read: dict[str, RunFile] = {}
    digests: dict[str, str] = {}
    below = {member.name: inner for inner, member in contents.files.items()}
    with damage_told():
        for member, stream in members(path):
            if stream is not None and (inner := below.get(member.name)) is not None:
                read[inner], digests[inner] = _read_whole(stream, inner)
    findings: list[Finding] = []
    linked = dict(contents.files)
    if not contents.ready:
        findings.append(found("FS22", f"it is packed anew on the way: {_not_ready(contents)}", path))
        for inner, link in contents.links.items():
            target = os.path.normpath(PurePosixPath(inner).parent / (link.target or ""))
            if target in contents.files:
                linked[inner] = contents.files[target]
                read[inner], digests[inner] = read[target], digests[target]
            else:
                findings.append(found("FS14", f"{inner} points to {link.target}, outside the subject; left out", path))
    kept = {inner: member for inner, member in linked.items() if contents.ready or not left_out(inner)}
    files = tuple(
        LocalFile(path, f"{name}/{inner}", member.size_bytes, status.st_mtime_ns, digests[inner], member.name)
        for inner, member in sorted(kept.items())
    )
    source = Source(Kind.FREESURFER, path, relative, files, archived=contents.ready, findings=tuple(findings))
    return source, Run(name, path, read)


def _not_ready(contents: Contents) -> str:
    reasons = []
    if contents.links:
        reasons.append(f"it holds {len(contents.links)} links ({', '.join(sorted(contents.links)[:2])} ...)")
    if contents.prefix.count("/") != 1:
        reasons.append("the subject is not its top folder")
    if contents.strays:
        reasons.append(f"other files are in it ({contents.strays[0]} ...)")
    return ", ".join(reasons)
