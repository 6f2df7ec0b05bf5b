"""Two pictures side by side with lines between the places that match."""

from __future__ import annotations

import colorsys

import numpy as np
from PIL import Image, ImageDraw

GAP_PX = 8  # between the pictures
PAPER, RING = (255, 255, 255), (255, 255, 255)
_GOLDEN_TURN = 0.61803398875  # of the circle of hues: neighbours never look alike


def with_lines(source: np.ndarray, target: np.ndarray, points_px: np.ndarray, found_px: np.ndarray) -> np.ndarray:
    """Draw matches, each in a colour of its own: uint8 `[max(H), W + gap + W', 3]`.

    Args:
        source, target: pictures, uint8 `[H, W, 3]`, of any two sizes.
        points_px, found_px: (x, y) in the one and in the other, `[K, 2]`.
    """
    height = max(len(source), len(target))
    right = source.shape[1] + GAP_PX
    sheet = Image.new("RGB", (right + target.shape[1], height), PAPER)
    sheet.paste(Image.fromarray(source), (0, 0))
    sheet.paste(Image.fromarray(target), (right, 0))
    pen, radius = ImageDraw.Draw(sheet), max(height // 80, 3)
    for number, ((x0, y0), (x1, y1)) in enumerate(zip(points_px.tolist(), found_px.tolist(), strict=True)):
        r, g, b = colorsys.hsv_to_rgb(_GOLDEN_TURN * number % 1, 0.85, 0.95)
        colour = (round(r * 255), round(g * 255), round(b * 255))
        pen.line((x0, y0, right + x1, y1), fill=colour, width=max(radius // 2, 2))
        for x, y in ((x0, y0), (right + x1, y1)):
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour, outline=RING)
    return np.asarray(sheet)
