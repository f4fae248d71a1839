"""The bytes of a file without what ``--scrub`` removes: the only place where data is changed for an upload.

Never on disk. The same file and the same instruction give the same bytes on every computer, so that a second push finds
them there; so a ``.nii.gz`` is unpacked here, and compressed where it is sent.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from xnatferry.errors import FileChangedError
from xnatferry.sources.model import LocalFile, Scrub, ScrubKind
from xnatferry.sources.scrub_gzip import without_gzip_texts
from xnatferry.sources.scrub_json import without_keys
from xnatferry.sources.scrub_nifti import scrubbed_nifti, unpacked_image
from xnatferry.sources.scrub_table import without_columns
from xnatferry.xnat.digest import Hasher

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: First bytes of a FreeSurfer surface; a line of comment follows.
SURFACE_MAGIC: Final = b"\xff\xff\xfe"
_COMMENT_BYTES: Final = 4096
_LINE_BYTES: Final = 1 << 20


def scrubbed_pieces(pieces: Iterable[bytes], scrub: Scrub | None) -> Iterator[bytes]:
    """*pieces* of a file as *scrub* leaves them, unpacked where it says so; as they are without one.

    Raises:
        FileChangedError: The file has changed since the check.
    """
    if scrub is None:
        return iter(pieces)
    if scrub.kind is ScrubKind.NIFTI:
        plain = unpacked_image(pieces) if scrub.packed else pieces
        return scrubbed_nifti(plain, scrub.removed, scrub.shorter_bytes)
    if scrub.kind is ScrubKind.GZIP:
        return without_gzip_texts(pieces)
    return _freesurfer(pieces, scrub) if scrub.kind is ScrubKind.FREESURFER else _text(pieces, scrub)


def scrubbed_file(local: LocalFile, scrub: Scrub, pieces: Iterable[bytes]) -> LocalFile:
    """*local* with size and digest of what is left of it; *pieces* are its bytes as they are.

    Raises:
        FileChangedError: They are not what *scrub* was made for.
    """
    hasher = Hasher()
    if local.data is not None:
        data = b"".join(scrubbed_pieces(pieces, scrub))
        return replace(LocalFile.written(local.path, local.name, data), tree_path=local.tree_path)
    for piece in scrubbed_pieces(pieces, scrub):
        hasher.update(piece)
    return replace(local, size_bytes=hasher.size_bytes, digest=hasher.digest, scrub=scrub)


def whole_words(words: Iterable[bytes]) -> re.Pattern[bytes]:
    """Finds any of *words*, but not within a longer one."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rb"(?<![A-Za-z0-9])(" + b"|".join(map(re.escape, longest_first)) + rb")(?![A-Za-z0-9])")


def _text(pieces: Iterable[bytes], scrub: Scrub) -> Iterator[bytes]:
    """A sidecar or table, read completely: the check accepts none above 64 MiB."""
    without = without_columns if scrub.kind is ScrubKind.TABLE else without_keys
    try:
        yield without(b"".join(pieces), scrub.removed)
    except (ValueError, RecursionError) as error:
        raise FileChangedError(f"its text cannot be read ({error}); make the plan again") from error


def _freesurfer(pieces: Iterable[bytes], scrub: Scrub) -> Iterator[bytes]:
    words = {word.encode(): instead.encode() for word, instead in scrub.words}
    pattern = whole_words(words)

    def cleared(text: bytes) -> bytes:
        return pattern.sub(lambda found: words[found[0]], text)

    lines = _lines(pieces)
    first = next(lines, b"")
    if first.startswith(SURFACE_MAGIC):
        yield cleared(first[:_COMMENT_BYTES]) + first[_COMMENT_BYTES:]
        yield from lines
        return
    table = first.startswith((b"#", b"1 ")) and (b"#!ascii label" in first or b"Title Segmentation" in first)
    yield cleared(first)
    for text in lines:
        # Numbers of a table identify nobody: only its comments are changed.
        yield text if table and not text.startswith(b"#") else cleared(text)


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Lines with their ends; one that does not end within 1 MiB, as in binary files, comes in parts."""
    held = b""
    for piece in pieces:
        *lines, held = (held + piece).split(b"\n")
        yield from (line + b"\n" for line in lines)
        if len(held) > _LINE_BYTES:
            yield held
            held = b""
    if held:
        yield held
