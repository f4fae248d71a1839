"""Folders of NIfTI images, with sidecars and gradient tables of the same name beside them."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.checks.images import ImageReport, inspect_image, inspect_pair
from xnatferry.checks.sidecars import check_gradients, check_sidecar, is_diffusion
from xnatferry.sources.folder_walk import Entry, entry_at, walk
from xnatferry.sources.model import Claims, Discovery, Finding, Kind, LocalFile, Severity, Source
from xnatferry.sources.path_layouts import (
    claims_of_path,
    date_in_name,
    names_its_place,
    problem_of_path,
    subject_folder,
)
from xnatferry.sources.series import SeriesRules, read_series_rules
from xnatferry.sources.sidecar import series_description, sidecar_facts
from xnatferry.sources.template import AmbiguousPathError, PathTemplate
from xnatferry.sources.unread_data import is_unread_data, unread_data
from xnatferry.wording import counted, one_or_many
from xnatferry.xnat.interning import interned
from xnatferry.xnat.thread_map import thread_map

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

_IMAGE_ENDINGS: Final = (".nii.gz", ".nii", ".hdr.gz", ".img.gz", ".hdr", ".img")
_COMPANION_ENDINGS: Final = (".json", ".bval", ".bvec", ".bvals", ".bvecs")
_LISTED: Final = 10

ImageFiles = tuple[Entry, ...]
"""One image: a single file, or the ``.hdr`` and ``.img`` of a pair."""


def is_image_name(name: str) -> bool:
    """Whether a file is named as a NIfTI image or a half of one."""
    return name.lower().endswith(_IMAGE_ENDINGS)


def split_name(name: str) -> tuple[str, str]:
    """The stem and the lower-case ending of an image or companion; the ending is empty for other names."""
    lower = name.lower()
    for ending in (*_IMAGE_ENDINGS, *_COMPANION_ENDINGS):
        if lower.endswith(ending) and len(name) > len(ending):
            return name[: -len(ending)], ending
    return name, ""


def discover_nifti(
    path: Path,
    templates: Sequence[PathTemplate] = (),
    *,
    preset: str | None = None,
    rules: Path | None = None,
    workers: int | None = None,
) -> Discovery:
    """Read a folder of images, or one image.

    Args:
        path: A folder, an image, or one half of a ``.hdr``/``.img`` pair.
        templates: Path templates, relative to the folder; the first that matches counts. Without any, the layouts of
            `xnatferry.sources.path_layouts`, completed by the series that `xnatferry.sources.series` finds.
        preset: Converter that named the images; ``none`` uses only folders and names; recognised when None.
        rules: File with more rules for names of series and types of scans.
        workers: Threads that read; as many as there are processors when None.
    """
    entries, root = (
        (walk(path, hidden=is_unread_data), path) if path.is_dir() else (iter(_with_companions(path)), path.parent)
    )
    findings: list[Finding] = []
    others: list[Entry] = []
    placed = _placed(entries, templates, findings, others)
    series = None if templates or preset == "none" else read_series_rules(rules).of_preset(preset)
    read = thread_map(
        lambda item: image_source(
            item[0],
            item[1],
            item[2],
            findings=item[3],
            series=None if names_its_place(item[0][0].relative) else series,
        ),
        placed,
        workers=workers,
    )
    sources = tuple(read)
    if preset not in {None, "none"}:
        sources = tuple(_without_series(source, preset or "") for source in sources)
    if not sources and not findings:
        findings.append(
            found("NII22", "no NIfTI images found (.nii, .nii.gz, .hdr with .img); check the path, or use --as", path)
        )
    findings += _ignored_files(others, root)
    return Discovery(
        root=root,
        kind=Kind.NIFTI,
        sources=_with_duplicates(_same_doubt(sources)),
        findings=tuple(findings),
        reading=_reading(sources, series),
    )


def _reading(sources: Sequence[Source], series: SeriesRules | None) -> str:
    """Where series numbers were read, in a few words; empty if nowhere."""
    if series is None:
        return ""
    numbered = [source for source in sources if (source.claims.group or "").startswith("series ")]
    named = Counter(found.preset for one in numbered if (found := series.read_name(split_name(one.path.name)[0])))
    presets = " and ".join(f"{counted(count, 'name')} of {preset}" for preset, count in sorted(named.items()))
    others = len(numbered) - named.total()
    sidecars = counted(others, "sidecar") if others else ""
    return f"series from {' and '.join(filter(None, (presets, sidecars)))}" if numbered else ""


def _without_series(source: Source, preset: str) -> Source:
    """A source whose name the requested preset does not explain is refused."""
    if (source.claims.group or "").startswith("series "):
        return source
    why = f"the name does not match the patterns of {preset}, and no sidecar has a SeriesNumber"
    todo = "choose another --preset, or use --template or a table"
    return replace(source, findings=(*source.findings, found("NII20", f"{why}; {todo}", source.path)))


def _placed(
    entries: Iterable[Entry], templates: Sequence[PathTemplate], findings: list[Finding], others: list[Entry]
) -> Iterator[tuple[ImageFiles, tuple[Entry, ...], Claims, tuple[Finding, ...]]]:
    """Images with companions, claims and what is known of them, folder by folder.

    What has no place is added to *findings*, what belongs to no image to *others*.
    """
    for _, of_folder in groupby(entries, key=lambda entry: entry.folder):
        groups, left = _grouped(of_folder)
        others += left
        for images, companions in groups:
            claims, why = _claims(images, templates)
            if why is not None:
                findings.append(why)
                continue
            problem = None if templates else problem_of_path(images[0].relative)
            path_findings = () if problem is None else (found(*problem, images[0].path),)
            for files, extra in _images_of_stem(images):
                yield files, companions, claims, (*extra, *path_findings)


def image_at(path: Path, relative: str) -> tuple[ImageFiles, tuple[Entry, ...]]:
    """The image that *path* names, with its other half, and its companions; *relative* is used in messages."""
    entries = [replace(entry, relative=_beside(relative, entry.name)) for entry in _with_companions(path)]
    images = [entry for entry in entries if split_name(entry.name)[1] in _IMAGE_ENDINGS]
    if len(images) > 1 and not _is_pair(images):
        images = [entry for entry in images if entry.path == path]
    return tuple(images), tuple(entry for entry in entries if split_name(entry.name)[1] in _COMPANION_ENDINGS)


def _beside(relative: str, name: str) -> str:
    folder = relative.rpartition("/")[0]
    return f"{folder}/{name}" if folder else name


def _with_companions(path: Path) -> list[Entry]:
    """The entry of a file, and of the files beside it that share its stem."""
    stem = split_name(path.name)[0]
    try:
        names = sorted(beside.name for beside in path.parent.iterdir())
    except OSError:
        names = [path.name]
    same = [name for name in names if split_name(name) != (name, "") and split_name(name)[0] == stem]
    return [entry_at(path.parent / name, name) for name in same or [path.name]]


def _grouped(entries: Iterable[Entry]) -> tuple[list[tuple[list[Entry], tuple[Entry, ...]]], list[Entry]]:
    """Images of a folder by stem with their companions, in the order of entries; then what belongs to no image."""
    images: dict[str, list[Entry]] = defaultdict(list)
    companions: dict[str, list[Entry]] = defaultdict(list)
    others: list[Entry] = []
    for entry in entries:
        stem, ending = split_name(entry.name)
        if ending in _IMAGE_ENDINGS:
            images[stem].append(entry)
        elif ending:
            companions[stem].append(entry)
        else:
            others.append(entry)
    for stem, lonely in companions.items():
        if stem not in images:
            others += lonely
    return [(found_images, tuple(companions[stem])) for stem, found_images in images.items()], others


def _is_pair(images: Sequence[Entry]) -> bool:
    endings = sorted(split_name(entry.name)[1].removesuffix(".gz") for entry in images)
    return endings == [".hdr", ".img"]


def _images_of_stem(images: list[Entry]) -> list[tuple[ImageFiles, tuple[Finding, ...]]]:
    """The images of one stem: one, or a pair; several of one name are all refused."""
    if len(images) == 1:
        return [(tuple(images), ())]
    if _is_pair(images):
        return [(tuple(sorted(images, key=lambda entry: entry.name.lower())), ())]
    names = ", ".join(entry.name for entry in images)
    why = f"{names} share one name; keep one, or rename the others with their sidecars"
    return [((entry,), (found("NII18", why, entry.path),)) for entry in images]


def _claims(images: Sequence[Entry], templates: Sequence[PathTemplate]) -> tuple[Claims, Finding | None]:
    first = images[0]
    if not templates:
        return claims_of_path(first.relative, split_name(first.name)[0]), None
    for template in templates:
        for entry in images:
            try:
                fields = template.read(entry.relative)
            except AmbiguousPathError as error:
                return Claims(), found("NII21", str(error), entry.path)
            if fields is not None:
                return Claims(**fields), None
    shown = " or ".join(template.text for template in templates)
    why = f"the path does not match {shown}; add a --template, move the file out of the folder, or use a table"
    return Claims(), found("NII20", why, first.path)


def image_source(
    images: ImageFiles,
    companions: Sequence[Entry],
    claims: Claims,
    *,
    findings: Sequence[Finding] = (),
    line: int | None = None,
    series: SeriesRules | None = None,
) -> Source:
    """Read and check one image with its companions.

    Args:
        images: A single file, or the two halves of a pair.
        companions: Sidecar and gradient tables.
        claims: Labels from path, template or table.
        findings: Earlier findings; they come first.
        line: Line of the table that names it.
        series: Rules that find its series in sidecar and name; None to look for none.
    """
    entries = (*images, *companions)
    findings = [*findings, *(found(*entry.problem, entry.path) for entry in entries if entry.problem is not None)]
    report = ImageReport(())
    attributes: dict[str, str] = {}
    if not any(entry.problem for entry in images):
        report = _inspect(images)
    if report.header is not None:
        attributes.update(report.header.attributes())
    by_ending = {split_name(entry.name)[1]: entry.path for entry in companions if entry.problem is None}
    beside, claims, more = _read_companions(by_ending, report, claims, images[0], series)
    attributes.update(beside)
    if claims.date is None and claims.session is None:
        claims = replace(claims, date=date_in_name(split_name(images[0].name)[0]))
    return Source(
        kind=Kind.NIFTI,
        path=images[0].path,
        relative=images[0].relative,
        files=tuple(
            LocalFile(
                entry.path,
                entry.name,
                entry.size_bytes,
                entry.mtime_ns,
                digest=report.digests.get(entry.path) if report.digests else None,
            )
            for entry in entries
        ),
        claims=claims,
        attributes=interned(attributes),
        findings=(*findings, *report.findings, *more),
        line=line,
    )


def _inspect(images: ImageFiles) -> ImageReport:
    if len(images) == 2:
        return inspect_pair(images[0].path, images[1].path)
    only = images[0].path
    ending = split_name(only.name)[1].removesuffix(".gz")
    if ending in {".hdr", ".img"}:
        other = ".img" if ending == ".hdr" else ".hdr"
        why = f"{split_name(only.name)[0]}{other} is missing; put both files of the pair into one folder"
        return ImageReport((found("NII14", why, only),))
    return inspect_image(only)


def _read_companions(
    by_ending: Mapping[str, Path], report: ImageReport, claims: Claims, image: Entry, series: SeriesRules | None
) -> tuple[dict[str, str], Claims, list[Finding]]:
    attributes: dict[str, str] = {}
    findings: list[Finding] = []
    sidecar: Mapping[str, Any] = {}
    if ".json" in by_ending:
        sidecar, findings = check_sidecar(by_ending[".json"], report.header)
        attributes.update(sidecar_facts(sidecar))
        if claims.series_description is None:
            claims = replace(claims, series_description=series_description(sidecar))
    if series is not None:
        claims, wrong = series.claims(claims, split_name(image.name)[0], sidecar)
        if wrong:
            findings = [*findings, found("NII34", wrong, image.path)]
    bval = by_ending.get(".bval") or by_ending.get(".bvals")
    bvec = by_ending.get(".bvec") or by_ending.get(".bvecs")
    named = is_diffusion(report.header, claims.type, split_name(image.name)[0])
    if named or bval is not None or bvec is not None:
        gradients, more = check_gradients(bval, bvec, report.header, image=image.path)
        findings += more
        if gradients is not None and not any(finding.severity is Severity.ERROR for finding in more):
            attributes.update(gradients.attributes())
    return attributes, claims, findings


def _with_duplicates(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Warn about identical images."""
    by_digest: dict[str, list[Source]] = defaultdict(list)
    for source in sources:
        if source.files and source.files[0].digest is not None:
            by_digest[source.files[0].digest].append(source)
    duplicates: dict[int, Finding] = {}
    for same in by_digest.values():
        for source in same[1:]:
            why = f"the file is identical to {same[0].relative}; check whether one of them is of the wrong subject"
            duplicates[id(source)] = found("NII23", why, source.path)
    return tuple(
        replace(source, findings=(*source.findings, duplicates[id(source)])) if id(source) in duplicates else source
        for source in sources
    )


