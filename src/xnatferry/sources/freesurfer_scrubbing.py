"""Removes user, host and home folder from logs, statistics and surfaces of a FreeSurfer subject.

The words are read from the subject itself: comments of its statistics, its logs, the first line of its surfaces.
Command lines inside ``.mgz`` volumes and after the triangles of surfaces are not changed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Final

from xnatferry.checks.finding_catalog import found
from xnatferry.errors import FileChangedError
from xnatferry.sources.archives import ArchiveProblem, members
from xnatferry.sources.model import Kind, LocalFile, Scrub, ScrubKind, Source
from xnatferry.sources.scrubbing import SURFACE_MAGIC, scrubbed_file, whole_words
from xnatferry.wording import counted
from xnatferry.xnat.digest import PIECE_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import IO

_ENVIRONMENT: Final = re.compile(r"scripts/.*\.env(\W.*)?")
_TEXTS: Final = re.compile(r"(scripts|touch)/.+|.+\.(stats|log|lta|xfm|txt|label|cmd|yaml|touch|old|dat)")
_SURFACES: Final = re.compile(r"surf/[lr]h\.[\w.-]+")
_FACES: Final = frozenset({"mri/rawavg.mgz", "mri/orig.mgz", "mri/T1.mgz", "mri/nu.mgz", "mri/orig_nu.mgz"})
_LIMIT_BYTES: Final = 16 << 20
_COMMENT_BYTES: Final = 4096

_USER: Final = re.compile(
    rb"(?m)(?:^#?[ \t]*user[ \t]+|\bUser:[ \t]*|created by[ \t]+|^USER[ =]|^LOGNAME[ =]|/home/|/Users/)([\w.-]+)"
)
_HOST: Final = re.compile(
    rb"(?m)(?:^#?[ \t]*hostname[ \t]+|\bMachine:[ \t]*|^HOST(?:NAME)?[ =]|^(?:Linux|Darwin)[ \t]+)([\w.-]+)"
)
#: Generic account and host names.
_GENERIC: Final = frozenset(
    {"root", "user", "users", "freesurfer", "fsuser", "nobody", "admin", "ubuntu", "localhost", "host", "linux",
     "unknown", "none", "x86_64", "kernel", "version", "shared", "data", "home"}
)  # fmt: skip
_SHORTEST: Final = 3


def holds_faces(source: Source) -> bool:
    """Whether it is a FreeSurfer subject with volumes of the whole head."""
    return source.kind is Kind.FREESURFER and any(
        _inner(file) in _FACES or _inner(file).startswith("mri/orig/") for file in source.files
    )


def scrubbed_subject(source: Source) -> Source:
    """A subject whose texts are uploaded without user, host and home folder, and without its environment files."""
    kept = [file for file in source.files if not _ENVIRONMENT.fullmatch(_inner(file))]
    left = [_inner(file) for file in source.files if _ENVIRONMENT.fullmatch(_inner(file))]
    words: dict[str, str] = {}
    texts: list[LocalFile] = []
    try:
        for file, content in _contents(source, kept):
            texts.append(file)
            _collect(content, words)
        words = {word: instead for word, instead in words.items() if word != source.path.name.partition(".")[0]}
        changed = _changed(source, texts, words) if words else {}
    except (OSError, FileChangedError, ArchiveProblem) as error:
        why = f"the subject cannot be read, so it cannot be scrubbed ({error}); copy it again from its source"
        return replace(source, findings=(*source.findings, found("PRV12", why, source.path)))
    if not left and not changed:
        return source
    files = tuple(changed.get(file.name, file) for file in kept)
    done = []
    if left:
        done.append(f"not uploaded: {', '.join(left)}")
    if changed:
        names = ", ".join(sorted(name.partition("/")[2] for name in changed)[:3]) + (" ..." if len(changed) > 3 else "")
        done.append(f"user, host and home folder replaced in {counted(len(changed), 'file')} ({names})")
    why = (
        f"scrubbed: {'; '.join(done)}. Not removed: command lines inside volumes and surfaces, dates, other folders."
        " The tests of operating system and files of the BBRC validator fail on a scrubbed subject"
    )
    rest = tuple(finding for finding in source.findings if finding.id != "FS15")
    return replace(source, files=files, findings=(*rest, found("PRV11", why, source.path)))


def _inner(file: LocalFile) -> str:
    return file.name.partition("/")[2]


def _is_text(file: LocalFile) -> bool:
    inner = _inner(file)
    if _SURFACES.fullmatch(inner):
        return True
    return file.size_bytes <= _LIMIT_BYTES and _TEXTS.fullmatch(inner) is not None


def _contents(source: Source, files: list[LocalFile]) -> Iterator[tuple[LocalFile, bytes]]:
    """Every text file completely, every surface with its first line."""
    for file, read in _opened(source, [file for file in files if _is_text(file)]):
        surface = _SURFACES.fullmatch(_inner(file))
        content = b"".join(read(_COMMENT_BYTES if surface else PIECE_BYTES, 1 if surface else None))
        if not surface:
            yield file, content
        elif content.startswith(SURFACE_MAGIC):
            yield file, content.partition(b"\n")[0]


def _opened(
    source: Source, files: list[LocalFile]
) -> Iterator[tuple[LocalFile, Callable[[int, int | None], Iterator[bytes]]]]:
    """Each of *files* with a function that reads its pieces; in the order of the archive if it is one."""
    wanted: dict[str, list[LocalFile]] = {}
    for file in files:
        if file.member is not None:
            wanted.setdefault(file.member, []).append(file)
            continue
        with file.path.open("rb") as stream:
            yield file, _reader(stream)
    if not wanted:
        return
    for member, packed in members(source.path):
        for file in wanted.get(member.name, ()) if packed is not None else ():
            yield file, _reader(packed)  # type: ignore[arg-type]  # there is one


def _reader(stream: IO[bytes]) -> Callable[[int, int | None], Iterator[bytes]]:
    def read(piece_bytes: int, most: int | None) -> Iterator[bytes]:
        count = 0
        while (most is None or count < most) and (piece := stream.read(piece_bytes)):
            count += 1
            yield piece

    return read


def _collect(content: bytes, words: dict[str, str]) -> None:
    for pattern, instead in ((_USER, "user"), (_HOST, "host")):
        for found_word in set(pattern.findall(content)):
            word = found_word.decode("ascii", "ignore").rstrip(".")
            if len(word) >= _SHORTEST and word.lower() not in _GENERIC and not word.isdecimal():
                words.setdefault(word, instead)


def _changed(source: Source, texts: list[LocalFile], words: Mapping[str, str]) -> dict[str, LocalFile]:
    """Those of *texts* that contain one of *words*, by name, as they are uploaded."""
    any_word = whole_words(word.encode() for word in words)
    kinds = tuple(sorted(set(words.values()), reverse=True))
    pairs = tuple(sorted(words.items()))
    changed: dict[str, LocalFile] = {}
    for file, read in _opened(source, texts):
        if _SURFACES.fullmatch(_inner(file)):
            first = next(read(_COMMENT_BYTES, 1), b"")
            text = first.partition(b"\n")[0]
        else:
            first = text = b"".join(read(PIECE_BYTES, None))
        if any_word.search(text):
            scrub = Scrub(ScrubKind.FREESURFER, kinds, file.size_bytes, words=pairs)
            changed[file.name] = scrubbed_file(file, scrub, chain([first], read(PIECE_BYTES, None)))
    return changed
