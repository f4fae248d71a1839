"""Histograms as inline SVG: frequency of values, outliers labelled."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

from xnatferry.checks.finding_catalog import listed
from xnatferry.reports.plots import FEWEST, LIMIT, Spread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

#: A value is an outlier only if at most one in ten (or a single one) has it, and most share another value.
_ONE_IN: Final = 10
#: Amounts that differ from the median by less than this fraction are no outliers.
_LEAST: Final = 0.05
_BINS: Final = 16
_MOST_ROWS: Final = 8
_WIDTH, _EDGE, _ROW, _LABEL = 320, 4, 20, 118
_COLUMNS, _FOOT, _HEAD = 64, 18, 16
_NAME_LENGTH: Final = 22


@dataclass(frozen=True, slots=True)
class Kinds:
    """A measure with few values, such as a voxel size: each as text, by the name of the scan or resource."""

    values: Mapping[str, str]

    @property
    def groups(self) -> list[tuple[str, list[str]]]:
        """Values with the names of those that have them, the most frequent first."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for name, value in self.values.items():
            found[value].append(name)
        return sorted(found.items(), key=lambda group: (-len(group[1]), group[0]))

    @property
    def labels_outliers(self) -> bool:
        """Whether the drawing itself labels all outliers."""
        odd = self.odd()
        return len(odd) < 2 and all(len(name) <= _NAME_LENGTH for name in odd)

    def odd(self) -> list[str]:
        """Names of those with a rare value, where most share another one; none among fewer than `FEWEST`."""
        groups, number = self.groups, len(self.values)
        if number < FEWEST or 2 * len(groups[0][1]) <= number:
            return []
        return [name for _, names in groups[1:] if len(names) <= max(1, number // _ONE_IN) for name in names]


@dataclass(frozen=True, slots=True)
class Amounts:
    """A measure with many values, such as a size, by the name of the scan or resource."""

    values: Mapping[str, float]

    def odd(self) -> list[str]:
        """Names of those beyond `LIMIT` robust standard deviations; where most are one number, the few others."""
        spread = Spread(self.values)
        if len(self.values) < FEWEST:
            return []
        far = [name for name, value in self.values.items() if abs(value - spread.middle) > _LEAST * abs(spread.middle)]
        if spread.width == 0:
            return far if len(far) <= max(1, len(self.values) // _ONE_IN) else []
        return [name for name in far if abs(spread.z(name) or 0) > LIMIT]


def rows_plot(kinds: Kinds) -> Markup:
    """One bar for each value, the rare ones red with the name of who has it; values beyond eight are counted together.

    Raises:
        ValueError: There is no value at all.
    """
    if not kinds.values:
        raise ValueError("nothing to draw")
    odd, groups = set(kinds.odd()), kinds.groups
    rows: list[tuple[str, list[str]]] = groups[:_MOST_ROWS]
    if rest := groups[_MOST_ROWS:]:
        rows = [*rows, (f"{len(rest)} other values", [name for _, names in rest for name in names])]
    most, width = len(groups[0][1]), _WIDTH - _LABEL - 44
    parts = []
    for place, (value, names) in enumerate(rows):
        y, length = place * _ROW, max(3.0, round(len(names) / most * width, 1))
        outliers = odd.intersection(names)
        kind = "bar out" if outliers else "bar"
        title = f"<title>{escape(value)}: {escape(listed(names, 3))}</title>"
        parts.append(f'<text class="label" x="{_LABEL - 8}" y="{y + 14}" text-anchor="end">{_short(value, 20)}</text>')
        parts.append(
            f'<rect class="{kind}" x="{_LABEL}" y="{y + 3}" width="{length}" height="14" rx="2">{title}</rect>'
        )
        text = f"{len(names)}  {_short(', '.join(sorted(outliers)), _NAME_LENGTH)}" if outliers else f"{len(names)}"
        style = "name" if outliers else "count"
        parts.append(f'<text class="{style}" x="{_LABEL + length + 6}" y="{y + 14}">{text}</text>')
    return _svg(len(rows) * _ROW, parts)


def columns_plot(amounts: Amounts, shown: Callable[[float], str]) -> Markup:
    """Columns of equal width from the smallest to the largest amount, those with an odd one red, with its name.

    Args:
        amounts: What is drawn.
        shown: Puts an amount into words.

    Raises:
        ValueError: There is no amount at all.
    """
    if not amounts.values:
        raise ValueError("nothing to draw")
    low, high = min(amounts.values.values()), max(amounts.values.values())
    bins: list[list[str]] = [[] for _ in range(_BINS if high > low else 1)]
    for name, value in amounts.values.items():
        place = int((value - low) / (high - low) * len(bins)) if high > low else 0
        bins[min(place, len(bins) - 1)].append(name)
    odd, most, floor = set(amounts.odd()), max(map(len, bins)), _HEAD + _COLUMNS
    step = (_WIDTH - 2 * _EDGE) / _BINS
    parts = [f'<line class="axis" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{floor}" y2="{floor}"/>']
    taken: list[float] = []
    for place, names in enumerate(bins):
        if not names:
            continue
        x, height = round(_EDGE + place * step + 1, 1), max(3.0, round(len(names) / most * _COLUMNS, 1))
        outliers, y = sorted(odd.intersection(names)), round(floor - height, 1)
        title = f"<title>{escape(listed(names, 3))}</title>"
        box = f'x="{x}" y="{y}" width="{round(step - 2, 1)}" height="{height}"'
        parts.append(f'<rect class="{"bar out" if outliers else "bar"}" {box} rx="1.5">{title}</rect>')
        if outliers and all(abs(x - other) > _WIDTH / 2 for other in taken):
            taken.append(x)
            more = f" +{len(outliers) - 1}" if len(outliers) > 1 else ""
            parts.append(_name(f"{_cut(outliers[0], _NAME_LENGTH - len(more))}{more}", x + step / 2, y - 5))
    parts.append(f'<text x="{_EDGE}" y="{floor + 14}">{escape(shown(low))}</text>')
    if high > low:
        parts.append(f'<text x="{_WIDTH - _EDGE}" y="{floor + 14}" text-anchor="end">{escape(shown(high))}</text>')
        middle = f"median {shown(Spread(amounts.values).middle)}"
        parts.append(f'<text x="{_WIDTH / 2}" y="{floor + 14}" text-anchor="middle">{escape(middle)}</text>')
    return _svg(floor + _FOOT, parts)


def _name(name: str, x: float, y: float) -> str:
    anchor = "start" if x < _WIDTH / 3 else "end" if x > _WIDTH * 2 / 3 else "middle"
    text = _short(name, _NAME_LENGTH)
    return f'<text class="name" x="{round(x, 1)}" y="{max(10, y)}" text-anchor="{anchor}">{text}</text>'


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}\u2026"


def _short(text: str, length: int) -> str:
    return str(escape(_cut(text, length)))


def _svg(height: float, parts: Sequence[str]) -> Markup:
    inner = "".join(parts)
    return Markup(f'<svg viewBox="0 0 {_WIDTH} {height}" role="img">{inner}</svg>')  # noqa: S704  # escaped above
