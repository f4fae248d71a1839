"""How many sessions of which modality a project got over time, as bars of an inline SVG."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Bar", "Timeline", "timeline_of"]

_MOST_BARS: Final = 48
#: Colours are classes of the stylesheet (``series-0`` ...), so that they follow light and dark.
_SERIES: Final = 6


@dataclass(frozen=True, slots=True)
class Bar:
    """A month or year.

    Attributes:
        name: ``2024-05`` or ``2024``.
        total: Sessions in it.
        parts: Number of the series, name of the modality, sessions.
    """

    name: str
    total: int
    parts: Sequence[tuple[int, str, int]]


@dataclass(frozen=True, slots=True)
class Timeline:
    """All bars, without gaps, with their legend.

    Attributes:
        bars: From the first to the last month (or year, when there are many months).
        types: Data type and the number of its series, the most frequent first.
        highest: Sessions in the highest bar, at least 1.
        unit: ``month`` or ``year``.
    """

    bars: Sequence[Bar]
    types: Sequence[tuple[str, int]]
    highest: int
    unit: str


def timeline_of(months: Sequence[tuple[str, str, int]]) -> Timeline | None:
    """The bars for (month, data type, number); None without a dated session."""
    if not months:
        return None
    totals: dict[str, int] = {}
    for _, type_name, number in months:
        totals[type_name] = totals.get(type_name, 0) + number
    types = [
        (name, min(place, _SERIES - 1)) for place, name in enumerate(sorted(totals, key=lambda name: -totals[name]))
    ]
    names, unit = _months(months[0][0], months[-1][0]), "month"
    if len(names) > _MOST_BARS:
        names, unit = [str(year) for year in range(int(months[0][0][:4]), int(months[-1][0][:4]) + 1)], "year"
    names = names[-_MOST_BARS:]
    counts: dict[str, dict[str, int]] = {name: {} for name in names}
    for month, type_name, number in months:
        mine = counts.get(month[: len(names[0])])
        if mine is not None:
            mine[type_name] = mine.get(type_name, 0) + number
    bars = [
        Bar(name, sum(mine.values()), [(series, one, mine[one]) for one, series in types if one in mine])
        for name, mine in counts.items()
    ]
    return Timeline(bars, types, max(1, *(bar.total for bar in bars)), unit)


def _months(first: str, last: str) -> list[str]:
    start, end = (int(one[:4]) * 12 + int(one[5:7]) - 1 for one in (first, last))
    return [f"{month // 12:04d}-{month % 12 + 1:02d}" for month in range(start, end + 1)]
