"""Puts planes on a sheet: true proportions, letters for the sides, a caption, a carpet below."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from xnatferry.pictures.carpet import Carpet

GAP_PX: Final = 4
_INK: Final = 235
_FAINT: Final = 150
_TALLEST: Final = 4.0  # times the width; a stack of a thousand slices stays a picture


@dataclass(frozen=True, slots=True)
class Panel:
    """One plane, ready to be drawn.

    Attributes:
        shades: Rows from top to bottom, columns from left to right, then perhaps colours.
        steps_mm: Width and height of one of its pixels.
        sides: Letters for its left and right edge; None where they are not known.
    """

    shades: NDArray[np.uint8]
    steps_mm: tuple[float, float]
    sides: tuple[str, str] | None

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        return self.shades.shape[1] * self.steps_mm[0], self.shades.shape[0] * self.steps_mm[1]


def draw_sheet(
    panels: Sequence[Panel],
    *,
    width_px: int,
    columns: int | None = None,
    caption: str = "",
    carpet: Carpet | None = None,
) -> Image.Image:
    """Draw *panels* in one scale, row by row, *width_px* wide.

    Args:
        panels: What to draw.
        width_px: Width of the sheet.
        columns: Panels in a row; all in one when None.
        caption: A word below, such as the convention of sides.
        carpet: A time series, below the panels.
    """
    rows = [panels[at : at + (columns or len(panels))] for at in range(0, len(panels), columns or len(panels))]
    scale = min((width_px - GAP_PX * (len(row) - 1)) / sum(panel.size_mm[0] for panel in row) for row in rows)
    heights = [max(panel.size_mm[1] for panel in row) * scale for row in rows]
    if (height := sum(heights)) > _TALLEST * width_px:
        scale *= _TALLEST * width_px / height
        heights = [part * _TALLEST * width_px / height for part in heights]
    coloured = any(panel.shades.ndim == 3 for panel in panels)
    font_px = max(11, round(width_px / 45))
    caption_px = font_px + 6 if caption else 0
    carpet_px = round(width_px * 0.2) + 2 * GAP_PX if carpet is not None else 0
    total = sum(max(1, round(part)) for part in heights) + GAP_PX * (len(rows) - 1) + caption_px + carpet_px
    sheet = Image.new("RGB" if coloured else "L", (width_px, total), 0)
    top = 0
    for row, part in zip(rows, heights, strict=True):
        _draw_row(sheet, row, top, height=max(1, round(part)), scale=scale, font_px=font_px)
        top += max(1, round(part)) + GAP_PX
    if carpet is not None:
        _draw_carpet(sheet, carpet, top, carpet_px - 2 * GAP_PX)
    if caption:
        _write_caption(sheet, caption, carpet, font_px)
    return sheet


def _draw_row(sheet: Image.Image, row: Sequence[Panel], top: int, *, height: int, scale: float, font_px: int) -> None:
    widths = [max(1, round(panel.size_mm[0] * scale)) for panel in row]
    left = (sheet.width - sum(widths) - GAP_PX * (len(row) - 1)) // 2
    for panel, width in zip(row, widths, strict=True):
        tall = min(height, max(1, round(panel.size_mm[1] * scale)))
        image = Image.fromarray(panel.shades[..., :3] if panel.shades.ndim == 3 else panel.shades)
        at = (left, top + (height - tall) // 2)
        sheet.paste(image.resize((width, tall), Image.Resampling.BICUBIC), at)
        if panel.sides is not None:
            write_sides(sheet, panel.sides, (left, left + width), top + height // 2, font_px)
        left += width + GAP_PX


def write_sides(sheet: Image.Image, sides: tuple[str, str], edges: tuple[int, int], middle: int, font_px: int) -> None:
    """Letters at the edges, outlined in black so that they show on bright tissue."""
    draw = ImageDraw.Draw(sheet)
    for letter, at, anchor in ((sides[0], edges[0] + 3, "lm"), (sides[1], edges[1] - 3, "rm")):
        draw.text(
            (at, middle), letter, _ink(sheet, _INK), _font(font_px), anchor, stroke_width=1, stroke_fill=_ink(sheet, 0)
        )


def _draw_carpet(sheet: Image.Image, carpet: Carpet, top: int, height: int) -> None:
    image = Image.fromarray(carpet.shades)
    sheet.paste(image.resize((sheet.width, height), Image.Resampling.BOX), (0, top + GAP_PX))


def _write_caption(sheet: Image.Image, caption: str, carpet: Carpet | None, font_px: int) -> None:
    draw = ImageDraw.Draw(sheet)
    baseline = sheet.height - 5
    draw.text((3, baseline), caption, _ink(sheet, _FAINT), _font(font_px), "ls")
    if carpet is not None:
        words = f"{carpet.frames} volumes over time"
        draw.text((sheet.width - 3, baseline), words, _ink(sheet, _FAINT), _font(font_px), "rs")


def _ink(sheet: Image.Image, shade: int) -> int | tuple[int, int, int]:
    return shade if sheet.mode == "L" else (shade, shade, shade)


@lru_cache(maxsize=8)
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font that comes inside Pillow: the same letters on every machine."""
    return ImageFont.load_default(size_px)
