"""Finds the routes of a path by walking a tree of path segments, independent of the number of routes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from xnatferry.server.request_scope import Route

_VARIABLE: Final = re.compile(r"\{(\w+)(\*?)\}")


@dataclass(slots=True)
class _Node:
    """What follows one beginning of a path.

    Attributes:
        words: The next segment, by its word.
        variable: The next segment, whatever it is.
        ends: Routes that end here: their place in the order, the names of their variables, and themselves.
        rests: The same, for routes that take everything that follows.
    """

    words: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    ends: list[tuple[int, Sequence[str], Route]] = field(default_factory=list)
    rests: list[tuple[int, Sequence[str], Route]] = field(default_factory=list)


class Router:
    """Finds routes by path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._top = _Node()
        for place, route in enumerate(routes):
            self._add(place, route)

    def _add(self, place: int, route: Route) -> None:
        node, names = self._top, []
        for segment in route.template.split("/")[1:]:
            variable = _VARIABLE.fullmatch(segment)
            if variable is None:
                node = node.words.setdefault(segment, _Node())
                continue
            names.append(variable[1])
            if variable[2]:
                node.rests.append((place, names, route))
                return
            node.variable = node.variable or _Node()
            node = node.variable
        node.ends.append((place, names, route))

    def match(self, path: str) -> list[tuple[Route, dict[str, str]]]:
        """All routes that fit *path* (still percent-encoded), in their order, with the raw values of their variables.

        A trailing slash does not matter; a last ``{name*}`` takes the rest of the path with its slashes.
        """
        found = sorted(_walk(self._top, path.split("/")[1:], 0, ()), key=lambda one: one[0])
        return [(route, dict(zip(names, values, strict=True))) for _, names, route, values in found]


def _walk(
    node: _Node, segments: list[str], at: int, values: tuple[str, ...]
) -> Iterator[tuple[int, Sequence[str], Route, tuple[str, ...]]]:
    for place, names, route in node.rests:
        yield place, names, route, (*values, "/".join(segments[at:]))
    left = len(segments) - at
    if left == 0 or (left == 1 and not segments[at]):
        for place, names, route in node.ends:
            yield place, names, route, values
    if left == 0:
        return
    segment = segments[at]
    if (below := node.words.get(segment)) is not None:
        yield from _walk(below, segments, at + 1, values)
    if node.variable is not None and segment:
        yield from _walk(node.variable, segments, at + 1, (*values, segment))
