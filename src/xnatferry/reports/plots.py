"""Strip plots as inline SVG: one dot per subject, outliers labelled."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Final

from markupsafe import Markup, escape

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Robust z from which on a value is an outlier (Iglewicz and Hoaglin 1993, "How to detect and handle outliers").
LIMIT: Final = 3.5
#: Fewest values for outliers: a median of four is not reliable.
FEWEST: Final = 5
_WIDTH, _HEIGHT, _EDGE = 320, 64, 14
#: Colours where the page's styles do not reach into drawings (PDF); in a browser the styles decide.
_FILLS: Final = {"dot": "#8a96a6", "own": "#0b5cad", "out": "#b3261e"}
_SMALL: Final = 'fill="#5b6675" font-size="11"'
#: Width of a label; of outliers closer to each other one is labelled, all have a tooltip.
_NAME_PX: Final = 70


@dataclass(frozen=True, slots=True)
class Spread:
    """Values of one measure by subject.

    Attributes:
        values: In the order of the run.
    """

    values: Mapping[str, float]

    @property
    def middle(self) -> float:
        """The median."""
        return median(self.values.values())

    @property
    def width(self) -> float:
        """The median distance from the median, scaled to a standard deviation (times 1.4826)."""
        middle = self.middle
        return 1.4826 * median(abs(value - middle) for value in self.values.values())

    def z(self, subject: str) -> float | None:
        """Robust z of a subject; None where there are too few values, or where most of them are one number."""
        if subject not in self.values or len(self.values) < FEWEST or self.width == 0:
            return None
        return (self.values[subject] - self.middle) / self.width

    def is_outlier(self, subject: str) -> bool:
        """Whether its robust z is beyond `LIMIT`."""
        z = self.z(subject)
        return z is not None and abs(z) > LIMIT


def strip_plot(spread: Spread, *, own: str = "") -> Markup:
    """A line of dots: the median dashed, the usual range grey, outliers red with their names, *own* in blue."""
    values = spread.values
    low, high = min(values.values()), max(values.values())
    margin = (high - low) * 0.04 or abs(high) * 0.04 or 1.0
    low, high = low - margin, high + margin

    def at(value: float) -> float:
        return round(_EDGE + (min(max(value, low), high) - low) / (high - low) * (_WIDTH - 2 * _EDGE), 1)

    line = _HEIGHT - 26
    parts = [f'<line class="axis" stroke="#d8dce2" x1="{_EDGE}" x2="{_WIDTH - _EDGE}" y1="{line}" y2="{line}"/>']
    if len(values) >= FEWEST and spread.width:
        left, right = at(spread.middle - LIMIT * spread.width), at(spread.middle + LIMIT * spread.width)
        width = round(right - left, 1)
        parts.insert(0, f'<rect class="band" fill="#e8eaee" x="{left}" y="{line - 11}" width="{width}" height="22"/>')
    middle = at(spread.middle)
    dashes = 'class="middle" stroke="#5b6675" stroke-dasharray="3 3"'
    parts.append(f'<line {dashes} x1="{middle}" x2="{middle}" y1="{line - 12}" y2="{line + 12}"/>')
    outliers = [name for name in values if spread.is_outlier(name)]
    for name, value in sorted(values.items(), key=lambda pair: (pair[0] == own, pair[0] in outliers)):
        kind = "own" if name == own else "out" if name in outliers else "dot"
        who = name if own in {"", name} else "another subject"  # a page of one subject does not name others
        title, radius = escape(f"{who}: {shown_number(value)}"), 6 if name == own else 4.5
        circle = f'<circle class="{kind}" fill="{_FILLS[kind]}" cx="{at(value)}" cy="{line}" r="{radius}">'
        parts.append(f"{circle}<title>{title}</title></circle>")
    named = [own] if own in values else outliers
    taken: list[float] = []
    for name in named:
        if all(abs(at(values[name]) - other) > _NAME_PX for other in taken):
            taken.append(at(values[name]))
            parts.append(_name(name, at(values[name]), line - 15, out=name in outliers))
    parts.append(f'<text {_SMALL} x="{_EDGE}" y="{_HEIGHT - 4}">{shown_number(min(values.values()))}</text>')
    last = shown_number(max(values.values()))
    parts.append(f'<text {_SMALL} x="{_WIDTH - _EDGE}" y="{_HEIGHT - 4}" text-anchor="end">{last}</text>')
    return Markup(f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">{"".join(parts)}</svg>')  # noqa: S704  # escaped


def _name(name: str, x: float, y: float, *, out: bool) -> str:
    anchor = "start" if x < _WIDTH * 0.25 else "end" if x > _WIDTH * 0.75 else "middle"
    kind, fill = ("name", _FILLS["out"]) if out else ("ownname", _FILLS["own"])
    looks = f'class="{kind}" fill="{fill}" font-size="11" text-anchor="{anchor}"'
    return f'<text {looks} x="{x}" y="{y}">{escape(name)}</text>'


def shown_number(value: float) -> str:
    """A value as text: ``1 523 400``, ``2.481``, ``0.013``."""
    if abs(value) >= 10_000:
        return f"{value:,.0f}".replace(",", "\u202f")
    if abs(value) >= 100:
        return f"{value:.1f}"
    return f"{value:.4g}"
