"""Members taken out of JSON text, everything else byte for byte as it was written."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_BLANK: Final = re.compile(r"[ \t\r\n]*")
_DECODER: Final = json.JSONDecoder()


def without_keys(content: bytes, keys: Collection[str]) -> bytes:
    """JSON without the members called *keys*, at any depth; an object is kept without such members of its own.

    Args:
        content: JSON in UTF-8, with or without a byte order mark.
        keys: Names as written.

    Raises:
        ValueError: It is no JSON.
    """
    mark = b"\xef\xbb\xbf" if content.startswith(b"\xef\xbb\xbf") else b""
    text = content[len(mark) :].decode("utf-8")
    cuts: list[tuple[int, int]] = []
    _value(text, _blank(text, 0), frozenset(keys), cuts)
    kept, at = [], 0
    for start, end in sorted(cuts):
        if start >= at:  # a cut within a cut is gone already
            kept.append(text[at:start])
        at = max(at, end)
    return mark + ("".join(kept) + text[at:]).encode("utf-8")


def _blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


def _value(text: str, at: int, keys: frozenset[str], cuts: list[tuple[int, int]]) -> int:
    """Pass one value; returns where it ends."""
    if text.startswith("{", at):
        return _object(text, at, keys, cuts)
    if text.startswith("[", at):
        at = _blank(text, at + 1)
        while not text.startswith("]", at):
            at = _blank(text, _value(text, at, keys, cuts))
            if text.startswith(",", at):
                at = _blank(text, at + 1)
        return at + 1
    return _DECODER.raw_decode(text, at)[1]


def _object(text: str, at: int, keys: frozenset[str], cuts: list[tuple[int, int]]) -> int:
    """Parse an object; a member is cut with the comma after it, the last ones with the comma before them."""
    at = _blank(text, at + 1)
    kept_to = at  # end of the last member that is kept
    any_kept = False
    open_cut: int | None = None
    while not text.startswith("}", at):
        start = at
        key, at = _DECODER.raw_decode(text, at)
        at = _blank(text, at)
        if not text.startswith(":", at):
            raise ValueError(f"no ':' at character {at}")
        at = _blank(text, at + 1)
        is_object = text.startswith("{", at)
        at = end = _value(text, at, keys, cuts)
        at = _blank(text, at)
        if text.startswith(",", at):
            at = _blank(text, at + 1)
        if key in keys and not is_object:
            open_cut = start if open_cut is None else open_cut
            continue
        if open_cut is not None:
            cuts.append((open_cut, start))
            open_cut = None
        kept_to, any_kept = end, True
    if open_cut is not None:
        cuts.append((kept_to if any_kept else open_cut, _before_blank(text, at)))
    return at + 1


def _before_blank(text: str, at: int) -> int:
    """Where the blanks before *at* begin."""
    while at and text[at - 1] in " \t\r\n":
        at -= 1
    return at
