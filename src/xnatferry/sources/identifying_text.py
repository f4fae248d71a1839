"""A pass over what discovery found: what may tell who somebody is, and what ``--scrub`` takes out on the way."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.checks.privacy import (
    DICOM_EXTENSION,
    EXTENSION_NAMES,
    blocking_keys,
    flagged_texts,
    is_full_head,
    keys_held,
    mrs_keys,
    path_problem,
    says_defaced,
    table_problem,
    tells_paths,
    tells_something,
)
from xnatferry.errors import FileChangedError
from xnatferry.sources.freesurfer_scrubbing import holds_faces, scrubbed_subject
from xnatferry.sources.model import Discovery, Finding, Kind, LocalFile, Scrub, ScrubKind, Severity, Source
from xnatferry.sources.nifti_header import HeaderError, NiftiHeader, read_header
from xnatferry.sources.scrub_nifti import MRS_EXTENSION, Extension, read_extensions, unpacked_image, version_of
from xnatferry.sources.scrubbing import scrubbed_file
from xnatferry.sources.sidecar import SidecarError, read_sidecar
from xnatferry.xnat.digest import PIECE_BYTES
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["check_identifying_text"]

_HEADERS: Final = (".nii", ".nii.gz", ".hdr", ".hdr.gz")
_REPORTS: Final = (".html", ".log", ".out", ".err", ".toml", ".svg", "citation.md", "citation.tex", "crash.txt")
_SMALL_BYTES: Final = 64 << 20
_HEAD_PIECE_BYTES: Final = 1 << 14
_REPORT_BYTES: Final = 256 << 10
_COLOURS: Final = frozenset({128, 2304})
_NAMED: Final = 3


@dataclass(slots=True)
class _Trace:
    """What one file tells.

    Attributes:
        blocking: Findings of the tier that stops its source.
        open: Findings that warn and that scrubbing settles.
        lasting: Findings that scrubbing leaves.
        scrub: What scrubbing takes out.
        head: Whether it is an image of the whole head.
        defaced: Whether it says that a face was taken out.
    """

    blocking: list[Finding] = field(default_factory=list)
    open: list[Finding] = field(default_factory=list)
    lasting: list[Finding] = field(default_factory=list)
    scrub: Scrub | None = None
    head: bool = False
    defaced: bool = False


@dataclass(frozen=True, slots=True)
class _Looked:
    """A source after the pass, and the images in it that may show a face."""

    source: Source
    blocked: tuple[Finding, ...] = ()
    heads: tuple[str, ...] = ()
    defaced: bool = False


def check_identifying_text(
    discovery: Discovery, *, allow_private: bool = False, scrub: bool = False, workers: int | None = None
) -> Discovery:
    """The same discovery with the findings of the privacy check; with *scrub*, files as they arrive scrubbed.

    Args:
        discovery: What was found.
        allow_private: Whether what names a person is carried with a warning.
        scrub: Whether files are changed on the way.
        workers: Threads that read; as many as there are processors when None.
    """

    def look(source: Source) -> _Looked:
        if source.refused:
            return _Looked(source)
        if source.kind is Kind.FREESURFER:
            return _Looked(_named(scrubbed_subject(source) if scrub else source))
        return _looked(source, allow_private=allow_private, scrub=scrub)

    looked = list(thread_map(look, discovery.sources, workers=workers))
    sources = _with_siblings(looked)
    return replace(discovery, sources=sources, findings=(*discovery.findings, *_faces(discovery, looked)))


def _named(source: Source) -> Source:
    """With what its path tells."""
    paths = [(source.relative, source.path)]
    if source.kind is not Kind.FREESURFER:
        paths += [(file.tree_path or file.name, file.path) for file in source.files]
    for name, path in paths:
        if (what := path_problem(name, source.claims.subject)) is not None:
            why = f"its name holds {what}; names are stored as they are, so rename it if that tells who it is"
            return replace(source, findings=(*source.findings, found("PRV06", why, path)))
    return source


def _looked(source: Source, *, allow_private: bool, scrub: bool) -> _Looked:
    files: list[LocalFile] = []
    findings: list[Finding] = []
    blocked: list[Finding] = []
    heads: list[str] = []
    defaced = False
    for file in source.files:
        try:
            trace = _examined(file, source)
            kept = file
            if scrub and trace.scrub is not None:
                kept = scrubbed_file(file, trace.scrub, _pieces(file))
                findings.append(found("PRV11", f"{trace.scrub}; the file on your disk stays as it is", file.path))
                trace = replace(trace, blocking=[], open=[])
        except (OSError, FileChangedError) as error:
            if not scrub:
                files.append(file)  # the other checks say what cannot be read
                continue
            why = f"it cannot be read, so nothing can be taken out of it ({error}); repair it, or leave out --scrub"
            kept, trace = file, _Trace(blocking=[found("PRV12", why, file.path)])
        files.append(kept)
        if allow_private:
            findings += [replace(finding, severity=Severity.WARNING) for finding in trace.blocking]
        else:
            blocked += trace.blocking
        findings += [*trace.open, *trace.lasting]
        heads += [file.tree_path or source.relative] if trace.head else []
        defaced = defaced or trace.defaced
    if blocked or findings or scrub:
        source = replace(source, files=tuple(files), findings=(*source.findings, *blocked, *findings))
    return _Looked(_named(source), tuple(blocked), tuple(heads), defaced)


def _examined(file: LocalFile, source: Source) -> _Trace:
    low = file.name.lower()
    if file.member is not None:
        return _Trace()
    if low.endswith(_HEADERS) and file.size_bytes:
        return _image(file, source)
    if low.endswith(".json") and file.size_bytes <= _SMALL_BYTES:
        return _sidecar(file, source)
    if low.endswith(".tsv") and file.size_bytes <= _SMALL_BYTES and _is_about_people(file):
        lines = b"".join(_pieces(file)).decode("utf-8-sig", "replace").splitlines()
        what = table_problem(lines)
        why = f"it has {what}; the table travels as it is"
        return _Trace(lasting=[found("PRV07", why, file.path)] if what else [])
    if source.kind is not Kind.NIFTI and low.endswith(_REPORTS) and tells_paths(_beginning(file)):
        why = "it tells home folders, computers or mail addresses of who ran the program; it travels as it is"
        return _Trace(lasting=[found("PRV08", why, file.path)])
    return _Trace()


def _is_about_people(file: LocalFile) -> bool:
    name = file.name.rpartition("/")[2]
    return (
        name.startswith("participants")
        or name.endswith(("_sessions.tsv", "_scans.tsv"))
        or ("phenotype/" in file.tree_path)
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


def _sidecar(file: LocalFile, source: Source) -> _Trace:
    try:
        sidecar = read_sidecar(b"".join(_pieces(file)))
    except SidecarError as error:
        raise FileChangedError(str(error)) from error
    trace = _Trace(defaced=says_defaced(sidecar))
    if names := blocking_keys(sidecar, source.claims.subject):
        why = (
            f"fields that name a person: {', '.join(names)}; take them out, let --scrub do it on the way, or say"
            " --allow-private if the project may hold them"
        )
        trace.blocking.append(found("PRV01", why, file.path))
        trace.scrub = Scrub(ScrubKind.SIDECAR, tuple(names), file.size_bytes)
    if traces := keys_held(sidecar):
        why = (
            f"fields that identify a place, a device, a day or a body: {', '.join(traces)}; the file travels with them"
        )
        trace.lasting.append(found("PRV02", why, file.path))
    return trace


def _image(file: LocalFile, source: Source) -> _Trace:
    pieces = _pieces(file, _HEAD_PIECE_BYTES)
    packed = file.name.lower().endswith(".gz")
    head, extensions = read_extensions(unpacked_image(pieces) if packed else pieces)
    if not head:
        return _Trace()
    try:
        header = read_header(head, version=version_of(head))
    except HeaderError:
        return _Trace()
    trace = _Trace(defaced="defac" in file.name.lower())
    removed = flagged_texts(header)
    for name in removed:
        why = f"header field {name} holds text that may identify a person or a day; look at it, or let --scrub clear it"
        trace.open.append(found("PRV03", why, file.path))
    dropped = _extensions(file, extensions, source, trace, removed)
    if removed:
        trace.scrub = Scrub(ScrubKind.NIFTI, tuple(dict.fromkeys(removed)), file.size_bytes, dropped, packed)
    if header.datatype in _COLOURS or _is_flat(header):
        why = "it is a picture in colour or a single slice; look whether text is burned into it"
        trace.lasting.append(found("PRV10", why, file.path))
    else:
        trace.head = not trace.defaced and is_full_head(file.name, source.claims.type)
    return trace


def _is_flat(header: NiftiHeader) -> bool:
    return not header.is_cifti and sum(length > 1 for length in header.shape[:3]) < 3


def _extensions(
    file: LocalFile, extensions: Sequence[Extension], source: Source, trace: _Trace, removed: list[str]
) -> int:
    """What extensions tell; returns the bytes of those that scrubbing drops."""
    dropped = 0
    for extension in extensions:
        code = extension.code
        if not tells_something(extension):
            continue
        what = EXTENSION_NAMES.get(code, "free content")
        size = f"code {code}, {extension.size_bytes} bytes"
        if code == MRS_EXTENSION:
            if names := mrs_keys(extension, source.claims.subject):
                why = f"its header extension ({size}) has fields that name a person: {', '.join(names)}"
                trace.blocking.append(
                    found("PRV05", f"{why}; --scrub takes them out, --allow-private sends", file.path)
                )
                removed += [f"extension {code} {name}" for name in names]
            trace.lasting.append(found("PRV04", f"its header has an extension ({size}): {what}", file.path))
            continue
        removed.append(f"extension {code}")
        dropped += extension.size_bytes
        if code == DICOM_EXTENSION:
            why = f"its header has an extension ({size}): {what}, which names the patient unless somebody took that out"
            trace.blocking.append(found("PRV05", f"{why}; --scrub drops it, --allow-private sends it", file.path))
        else:
            why = f"its header has an extension ({size}): {what}; see what it tells, or let --scrub drop it"
            trace.open.append(found("PRV04", why, file.path))
    return dropped


def _with_siblings(looked: Sequence[_Looked]) -> tuple[Source, ...]:
    """An image and its sidecar stay behind together, also where they go to two resources of one scan."""
    blocked: dict[tuple[str | None, str | None, str], tuple[Finding, ...]] = defaultdict(tuple)
    for one in looked:
        if one.blocked and (key := _scan_of(one.source)) is not None:
            blocked[key] += one.blocked
    return tuple(
        replace(one.source, findings=(*one.source.findings, *blocked[key]))
        if not one.source.refused and (key := _scan_of(one.source)) in blocked and key is not None
        else one.source
        for one in looked
    )


def _scan_of(source: Source) -> tuple[str | None, str | None, str] | None:
    claims = source.claims
    return (claims.subject, claims.session, claims.group) if claims.group else None


def _faces(discovery: Discovery, looked: Sequence[_Looked]) -> Iterator[Finding]:
    """One finding for all images that may show a face: nobody looks at the voxels."""
    defaced = {_scan_of(one.source) for one in looked if one.defaced} - {None}
    shown = [name for one in looked if not one.defaced and _scan_of(one.source) not in defaced for name in one.heads]
    if shown:
        why = (
            f"{listed(shown, _NAMED)}: by name, the whole head, and neither name nor sidecar says that the face was"
            " taken out; xnatferry does not look at the voxels"
        )
        yield found("PRV09", why, discovery.root)
    if subjects := [one.source.relative for one in looked if holds_faces(one.source)]:
        why = (
            f"{listed(subjects, _NAMED)}: orig, rawavg and T1 of FreeSurfer keep the face, also where the images that"
            " are pushed beside them were defaced"
        )
        yield found("PRV09", why, discovery.root)
