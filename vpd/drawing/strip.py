"""A legend as a strip below a picture: nothing of the picture is hidden, and its pixels keep their places."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vpd.drawing.style import Legend

SMALLEST_PX, LARGEST_PX = 10, 32  # of the letters
INK, PAPER = (20, 20, 20), (255, 255, 255)


def with_legend(picture: np.ndarray, legend: Legend, strip_px: int | None = None) -> np.ndarray:
    """A picture, uint8 `[H, W, 3]`, with its legend below it; itself where the legend says nothing.

    Args:
        strip_px: height of the strip: what a legend leaves of it is blank, and what it takes beyond is left out; None:
            as it needs.
    """
    strip = _strip(picture.shape[0], picture.shape[1], legend)
    if strip_px is not None:
        strip = np.pad(strip, ((0, max(strip_px - len(strip), 0)), (0, 0), (0, 0)), constant_values=PAPER[0])[:strip_px]
    return np.concatenate([picture, strip]) if len(strip) else picture


def line_px(height: int) -> int:
    """Height of a line of the legend below a picture of this height."""
    return _letter_px(height) * 3 // 2


def _letter_px(height: int) -> int:
    return min(max(height // 24, SMALLEST_PX), LARGEST_PX)


def _strip(height: int, width: int, legend: Legend) -> np.ndarray:
    """The legend alone `[h, W, 3]`, for a picture of (H, W) pixels; no rows where it says nothing."""
    letter_px = _letter_px(height)
    font = ImageFont.load_default(letter_px)
    gap, row_px = letter_px // 2, line_px(height)
    lines = [line for line in _wrapped(legend.title, font, width - 2 * gap) if line]
    rows = _rows(legend, font, width - 2 * gap, letter_px)
    n_lines = len(lines) + len(rows) + (legend.ramp is not None)
    if not n_lines:
        return np.zeros((0, width, 3), np.uint8)
    strip = Image.new("RGB", (width, n_lines * row_px + 2 * gap), PAPER)
    pen, y = ImageDraw.Draw(strip), gap
    for line in lines:
        pen.text((gap, y), line, INK, font)
        y += row_px
    for row in rows:
        x = gap
        for colour, text, taken in row:
            pen.rectangle((x, y + 1, x + letter_px, y + letter_px), colour, INK)
            pen.text((x + letter_px + gap, y), text, INK, font)
            x += taken
        y += row_px
    if legend.ramp is not None:
        _draw_ramp(strip, pen, legend, font, gap, y, letter_px)
    return np.asarray(strip)


def _rows(legend: Legend, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int, letter_px: int) -> list:
    """The entries in rows that fit, each with the pixels it takes."""
    rows: list[list[tuple[tuple[int, int, int], str, int]]] = []
    left = 0
    for colour, text in legend.entries:
        taken = int(font.getlength(text)) + 3 * letter_px
        if not rows or taken > left:
            rows.append([])
            left = width
        rows[-1].append((colour, text, taken))
        left -= taken
    return rows


def _draw_ramp(
    strip: Image.Image,
    pen: ImageDraw.ImageDraw,
    legend: Legend,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    x: int,
    y: int,
    letter_px: int,
) -> None:
    """The scale between the words for its ends."""
    assert legend.ramp is not None
    first, last = legend.ends
    before, after = (int(font.getlength(text)) for text in (first, last))
    bar_px = max(min(strip.width - 4 * x - before - after, 24 * letter_px), 1)
    pen.text((x, y), first, INK, font)
    bar = Image.fromarray(legend.ramp[None]).resize((bar_px, letter_px), Image.Resampling.BILINEAR)
    strip.paste(bar, (2 * x + before, y + 1))
    pen.text((3 * x + before + bar_px, y), last, INK, font)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """Lines of words that fit; a word that is too long has one to itself."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
