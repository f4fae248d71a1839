"""Path templates: ``{subject}/{session}/{type}.nii.gz`` says what each part of a path means."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from xnatferry.errors import UsageError
from xnatferry.sources.model import Claims
from xnatferry.sources.regex_template import compiled, match, opposite

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import regex

#: What a template may name; the others come from BIDS only.
_FIELDS: Final = tuple(field.name for field in fields(Claims) if field.name not in {"scan_type", "group", "pipeline"})
_EXPRESSION: Final = "re:"
_PLACEHOLDER: Final = re.compile(
    r"\{(?P<name>\w+)(?P<optional>\?)?(?::(?P<kind>int|re\((?P<pattern>(?:[^()]|\([^()]*\))*)\)))?\}"
)


class AmbiguousPathError(ValueError):
    """A path that a template can read in more than one way.

    Attributes:
        readings: Two of the readings.
    """

    def __init__(self, template: str, readings: tuple[Mapping[str, str], Mapping[str, str]]) -> None:
        shown = " or ".join(
            ", ".join(f"{name} {value!r}" for name, value in reading.items()) or "nothing" for reading in readings
        )
        field = next(name for name in (*readings[0], *readings[1]) if readings[0].get(name) != readings[1].get(name))
        example = f"(?P<{field}>[^_]+)" if template.startswith(_EXPRESSION) else f"{{{field}:re([^_]+)}}"
        super().__init__(f"{template} reads the path as {shown}; restrict {field}, for example {example}")
        self.readings = readings


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A compiled template.

    ``{field}`` takes one or more characters of one path part, ``{field?}`` also none, ``{field:int}`` digits,
    ``{field:re(...)}`` what the expression says. ``*`` stands for any characters of one path part, ``**/`` for any
    number of folders. Everything else is literal, and the whole path must match; a leading ``/`` means nothing. A field
    that occurs twice must have one value. A template that begins with ``re:`` is a regular expression for the whole
    path, whose named groups ``(?P<subject>...)`` are the fields.

    Attributes:
        text: The template as written.
    """

    text: str
    _first: regex.Pattern[str]
    _last: regex.Pattern[str]

    @classmethod
    def compile(cls, text: str) -> PathTemplate:
        """Compile a template.

        Raises:
            UsageError: It names an unknown field, or has a syntax error; the message says where.
        """
        body = text.strip()
        written = body.removeprefix(_EXPRESSION) if body.startswith(_EXPRESSION) else body.lstrip("/")
        if not written:
            raise UsageError("the template is empty; use for example {subject}/{session}/{type}.nii.gz")
        pattern = written if body.startswith(_EXPRESSION) else _pattern_of(written)
        first = compiled(pattern, written)
        _check_groups(text, first.groupindex)
        return cls(text, first, compiled(opposite(pattern), written))

    def read(self, relative: str) -> dict[str, str] | None:
        """The fields that *relative* gives, or None when it does not match.

        Raises:
            AmbiguousPathError: Preferring less to more, or the last alternative to the first, reads it differently.
            UsageError: The expression takes too long.
        """
        first = match(self._first, relative, self.text)
        if first is None:
            return None
        last = match(self._last, relative, self.text) or {}
        one, other = _filled(first), _filled(last)
        if one != other:
            raise AmbiguousPathError(self.text, (one, other))
        return one


def _filled(groups: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in groups.items() if value}


def _check_groups(text: str, names: Iterable[str]) -> None:
    if unknown := [name for name in names if name not in _FIELDS]:
        raise UsageError(f"template {text!r}: {_unknown(unknown[0])}")
    if text.strip().startswith(_EXPRESSION) and not list(names):
        raise UsageError(f"template {text!r} has no field; use named groups such as (?P<subject>[^/]+)")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _FIELDS, 1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"unknown field {name!r}; {meant}Known fields are {', '.join(_FIELDS)}"


def _pattern_of(body: str) -> str:
    """The regular expression of a format string; fields take as little as they can."""
    pieces: list[str] = []
    seen: set[str] = set()
    at = 0
    for found in _PLACEHOLDER.finditer(body):
        pieces += [_literal(body, at, found.start()), _group(body, found, seen)]
        at = found.end()
    return "".join([*pieces, _literal(body, at, len(body))])


def _group(body: str, found: re.Match[str], seen: set[str]) -> str:
    name = found["name"]
    if name not in _FIELDS:
        raise UsageError(f"template {body!r}: {_unknown(name)}")
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    if (inner := found["pattern"]) is not None:
        if compiled(inner, inner).groupindex:
            why = "names a group; use (...) without a name"
            raise UsageError(f"template {body!r}: the expression {inner!r} of {name} {why}")
    elif found["kind"] == "int":
        inner = "[0-9]+?"
    else:
        inner = f"[^/]{'*' if found['optional'] else '+'}?"
    return f"(?P<{name}>{inner})" + ("??" if found["optional"] else "")


def _literal(body: str, start: int, end: int) -> str:
    text = body[start:end]
    if (brace := re.search(r"[{}]", text)) is not None:
        shown = body[start + brace.start() :]
        raise UsageError(
            f"template {body!r}: syntax error at {shown!r} (character {start + brace.start() + 1}); a field is written "
            "{subject}, {type?}, {scan:int} or {subject:re([A-Z]+[0-9]+)}"
        )
    pieces = re.split(r"(\*\*/|\*)", text)
    patterns = {"**/": "(?:[^/]+/)*?", "*": "[^/]*?"}
    return "".join(patterns.get(piece) or re.escape(piece) for piece in pieces)
