"""Regular expressions of path templates: error messages, a time limit, and a test for ambiguity.

An expression that can read a path in two ways picks one by the order in which it tries things (as much as it can, the
left alternative first). `opposite` turns every such preference around. When both find the same fields, the
reading does not hang on preference. `match` ends after a time: some expressions take practically for ever on some text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from xnatferry.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import regex

#: Longest time in seconds that one expression may take for one path; ordinary ones take microseconds.
TIME_LIMIT_S: Final = 2.0

_QUANTIFIER: Final = re.compile(r"([*+?]|\{(?:\d+,\d*|,\d+)\})([?+]?)")
_WHOLE_GROUP: Final = re.compile(r"\(\?(?:P=\w+|#[^)]*|[aiLmsux]+)\)")
_GROUP_HEAD: Final = re.compile(r"\((?:\?(?:P?<\w+>|<?[=!]|[:>]|[aiLmsux]*(?:-[imsx]+)?:|(?P<condition>\(\w+\))))?")
_CLASS: Final = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\.", re.DOTALL)


def compiled(pattern: str, written: str) -> regex.Pattern[str]:
    """Compile *pattern*; *written* is how the user wrote it.

    Raises:
        UsageError: It is not a regular expression; the message says where.
    """
    import regex  # noqa: PLC0415  # slow to import, and few users write templates

    try:
        return regex.compile(pattern)
    except regex.error as error:
        place = "" if error.pos is None else f" after {pattern[: error.pos]!r}" if error.pos else " at its beginning"
        raise UsageError(f"template {written!r} is not a regular expression: {error.msg}{place}") from None


def match(expression: regex.Pattern[str], text: str, written: str) -> Mapping[str, str | None] | None:
    """The named groups when *expression* matches all of *text*, else None.

    Raises:
        UsageError: It took longer than `TIME_LIMIT_S`.
    """
    try:
        found = expression.fullmatch(text, timeout=TIME_LIMIT_S)
    except TimeoutError:
        raise UsageError(
            f"template {written!r} takes too long on {text!r}, because of a nested repetition such as"
            " (a|aa)+ or (.*)*; "
            "use [^/]+ or [^_]+ instead"
        ) from None
    return None if found is None else found.groupdict()


def opposite(pattern: str) -> str:
    r"""The same expression with every preference turned around.

    What takes as much as it can takes as little, and the reverse; alternatives are tried from right to left (unless
    groups are referred to by number, which would change).

    >>> opposite(r"(?P<a>x+|\+)_(y{2,}?)")
    '(?P<a>\\+|x+?)_(y{2,})'
    """
    text, _ = _alternatives(pattern, 0, turn=re.search(r"\\[1-9]", pattern) is None)
    return text


def _alternatives(pattern: str, at: int, *, turn: bool) -> tuple[str, int]:
    """The reversed alternatives up to the end of a group or of the pattern; and where it ends."""
    choices = [""]
    while at < len(pattern) and pattern[at] != ")":
        if pattern[at] == "|":
            choices.append("")
            at += 1
            continue
        piece, at = _piece(pattern, at, turn=turn)
        choices[-1] += piece
    return "|".join(reversed(choices) if turn else choices), at


def _piece(pattern: str, at: int, *, turn: bool) -> tuple[str, int]:
    for whole in (_ESCAPE, _CLASS, _WHOLE_GROUP):
        if (found := whole.match(pattern, at)) is not None:
            return found[0], found.end()
    if (found := _QUANTIFIER.match(pattern, at)) is not None:
        how = {"": "?", "?": "", "+": "+"}[found[2]]  # ++ gives nothing back, so there is no other way
        return found[1] + how, found.end()
    if (found := _GROUP_HEAD.match(pattern, at)) is not None:
        # The alternatives of (?(name)yes|no) are no choice.
        inner, end = _alternatives(pattern, found.end(), turn=turn and found["condition"] is None)
        return f"{found[0]}{inner})", end + 1
    return pattern[at], at + 1
