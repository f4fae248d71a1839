"""Limits of what a value in a header, a sidecar or a table can be. A value outside is a mistake, mostly of the unit.

They are wide on purpose: they tell seconds from milliseconds and tesla from gauss, not usual from unusual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Limits(NamedTuple):
    """Values above *low*, or from *low* if it is *included*, to *high*, in *unit*."""

    low: float
    high: float
    unit: str
    included: bool = False


_TIME: Final = _Limits(0, 100, "s")
#: Limits by BIDS name; ``VoxelSize``, ``age``, ``weight`` and ``height`` are those of headers and tables.
LIMITS: Final[Mapping[str, _Limits]] = {
    **dict.fromkeys(("RepetitionTime", "RepetitionTimeExcitation", "RepetitionTimePreparation"), _TIME),
    **dict.fromkeys(("EchoTime", "EchoTime1", "EchoTime2", "TotalReadoutTime"), _Limits(0, 1, "s")),
    **dict.fromkeys(("EffectiveEchoSpacing", "DwellTime"), _Limits(0, 0.1, "s")),
    **dict.fromkeys(("InversionTime", "PostLabelingDelay"), _Limits(0, 30, "s", included=True)),
    "SliceTiming": _Limits(0, 100, "s", included=True),
    "FrameDuration": _Limits(0, 86_400, "s"),
    "FrameTimesStart": _Limits(-86_400, 864_000, "s"),
    "FlipAngle": _Limits(0, 360, "degrees"),
    "MagneticFieldStrength": _Limits(0, 25, "T"),
    "PixelBandwidth": _Limits(0, 1e7, "Hz"),
    "VoxelSize": _Limits(0, 500, "mm"),
    "age": _Limits(0, 150, "years", included=True),
    "weight": _Limits(0, 1000, "kg"),
    "height": _Limits(0, 1000, "cm"),
}


def is_possible(name: str, value: float) -> bool:
    """Whether a value can be meant; never NaN."""
    low, high, _, included = LIMITS[name]
    return low < value <= high or (included and value == low)


def possible_values(sidecar: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The sidecar without values that cannot be, and a text about each: ``RepetitionTime is 2300 s ...``."""
    kept, problems = dict(sidecar), []
    for name in LIMITS.keys() & sidecar.keys():
        given = sidecar[name] if isinstance(sidecar[name], list) else [sidecar[name]]
        numbers = (value for value in given if isinstance(value, int | float) and not isinstance(value, bool))
        if (wrong := next((value for value in numbers if not is_possible(name, value)), None)) is not None:
            del kept[name]
            limits = LIMITS[name]
            shown = str(wrong)[:20]
            why = f"{name} is {shown} {limits.unit}, possible is up to {limits.high:g} {limits.unit}"
            in_ms = limits.unit == "s" and wrong > 0 and is_possible(name, wrong / 1000)
            problems.append(f"{why}{' (BIDS uses seconds, not milliseconds)' if in_ms else ''}; no field gets it")
    return kept, sorted(problems)
