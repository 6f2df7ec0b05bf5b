"""A colour that can be seen on a picture: of a few strong ones, the one that is farthest from what it is laid on."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

from vpd.drawing.style import Colour

# Green is left to ground truth.
STRONG: tuple[Colour, ...] = (
    (255, 30, 30), (40, 80, 255), (255, 225, 0), (255, 0, 200), (0, 225, 255), (255, 140, 0)
)  # fmt: skip
_SAMPLES = 4096  # pixels that are looked at
_LEAST_PERCENT = 10  # a colour is as visible as on the tenth of the pixels that it resembles most
_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.9505, 1.0, 1.089])  # D65


def visible_colour(image: np.ndarray, mask: np.ndarray) -> Colour:
    """The colour for the pixels of a mask `[H, W]` of a picture, uint8 `[H, W, 3]`; the first for an empty one."""
    pixels = image[mask]
    if not len(pixels):
        return STRONG[0]
    pixels = lab(pixels[:: -(-len(pixels) // _SAMPLES)])
    distances = [np.linalg.norm(pixels - lab(np.array(colour)), axis=-1) for colour in STRONG]
    return STRONG[int(np.argmax([np.percentile(distance, _LEAST_PERCENT) for distance in distances]))]


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of sRGB levels `[..., 3]`, 0 to 255: equal distances look about equally large."""
    levels = rgb / 255.0
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    ratio = linear @ _TO_XYZ.T / _WHITE
    root = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    x, y, z = np.moveaxis(root, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def tinted(image: np.ndarray, mask: np.ndarray, colour: Colour) -> np.ndarray:
    """A picture, uint8 `[H, W, 3]`, with the pixels of a mask `[H, W]` mixed half and half with a colour, and the
    mask's outline in it."""
    drawn = image.copy()
    drawn[mask] = drawn[mask] // 2 + np.array(colour, np.uint8) // 2
    reach = max(round(max(mask.shape) / 400), 1)
    inner = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MinFilter(2 * reach + 1))
    drawn[mask & (np.asarray(inner) == 0)] = colour
    return drawn
