"""Masks over a picture."""

from __future__ import annotations

import numpy as np

RED = (255, 0, 0)


def tinted(image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """A picture, uint8 `[H, W, 3]`, with the pixels of a mask `[H, W]` mixed half and half with a colour."""
    drawn = image.copy()
    drawn[mask] = drawn[mask] // 2 + np.array(colour, np.uint8) // 2
    return drawn
