"""Photometric distortion, as segmentation training publishes it: brightness, contrast, saturation, hue.

Owns the draw, whose numbers are recorded in the view, and the four steps on 8-bit pictures. The published order, each
step with probability 0.5: brightness; contrast, in one half of the pictures; saturation; hue; contrast, in the other
half (docs/methods/segmentation.md#photometric-distortion). Every step gives 8-bit levels again, cut and not rounded, as
published. Hue and saturation work on OpenCV's 8-bit HSV: hue 0..179 in steps of two degrees, saturation and value
0..255; its roundings are restated here.

Shapes: H, W = size of the picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

BRIGHTNESS = 32.0  # levels, either way
CONTRAST = SATURATION = (0.5, 1.5)  # factor
HUE = 18  # steps of two degrees: -18 .. 17, the published draw leaves out its upper end

Step = tuple[str, float]


def draw(random: np.random.Generator) -> tuple[Step, ...]:
    """The steps of one picture, in the order they are applied."""

    def half() -> bool:
        return bool(random.integers(2))

    def factor(bounds: tuple[float, float]) -> float:
        return float(random.uniform(*bounds))

    steps: list[Step] = []
    if half():
        steps.append(("photometric_brightness", float(random.uniform(-BRIGHTNESS, BRIGHTNESS))))
    contrast_first = half()
    if contrast_first and half():
        steps.append(("photometric_contrast", factor(CONTRAST)))
    if half():
        steps.append(("photometric_saturation", factor(SATURATION)))
    if half():
        steps.append(("photometric_hue", int(random.integers(-HUE, HUE))))
    if not contrast_first and half():
        steps.append(("photometric_contrast", factor(CONTRAST)))
    return tuple(steps)


def brightness(image: np.ndarray, levels: float) -> np.ndarray:
    """Adds to every level. Image uint8 [H, W, 3] RGB, as in all steps."""
    return _cut(np.arange(256, dtype=np.float32) + np.float32(levels))[image]


def contrast(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiplies every level."""
    return _cut(np.arange(256, dtype=np.float32) * np.float32(factor))[image]


def saturation(image: np.ndarray, factor: float) -> np.ndarray:
    """Multiplies the saturation."""
    h, s, v = to_hsv(image)
    return to_rgb(h, _cut(np.arange(256, dtype=np.float32) * np.float32(factor))[s], v)


def hue(image: np.ndarray, steps: float) -> np.ndarray:
    """Turns the hue by whole steps of two degrees."""
    h, s, v = to_hsv(image)
    return to_rgb((h + int(steps)) % 180, s, v)


STEPS: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "photometric_brightness": brightness,
    "photometric_contrast": contrast,
    "photometric_saturation": saturation,
    "photometric_hue": hue,
}


def to_hsv(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hue int32 0..179, saturation int32 0..255 and value uint8, [H, W] each, of uint8 [H, W, 3].

    Fixed-point division with 12 fractional bits by tables of reciprocals, rounded half up: OpenCV's results, bit for
    bit.
    """
    red, green, blue = (image[..., channel].astype(np.int32) for channel in range(3))
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    s = (spread * _PER_VALUE.take(value) + _HALF) >> _BITS
    sixths = red - green + 4 * spread
    np.copyto(sixths, blue - red + 2 * spread, where=value == green)
    np.copyto(sixths, green - blue, where=value == red)
    h = (sixths * _PER_SPREAD.take(spread) + _HALF) >> _BITS
    h[h < 0] += 180
    return h, s, value.astype(np.uint8)


def to_rgb(hue: np.ndarray, saturation: np.ndarray, value: np.ndarray) -> np.ndarray:
    """uint8 [H, W, 3] of hue, saturation and value [H, W] in the ranges of `to_hsv`: value * (1 - saturation * fade).

    In float32, rounded half to even, as OpenCV does pixel by pixel; its vectorised code cuts instead, so that its own
    pictures differ by one level from machine to machine.
    """
    share = saturation.astype(np.float32) * np.float32(1 / 255)
    levels = _FADE.take(hue, axis=0)  # [H, W, 3]
    levels *= -share[..., None]
    levels += 1
    levels *= value[..., None].astype(np.float32)
    return np.rint(levels, out=levels).astype(np.uint8)


_BITS = 12
_HALF = 1 << (_BITS - 1)
_NUMBERS = np.r_[1.0, np.arange(1, 256)]  # the entry for 0 is only ever multiplied by 0
_PER_VALUE = np.rint((255 << _BITS) / _NUMBERS).astype(np.int32)
_PER_SPREAD = np.rint((180 << _BITS) / (6 * _NUMBERS)).astype(np.int32)
_TURN = (np.arange(180)[:, None] / 30 + (5, 3, 1)) % 6  # [180, 3], sixths of the circle from where a channel fades
_FADE = np.clip(np.minimum(_TURN, 4 - _TURN), 0, 1).astype(np.float32)  # how far saturation pulls a channel down


def _cut(levels: np.ndarray) -> np.ndarray:
    """A table float [256] as uint8: clipped, then cut to whole levels."""
    return np.clip(levels, 0, 255).astype(np.uint8)
