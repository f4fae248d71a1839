"""Path templates: ``{subject}/{session}/{type}.nii.gz`` says what each part of a path means."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from xnatferry.errors import UsageError
from xnatferry.sources.base import Claims

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AmbiguousPathError", "PathTemplate"]

_FIELDS: Final = tuple(field.name for field in fields(Claims))
_PLACEHOLDER: Final = re.compile(
    r"\{(?P<name>\w+)(?P<optional>\?)?(?::(?P<kind>int|re\((?P<pattern>(?:[^()]|\([^()]*\))*)\)))?\}"
)


class AmbiguousPathError(ValueError):
    """A path that a template can read in more than one way.

    Attributes:
        readings: Two of the readings.
    """

    def __init__(self, readings: tuple[Mapping[str, str], Mapping[str, str]]) -> None:
        super().__init__("a path with two readings")
        self.readings = readings


@dataclass(frozen=True, slots=True)
class PathTemplate:
    """A compiled template.

    ``{field}`` takes one or more characters of one path part, ``{field?}`` also none, ``{field:int}`` digits,
    ``{field:re(...)}`` what the expression says. ``*`` stands for any characters of one path part, ``**/`` for any
    number of folders. Everything else is literal, and the whole path must match; a leading ``/`` means nothing. A field
    that stands twice must have one value.

    Attributes:
        text: The template as written.
    """

    text: str
    _short: re.Pattern[str]
    _long: re.Pattern[str]

    @classmethod
    def compile(cls, text: str) -> PathTemplate:
        """Compile a template.

        Raises:
            UsageError: It names an unknown field, or cannot be understood.
        """
        body = text.strip().lstrip("/")
        if not body:
            raise UsageError(
                "an empty template matches nothing; write something like {subject}/{session}/{type}.nii.gz"
            )
        try:
            return cls(text, re.compile(_expression(body, "?")), re.compile(_expression(body, "")))
        except re.error as error:
            raise UsageError(f"template {text!r} cannot be used: {error}") from error

    def read(self, relative: str) -> dict[str, str] | None:
        """The fields that *relative* gives, or None when it does not match.

        Raises:
            AmbiguousPathError: Fields that take as little as they can, and as much as they can, read it differently.
        """
        short, long = self._short.fullmatch(relative), self._long.fullmatch(relative)
        if short is None or long is None:
            return None
        readings = tuple({name: value for name, value in match.groupdict().items() if value} for match in (short, long))
        if readings[0] != readings[1]:
            raise AmbiguousPathError((readings[0], readings[1]))
        return readings[0]


def _expression(body: str, lazy: str) -> str:
    """The regular expression of a template; *lazy* is ``?`` for fields that take as little as they can."""
    pieces: list[str] = []
    seen: set[str] = set()
    at = 0
    for match in _PLACEHOLDER.finditer(body):
        pieces.append(_literal(body[at : match.start()], lazy))
        pieces.append(_group(match, seen, lazy))
        at = match.end()
    pieces.append(_literal(body[at:], lazy))
    return "".join(pieces)


def _group(match: re.Match[str], seen: set[str], lazy: str) -> str:
    name = match["name"]
    if name not in _FIELDS:
        raise UsageError(f"template field {{{name}}} is unknown; known are {', '.join(_FIELDS)}")
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    if match["pattern"] is not None:
        inner = match["pattern"]
    elif match["kind"] == "int":
        inner = f"[0-9]+{lazy}"
    else:
        inner = f"[^/]{'*' if match['optional'] else '+'}{lazy}"
    return f"(?P<{name}>{inner})" + ("?" if match["optional"] else "")


def _literal(text: str, lazy: str) -> str:
    if "{" in text or "}" in text:
        raise UsageError(f"template part {text!r} cannot be understood; a field is written {{subject}} or {{scan:int}}")
    pieces = re.split(r"(\*\*/|\*)", text)
    patterns = {"**/": f"(?:[^/]+/)*{lazy}", "*": f"[^/]*{lazy}"}
    return "".join(patterns.get(piece) or re.escape(piece) for piece in pieces)