def _same_doubt(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Refuse all images whose subject is a folder, if one of these folders is named like an image type."""
    doubted = next((one for one in sources if any(finding.id == "NII26" for finding in one.findings)), None)
    if doubted is None:
        return sources
    other = subject_folder(doubted.relative)
    why = (
        f"the folder {{!r}} would be the subject, but {other!r} beside it is named like an image type; use a template"
        " such as --template '{{type}}/{{subject}}.nii.gz', or a table"
    )
    return tuple(
        replace(one, findings=(found("NII26", why.format(folder), one.path), *one.findings))
        if (folder := subject_folder(one.relative)) and all(finding.id != "NII26" for finding in one.findings)
        else one
        for one in sources
    )


def _ignored_files(others: Sequence[Entry], root: Path) -> list[Finding]:
    findings = [found(*entry.problem, entry.path) for entry in others if entry.problem and entry.problem[0] == "NII03"]
    told, ignored = unread_data([entry for entry in others if not entry.problem or entry.problem[0] != "NII03"], root)
    findings += told
    if ignored:
        names = listed([entry.relative for entry in ignored], _LISTED)
        belong = one_or_many(len(ignored), "belongs", "belong")
        why = f"not uploaded: {counted(len(ignored), 'file')} that {belong} to no image: {names}"
        findings.append(found("NII19", why, root))
    return findings
