"""The privacy check of discovered files, and what ``--scrub`` removes from them."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.checks.privacy import (
    DICOM_EXTENSION,
    EXTENSION_NAMES,
    blocking_keys,
    flagged_texts,
    indirect_keys,
    is_free_content,
    is_full_head,
    is_marked_defaced,
    mrs_keys,
    names_home,
    own_labels,
    path_problem,
    table_problem,
    text_problem,
)
from xnatferry.errors import FileChangedError
from xnatferry.sources.freesurfer_scrubbing import holds_faces, scrubbed_subject
from xnatferry.sources.model import Discovery, Finding, Kind, LocalFile, Scrub, ScrubKind, Severity, Source
from xnatferry.sources.nifti_header import HeaderError, NiftiHeader, read_header
from xnatferry.sources.scrub_gzip import HEADER_BYTES, read_gzip_header
from xnatferry.sources.scrub_nifti import MRS_EXTENSION, Extension, read_extensions, unpacked_image, version_of
from xnatferry.sources.scrubbing import scrubbed_file
from xnatferry.xnat.digest import PIECE_BYTES
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from pathlib import Path

_HEADERS: Final = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
_REPORTS: Final = (".html", ".log", ".out", ".err", ".toml", ".svg", "citation.md", "citation.tex", "crash.txt")
_TABLES: Final = (".tsv", ".csv")
_SMALL_BYTES: Final = 64 << 20
_HEAD_PIECE_BYTES: Final = 1 << 14
_REPORT_BYTES: Final = 256 << 10
_COLOURS: Final = frozenset({128, 2304})
_COMPLEX: Final = frozenset({32, 1792, 2048})
#: Shortest axis of a slice in which text can be read; FreeSurfer folds values on a surface into short axes.
_READABLE_VOXELS: Final = 32
_NAMED: Final = 3


@dataclass(slots=True)
class _FileResult:
    """Result of the privacy check of one file.

    Attributes:
        blocking: Findings that name a person; they refuse the source.
        removable: Warnings that scrubbing resolves.
        permanent: Warnings that scrubbing does not resolve.
        scrub: What scrubbing removes.
        head: Whether it is an image of the whole head.
        defaced: Whether it states that the face was removed.
    """

    blocking: list[Finding] = field(default_factory=list)
    removable: list[Finding] = field(default_factory=list)
    permanent: list[Finding] = field(default_factory=list)
    scrub: Scrub | None = None
    head: bool = False
    defaced: bool = False


@dataclass(frozen=True, slots=True)
class _SourceResult:
    """A source after the privacy check, and its images that may show a face."""

    source: Source
    blocked: tuple[Finding, ...] = ()
    heads: tuple[str, ...] = ()
    defaced: bool = False


def check_identifying_text(
    discovery: Discovery, *, allow_private: bool = False, scrub: bool = False, workers: int | None = None
) -> Discovery:
    """The same discovery with the findings of the privacy check.

    With *scrub*, files have the size and digest of the scrubbed content.

    Args:
        discovery: What was found.
        allow_private: Whether files that name a person are uploaded with a warning.
        scrub: Whether files are scrubbed for the upload.
        workers: Threads that read; as many as there are processors when None.
    """
    subjects = {source.claims.subject for source in discovery.sources if source.claims.subject}
    all_labels = own_labels(subjects)

    def check(source: Source) -> _SourceResult:
        if source.refused:
            return _SourceResult(source)
        if source.kind is Kind.FREESURFER:
            return _SourceResult(_with_path_finding(scrubbed_subject(source) if scrub else source, discovery.root))
        subject = source.claims.subject
        own = all_labels if subject is None else own_labels([subject])
        result = _checked(source, own, allow_private=allow_private, scrub=scrub)
        return replace(result, source=_with_path_finding(result.source, discovery.root))

    results = list(thread_map(check, discovery.sources, workers=workers))
    sources = _with_refused_siblings(results)
    return replace(discovery, sources=sources, findings=(*discovery.findings, *_faces(discovery, results)))


def _with_path_finding(source: Source, root: Path) -> Source:
    """The source with finding PRV06 if a path that is uploaded may identify a person; the name of *root* is not."""
    root_alone = source.kind is Kind.BIDS or (source.kind is Kind.FILES and source.path == root)
    paths = [((source.claims.subject or "") if root_alone else source.relative, source.path)]
    if source.kind is not Kind.FREESURFER:
        paths += [(file.tree_path or file.name, file.path) for file in source.files]
    for name, path in paths:
        if (what := path_problem(name, source.claims.subject)) is not None:
            why = f"the path contains {what}; paths are uploaded unchanged, rename it if it identifies a person"
            return replace(source, findings=(*source.findings, found("PRV06", why, path)))
    return source


def _checked(source: Source, own: Collection[str], *, allow_private: bool, scrub: bool) -> _SourceResult:
    files: list[LocalFile] = []
    findings: list[Finding] = []
    blocked: list[Finding] = []
    heads: list[str] = []
    defaced = False
    for file in source.files:
        try:
            result = _examined(file, source, own)
            kept = file
            if scrub and result.scrub is not None:
                kept = scrubbed_file(file, result.scrub, _pieces(file))
                findings.append(found("PRV11", f"{result.scrub}; the file on your disk is not changed", file.path))
                result = replace(result, blocking=[], removable=[])
        except (OSError, FileChangedError) as error:
            if not scrub:
                files.append(file)  # other checks report files that cannot be read
                continue
            why = f"the file cannot be read, so it cannot be scrubbed ({error}); repair it, or push without --scrub"
            kept, result = file, _FileResult(blocking=[found("PRV12", why, file.path)])
        files.append(kept)
        if allow_private:
            findings += [replace(finding, severity=Severity.WARNING) for finding in result.blocking]
        else:
            blocked += result.blocking
        findings += [*result.removable, *result.permanent]
        heads += [file.tree_path or source.relative] if result.head else []
        defaced = defaced or result.defaced
    if blocked or findings or scrub:
        source = replace(source, files=tuple(files), findings=(*source.findings, *blocked, *findings))
    return _SourceResult(source, tuple(blocked), tuple(heads), defaced)


def _examined(file: LocalFile, source: Source, own: Collection[str]) -> _FileResult:
    low = file.name.lower()
    if file.member is not None or not file.size_bytes:
        return _FileResult()
    if low.endswith((".gz", ".mgz")):
        result = _image(file, source, own) if low.endswith(_HEADERS) else _FileResult()
        return _with_gzip_header(file, result)
    if low.endswith(_HEADERS):
        return _image(file, source, own)
    if low.endswith(".json") and file.size_bytes <= _SMALL_BYTES:
        return _sidecar(file, own)
    if low.endswith(_TABLES):
        return _table(file, own)
    if low.endswith(".txt") or (source.kind is not Kind.NIFTI and low.endswith(_REPORTS)):
        return _text(file, own, is_report=low.endswith(_REPORTS))
    return _FileResult()


def _text(file: LocalFile, own: Collection[str], *, is_report: bool) -> _FileResult:
    return _FileResult(permanent=_user_details(file, text_problem(_beginning(file), is_report=is_report, own=own)))


def _user_details(file: LocalFile, what: str | None) -> list[Finding]:
    return [found("PRV08", f"the file contains {what}; it is uploaded unchanged", file.path)] if what else []


def _table(file: LocalFile, own: Collection[str]) -> _FileResult:
    """Check a table: one about people completely, of others the first rows."""
    about_people = _is_about_people(file) and file.size_bytes <= _SMALL_BYTES
    content = b"".join(_pieces(file)) if about_people else _beginning(file)
    problem = table_problem(content.decode("utf-8-sig", "replace"), about_people=about_people, own=own)
    result = _FileResult(permanent=_user_details(file, "home folders" if names_home(content) else None))
    if problem.suspicious:
        why = f"the table contains {problem.suspicious}; it is uploaded unchanged, remove columns if necessary"
        result.permanent.append(found("PRV07", why, file.path))
    if problem.person:
        why = (
            f"columns that name a person: {', '.join(problem.person)}; remove them, use --scrub, or use --allow-private"
        )
        result.blocking.append(found("PRV01", f"{why} if the project may contain them", file.path))
        result.scrub = Scrub(ScrubKind.TABLE, problem.person, file.size_bytes)
    return result


def _with_gzip_header(file: LocalFile, result: _FileResult) -> _FileResult:
    """*result* with the texts in the header of a gzip stream; a name that is also that of the file is not one."""
    header = read_gzip_header(next(_pieces(file, HEADER_BYTES), b""))
    own = file.name.rpartition("/")[2]
    if header is None or not (header.comment or header.name not in {"", own, own.removesuffix(".gz")}):
        return result
    texts = tuple(f"gzip {name}" for name in ("name", "comment") if getattr(header, name))
    what = "a comment" if header.comment else path_problem(header.name, header.name.partition(".")[0])
    why = f"the gzip header contains {what or 'another name of the file'}"
    finding = found("PRV13", f"{why}; check it (gzip -lN), or use --scrub to remove it", file.path)
    result.removable.append(finding if what else replace(finding, severity=Severity.INFO))
    if result.scrub is None:
        result.scrub = Scrub(ScrubKind.GZIP, texts, file.size_bytes)
    else:  # the image is compressed anew, with another header
        result.scrub = replace(result.scrub, removed=(*result.scrub.removed, *texts))
    return result


def _is_about_people(file: LocalFile) -> bool:
    """Whether the rows of a table are people or scans; tables in hidden folders list DICOM series and the like."""
    *folders, name = (file.tree_path or file.name).split("/")
    return (
        name.startswith("participants")
        or name.endswith(("_sessions.tsv", "_scans.tsv"))
        or any(folder in {"phenotype", "sourcedata"} or folder.startswith(".") for folder in folders)
    )


def _pieces(file: LocalFile, size_bytes: int = PIECE_BYTES) -> Iterator[bytes]:
    if file.data is not None:
        yield file.data
        return
    with file.path.open("rb") as stream:
        while piece := stream.read(size_bytes):
            yield piece


def _beginning(file: LocalFile) -> bytes:
    return next(_pieces(file, _REPORT_BYTES), b"")


def _sidecar(file: LocalFile, own: Collection[str]) -> _FileResult:
    content = b"".join(_pieces(file))
    try:
        sidecar = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise FileChangedError(f"the file is not usable JSON ({error})") from error
    result = _FileResult(defaced=isinstance(sidecar, dict) and is_marked_defaced(sidecar))
    result.permanent += _user_details(file, "home folders" if names_home(content) else None)
    if names := blocking_keys(sidecar, own):
        result.blocking.append(found("PRV01", _naming("fields", names), file.path))
        result.scrub = Scrub(ScrubKind.SIDECAR, tuple(names), file.size_bytes)
    if keys := indirect_keys(sidecar):
        why = f"fields that identify a place, a device, a date or a body: {', '.join(keys)}; they are uploaded"
        result.permanent.append(found("PRV02", why, file.path))
    return result


def _naming(what: str, names: Sequence[str]) -> str:
    shown = f"{what} that name a person: {', '.join(names)}"
    return f"{shown}; remove them, use --scrub, or use --allow-private if the project may contain them"


def _image(file: LocalFile, source: Source, own: Collection[str]) -> _FileResult:
    pieces = _pieces(file, _HEAD_PIECE_BYTES)
    packed = file.name.lower().endswith(".gz")
    head, extensions = read_extensions(unpacked_image(pieces) if packed else pieces)
    if not head:
        return _FileResult()
    try:
        header = read_header(head, version=version_of(head))
    except HeaderError:
        return _FileResult()
    result = _FileResult(defaced="defac" in file.name.lower())
    removed = flagged_texts(header)
    for name in removed:
        why = f"header field {name} contains text that may identify a person or a date; check it, or use --scrub"
        result.removable.append(found("PRV03", why, file.path))
    dropped = _extensions(file, extensions, own, result, removed)
    if removed:
        result.scrub = Scrub(ScrubKind.NIFTI, tuple(dict.fromkeys(removed)), file.size_bytes, dropped, packed)
    if header.datatype in _COLOURS or _is_single_slice(header):
        why = "the image is in colour or a single slice; check whether it contains burned-in text"
        result.permanent.append(found("PRV10", why, file.path))
    else:
        result.head = not result.defaced and is_full_head(file.name, source.claims.type)
    return result


def _is_single_slice(header: NiftiHeader) -> bool:
    """Whether the image is one slice in which text can be read; spectra and values on surfaces are not."""
    if header.is_cifti or header.datatype in _COMPLEX:
        return False
    axes = [length for length in header.shape[:3] if length > 1]
    return len(axes) == 2 and min(axes) >= _READABLE_VOXELS


def _extensions(
    file: LocalFile, extensions: Sequence[Extension], own: Collection[str], result: _FileResult, removed: list[str]
) -> int:
    """Findings on header extensions; returns the bytes of those that scrubbing removes."""
    dropped = 0
    for extension in extensions:
        code = extension.code
        if not is_free_content(extension):
            continue
        what = EXTENSION_NAMES.get(code, "unknown content")
        size = f"code {code}, {extension.size_bytes} bytes"
        if code == MRS_EXTENSION:
            names = mrs_keys(extension, own)
            if names:
                why = f"the header extension ({size}) has fields that name a person: {', '.join(names)}"
                result.blocking.append(
                    found("PRV05", f"{why}; use --scrub to remove them, or --allow-private", file.path)
                )
                removed += [f"extension {code} {name}" for name in names]
            finding = found("PRV04", f"the header has an extension ({size}): {what}", file.path)
            # Every image of spectroscopy has one, so it is a warning only where it cannot be read or names a person.
            result.permanent.append(replace(finding, severity=Severity.INFO) if names == [] else finding)
            continue
        removed.append(f"extension {code}")
        dropped += extension.size_bytes
        if code == DICOM_EXTENSION:
            why = f"the header has an extension ({size}): {what}, which usually names the patient"
            result.blocking.append(found("PRV05", f"{why}; use --scrub to remove it, or --allow-private", file.path))
        else:
            why = f"the header has an extension ({size}): {what}; check it, or use --scrub to remove it"
            result.removable.append(found("PRV04", why, file.path))
    return dropped


def _with_refused_siblings(results: Sequence[_SourceResult]) -> tuple[Source, ...]:
    """An image and its sidecar are refused together, also if they belong to two resources of one scan."""
    blocked: dict[tuple[str | None, str | None, str], tuple[Finding, ...]] = defaultdict(tuple)
    for one in results:
        if one.blocked and (key := _scan_of(one.source)) is not None:
            blocked[key] += one.blocked
    return tuple(
        replace(one.source, findings=(*one.source.findings, *blocked[key]))
        if not one.source.refused and (key := _scan_of(one.source)) in blocked and key is not None
        else one.source
        for one in results
    )


def _scan_of(source: Source) -> tuple[str | None, str | None, str] | None:
    claims = source.claims
    return (claims.subject, claims.session, claims.group) if claims.group else None


def _faces(discovery: Discovery, results: Sequence[_SourceResult]) -> Iterator[Finding]:
    """One finding for all images that may show a face, judged by name; voxels are not read."""
    defaced = {_scan_of(one.source) for one in results if one.defaced} - {None}
    shown = [name for one in results if not one.defaced and _scan_of(one.source) not in defaced for name in one.heads]
    if shown:
        why = (
            f"images of the whole head, by their names: {listed(shown, _NAMED)}; neither name nor"
            " sidecar says that they"
            " are defaced (voxels are not checked); deface them if the project must not contain faces"
        )
        yield found("PRV09", why, discovery.root)
    if subjects := [one.source.relative for one in results if holds_faces(one.source)]:
        why = (
            f"FreeSurfer subjects: {listed(subjects, _NAMED)}; orig, rawavg and T1 contain the face unless the input"
            " image was defaced"
        )
        yield found("PRV09", why, discovery.root)
