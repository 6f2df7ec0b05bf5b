"""Colours for classes: a table for any number of them, and label pictures that carry it.

The file of `write_label_png` is data and picture at once: its values are class indices, its palette shows them.
"""

from __future__ import annotations

import colorsys
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

GOLDEN_TURN = 0.61803398875  # consecutive hues a golden ratio of the circle apart never come close for long
_TONES = ((0.65, 0.95), (0.9, 0.7), (0.45, 0.8), (0.8, 0.5))  # (saturation, value), in turn


@cache
def palette(classes: int) -> np.ndarray:
    """uint8 `[classes, 3]`, RGB: the same colour for a class whatever the number of classes."""
    colours = [colorsys.hsv_to_rgb(GOLDEN_TURN * k % 1, *_TONES[k % len(_TONES)]) for k in range(classes)]
    return np.rint(np.array(colours) * 255).astype(np.uint8)


def write_label_png(labels: np.ndarray, classes: int, path: str | Path) -> None:
    """Write class indices `[H, W]` as an 8-bit palette PNG; indices from `classes` on, such as 255, are black."""
    colours = np.zeros((256, 3), np.uint8)
    colours[:classes] = palette(classes)
    picture = Image.fromarray(labels.astype(np.uint8))
    picture.putpalette(colours.tobytes())
    picture.save(path, format="PNG")
