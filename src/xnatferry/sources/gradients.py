"""Gradient tables of diffusion images (``.bval``, ``.bvec``; FSL's text layout, as BIDS asks for)."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Below this b-value (s/mm²) a volume is not diffusion-weighted.
B0_LIMIT = 50.0


class GradientError(ValueError):
    """A table that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Gradients:
    """The b-values of one image.

    Attributes:
        bvals: s/mm², one per volume.
    """

    bvals: tuple[float, ...]

    def attributes(self) -> dict[str, str]:
        """Fields of ``xnat:mrScanData``: weighted volumes, largest b-value, shells rounded to 50 s/mm²."""
        shells = sorted({round(value / 50) * 50 for value in self.bvals})
        return {
            "parameters/dtiAcqCount": str(sum(value > B0_LIMIT for value in self.bvals)),
            "parameters/diffusion/bMax": f"{max(self.bvals):g}",
            "parameters/diffusion/bValues": ",".join(map(str, shells)),
        }


def read_bvals(content: bytes) -> Gradients:
    """Read b-values in one row or one column.

    Raises:
        GradientError: They are no numbers, or there are none.
    """
    rows = _numbers(content)
    if len(rows) > 1 and any(len(row) > 1 for row in rows):
        raise GradientError("the table has several rows, expected is one row with one b-value per volume")
    bvals = tuple(value for row in rows for value in row)
    if not all(math.isfinite(value) and value >= 0 for value in bvals):
        raise GradientError("a b-value is negative or not finite")
    return Gradients(bvals)


def read_bvecs(content: bytes) -> tuple[list[tuple[float, float, float]], bool]:
    """Read gradient directions; also whether the table has three rows (as BIDS and FSL expect) or three columns.

    A direction may be NaN: that is how some tools write the volumes without one.

    Raises:
        GradientError: They are no numbers, or neither rows nor columns are three.
    """
    rows = _numbers(content)
    lengths = {len(row) for row in rows}
    if len(rows) == 3 and len(lengths) == 1:
        return [(x, y, z) for x, y, z in zip(*rows, strict=True)], True
    if lengths == {3}:
        return [(x, y, z) for x, y, z in rows], False
    raise GradientError(
        f"the table has {len(rows)} rows of {sorted(lengths)} numbers, expected are three rows with"
        " one number per volume"
    )


def _numbers(content: bytes) -> list[list[float]]:
    try:
        lines = content.decode("utf-8-sig").replace(",", " ").splitlines()
        rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
    except ValueError as error:
        raise GradientError(f"the table contains something that is not a number ({str(error)[:80]})") from error
    if not rows:
        raise GradientError("the table is empty")
    return rows
