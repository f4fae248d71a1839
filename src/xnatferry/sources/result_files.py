"""Results of any program, and plain folders: files that go to one resource as they are.

A folder that a rule recognises (``results.toml``) is one resource, anywhere below the root. Where nothing is
recognised, each folder of the root is the result of a subject. Templates say it for every other order: one that ends
in ``/`` reads the path of a folder, all of which is one resource; another reads paths of files, and files that it gives
the same place share a resource.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found, listed
from xnatferry.sources.folder_walk import Entry, entry_at, is_desktop_file, natural_key, walk
from xnatferry.sources.model import Claims, Discovery, Finding, Kind, LocalFile, Source
from xnatferry.sources.path_layouts import claims_of_folder, joined_session
from xnatferry.sources.result_rules import ResultRule, built_in_rules, rule_for
from xnatferry.xnat.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from xnatferry.sources.template import PathTemplate

#: Folder names that are no labels.
_GENERIC_NAMES: Final = frozenset(
    {"output", "outputs", "out", "results", "result", "derivatives", "final", "processed"}
)
#: How deep below the root results are visited for, and among how many folders when a path is only to be recognised.
_DEPTH: Final = 5
_FOLDERS: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Result:
    """A folder that a rule recognises, with its path below the root (the root's own name for the root)."""

    path: Path
    relative: str
    rule: ResultRule


def holds_results(root: Path) -> bool:
    """Whether a rule recognises *root* or a folder in it."""
    return next(_results(root, built_in_rules(), most=_FOLDERS), None) is not None


def discover_files(
    path: Path,
    templates: Sequence[PathTemplate] = (),
    *,
    rules: Sequence[ResultRule] | None = None,
    together: bool = False,
) -> Discovery:
    """Read a folder of results, one result, or any file.

    Args:
        path: Folder or file.
        templates: Templates for folders (``{subject}/{session}/{resource}/``) or files; the first that reads a path
            counts.
        rules: What results look like; those that come with xnatferry when None.
        together: Whether all of it is one resource, whatever it looks like.
    """
    if not path.is_dir():
        sources = [_source(path, path.name, [(entry_at(path, path.name), path.name)], Claims())]
        return Discovery(path, Kind.FILES, tuple(sources))
    if templates and not together:
        sources, findings = _by_templates(path, templates)
    elif together:
        sources, findings = [_whole(path, path.name, path, Claims())], []
    else:
        sources, findings = _recognised(path, built_in_rules() if rules is None else rules)
    if not any(source.files or source.refused for source in sources):
        findings = [*findings, found("NII22", "no files found; check the path", path)]
    return Discovery(path, Kind.FILES, tuple(sources), tuple(findings))


def _recognised(root: Path, rules: Sequence[ResultRule]) -> tuple[list[Source], list[Finding]]:
    results = list(_results(root, rules))
    if not results:
        return _plain(root)
    sources = [_by_rule(one.path, one.relative, one.rule, _claims_of_place(one, root)) for one in results]
    inside = {one.path for one in results}
    ignored = [] if root in inside else list(walk(root, skip=inside))
    return sources, _ignored_files(ignored, root, "not a known result; use --template or --rules")


def result_source(path: Path, relative: str, claims: Claims) -> Source:
    """A folder of results whose place is known; a rule that fits says its resource where *claims* does not."""
    rule = rule_for(path, built_in_rules())
    return _whole(path, relative, path, claims) if rule is None else _by_rule(path, relative, rule, claims)


def _by_rule(path: Path, relative: str, rule: ResultRule, claims: Claims) -> Source:
    completed = replace(
        claims,
        resource=claims.resource or rule.resource,
        content=claims.content or rule.content or rule.name.upper(),
        format=claims.format or rule.format or None,
    )
    source = _whole(path, relative, path / rule.carry, completed)
    return replace(source, level=None if claims.scan else Level(rule.level), version=rule.name)


def _results(root: Path, rules: Sequence[ResultRule], most: int = 0) -> Iterator[_Result]:
    """Recognised folders at and below *root*, in natural order; none within another. *most* bounds the search."""
    visited = 0
    waiting = [(root, root.resolve().name, 0)]
    while waiting:
        folder, relative, depth = waiting.pop()
        visited += 1
        if most and visited > most:
            return
        rule = rule_for(folder, rules)
        if rule is not None:
            yield _Result(folder, relative, rule)
            continue
        if depth == _DEPTH:
            continue
        try:
            names = [child for child in folder.iterdir() if not child.name.startswith(".")]
            inner = [child for child in names if not is_desktop_file(child.name) and child.is_dir()]
        except OSError:
            continue
        prefix = f"{relative}/" if depth else ""
        inner = [child for child in sorted(inner, key=lambda child: natural_key(child.name)) if not child.is_symlink()]
        waiting.extend((child, prefix + child.name, depth + 1) for child in reversed(inner))


def _claims_of_place(one: _Result, root: Path) -> Claims:
    """Subject and session from the folder names, without the name of the program."""
    not_labels = {one.rule.name.casefold(), one.rule.resource.casefold(), *_GENERIC_NAMES}
    ending = one.rule.folder.removeprefix("*")
    parts = one.relative.split("/")
    if one.path == root and parts[0].casefold() in not_labels:
        parts = [root.resolve().parent.name]
    parts[-1] = parts[-1].removesuffix(ending) or parts[-1] if ending else parts[-1]
    places = [part for part in parts if part.casefold() not in not_labels]
    claims = claims_of_folder("/".join(parts))
    if claims.subject != "/".join(parts):  # it names sub- and ses-
        return claims
    if not places and one.path != root and (name := root.resolve().name).casefold() not in not_labels:
        places = [name]
    if not places:
        return Claims()
    session = joined_session(places[0], places[1]) if len(places) > 1 else None
    return Claims(subject=places[0], session=session)


def _plain(root: Path) -> tuple[list[Source], list[Finding]]:
    """Each folder of the root as the result of one subject; files beside them are not uploaded."""
    inside: defaultdict[str, list[tuple[Entry, str]]] = defaultdict(list)
    for entry in walk(root):
        top, slash, name = entry.relative.partition("/")
        inside[top if slash else ""].append((entry, name))
    loose = [entry for entry, _ in inside.pop("", [])]
    if not inside:
        return [_source(root, root.resolve().name, [(entry, entry.relative) for entry in loose], Claims())], []
    tops = sorted(inside, key=natural_key)
    sources = [_source(root / top, top, inside[top], claims_of_folder(top)) for top in tops]
    return sources, _ignored_files(loose, root, "outside the subject folders; push it separately, with --subject")


def _by_templates(root: Path, templates: Sequence[PathTemplate]) -> tuple[list[Source], list[Finding]]:
    of_folders = [template for template in templates if template.text.rstrip().endswith("/")]
    of_files = [template for template in templates if template not in of_folders]
    places: dict[tuple[Claims, str], list[tuple[Entry, str]]] = defaultdict(list)
    ignored: list[Entry] = []
    findings: list[Finding] = []
    for entry in walk(root):
        try:
            place = _place_of(entry, of_folders, of_files)
        except ValueError as error:
            findings.append(found("NII21", f"{entry.relative}: {error}", entry.path))
            continue
        if place is None:
            ignored.append(entry)
        else:
            claims, folder, name = place
            places[claims, folder].append((entry, name))
    sources = []
    for (claims, folder), members in places.items():
        shown = folder or members[0][0].relative
        sources.append(_source(root / folder if folder else members[0][0].path, shown, members, claims))
    return sources, [*findings, *_ignored_files(ignored, root, "matches no template; add a --template")]


def _place_of(
    entry: Entry, of_folders: Sequence[PathTemplate], of_files: Sequence[PathTemplate]
) -> tuple[Claims, str, str] | None:
    """Claims, folder and name in the resource of a file.

    Raises:
        ValueError: A template reads it in two ways.
    """
    parts = entry.relative.split("/")
    for depth in range(1, len(parts)):
        folder = "/".join(parts[:depth])
        for template in of_folders:
            labels = template.read(f"{folder}/")
            if labels is not None:
                return Claims(**labels), folder, "/".join(parts[depth:])
    for template in of_files:
        labels = template.read(entry.relative)
        if labels is not None:
            return Claims(**labels), "", entry.name
    return None


def _whole(path: Path, relative: str, content: Path, claims: Claims) -> Source:
    """Everything below *content* as one source."""
    return _source(path, relative, [(entry, entry.relative) for entry in walk(content)], claims)


def _source(path: Path, relative: str, members: Iterable[tuple[Entry, str]], claims: Claims) -> Source:
    files: dict[str, LocalFile] = {}
    findings: list[Finding] = []
    for entry, name in members:
        if entry.problem is not None:
            if not entry.path.is_dir():  # a folder called like an image is only a folder here
                findings.append(found("FIL02", f"{entry.relative}: {entry.problem[1]}", entry.path))
        elif name in files:
            why = f"the name {name} is already used by {files[name].path}; a template that ends in / keeps the folders"
            findings.append(found("FIL03", why, entry.path))
        else:
            files[name] = LocalFile(entry.path, name, entry.size_bytes, entry.mtime_ns)
    if not files and not findings:
        findings.append(found("FIL04", "the result contains no files; check the path", path))
    return Source(Kind.FILES, path, relative, tuple(files.values()), claims, findings=tuple(findings))


def _ignored_files(entries: Sequence[Entry], root: Path, why: str) -> list[Finding]:
    if not entries:
        return []
    names = listed([entry.relative for entry in entries])
    return [found("FIL01", f"not uploaded: {names}: {why}", root)]
