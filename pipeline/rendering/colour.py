"""Recolours a picture by the recorded steps of a view.

Owns the dispatch of every colour step, and the three of published depth training
(docs/methods/depth.md#training-views):

    ("brightness_contrast", factor, levels)                   level * factor + levels
    ("gamma", exponent)                                       255 * (level / 255) ** exponent
    ("hue_saturation_value", hue_steps, saturation, value)    shifts: hue in steps of two degrees, the others in levels

Their arithmetic is the published library's: tables of 256 levels, cut and not rounded, hue and saturation on OpenCV's
8-bit HSV. Segmentation's steps, and that HSV, are `pipeline.rendering.photometric`'s; CutDepth, which draws with the
depth label, is `pipeline.rendering.cut_depth`'s. Which steps a view gets, and with what numbers, is decided in
`pipeline.views`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.rendering import photometric
from shards.errors import ConfigError

Step = tuple[str | float, ...]  # its name, then its numbers


def apply(image: np.ndarray, steps: Sequence[Step]) -> np.ndarray:
    """`image` uint8 [H, W, 3] RGB after `steps`, in their order; the input is left as it is.

    Raises ConfigError for a step that does not exist or takes other numbers.
    """
    for name, *numbers in steps:
        function = STEPS.get(str(name))
        if function is None:
            raise ConfigError(f"view: colour step {name!r} is unknown; known: {', '.join(STEPS)}")
        _, *takes = inspect.signature(function).parameters
        if len(numbers) != len(takes):
            raise ConfigError(f"view: colour step {name!r} takes {', '.join(takes)}; found {numbers}")
        image = function(image, *map(float, numbers))
    return image


def brightness_contrast(image: np.ndarray, factor: float, levels: float) -> np.ndarray:
    return _cut(_LEVELS * factor + levels)[image]


def gamma(image: np.ndarray, exponent: float) -> np.ndarray:
    return _cut(255 * (_LEVELS / 255) ** exponent)[image]


def hue_saturation_value(image: np.ndarray, hue_steps: float, saturation: float, value: float) -> np.ndarray:
    """Grey has hue 0, as in the published conversion: with more saturation it turns to a red shifted by `hue_steps`."""
    h, s, v = photometric.to_hsv(image)  # [H, W] each
    h = np.mod(np.arange(180) + hue_steps, 180).astype(np.int32).take(h)
    s = _cut(_LEVELS + saturation).astype(np.int32).take(s)
    return photometric.to_rgb(h, s, _cut(_LEVELS + value)[v])


def _cut(levels: np.ndarray) -> np.ndarray:
    return np.clip(levels, 0, 255).astype(np.uint8)


_LEVELS = np.arange(256, dtype=np.float64)
STEPS: dict[str, Callable[..., np.ndarray]] = {
    "brightness_contrast": brightness_contrast,
    "gamma": gamma,
    "hue_saturation_value": hue_saturation_value,
    **photometric.STEPS,
}
