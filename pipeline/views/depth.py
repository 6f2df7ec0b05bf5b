"""Training views of depth: CutDepth, flip, crop, colour, each drawn with its published probability.

Owns the draws of two published recipes; what a step does to pixels is `pipeline.geometry`'s.
    vpd         a 480 x 480 crop of the 480 x 640 picture, so that only its column is random; padded to 512 (the
                padding is 0 after normalising, mid grey, and 0 = no measurement in the label); vpd_spec.md 3.3, 1.6
    mmseg_512   the picture resized by a random ratio of 0.8..1.5 of the (768, 512) base, then a 512 crop; 8.2
Colour, each with probability 0.5: brightness and contrast by up to 20 %, gamma 0.8..1.2, hue by up to 40 degrees,
saturation by up to 30 and value by up to 20 levels.

Two modes, which differ in what the number of views means: `k` fixes it, and training takes them in turn; `replay` makes
one for every epoch, so that a run sees each once: the published augmentation stream. View i is the same in both, and
stays the same when views are added.

Differences from the published loaders. VPD draws a CutDepth strip on every 4th sample of each worker; here every view
has one with probability 0.25, as in mmsegmentation, because a view must not depend on workers. Published code flips
before it crops, here a crop is flipped: the same distribution. mmseg_512 resizes with Pillow's bilinear kernel, not
OpenCV's, which antialiases when a picture shrinks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pipeline.colour import Step
from pipeline.cut_depth import SCALED, WRAPPED
from pipeline.views import generator
from pipeline.views.keep_ratio import checked_sides, keep_ratio
from shards.errors import ConfigError
from shards.view import Size, View

CONTRAST, BRIGHTNESS = 0.2, 0.2 * 255  # factor around 1, levels
GAMMA = (0.8, 1.2)
HUE_STEPS, SATURATION, VALUE = 20.0, 30.0, 20.0  # two degrees each; levels; levels
CUT_DEPTH = ("wrapped", "scaled", "none")
CUT_DEPTH_MAX_SHARE = 0.75  # of the columns right of its left edge


@dataclass(frozen=True)
class DepthRecipe:
    """How one view is drawn. Probabilities are of each view; sizes are (h, w)."""

    size_px: Size = (512, 512)
    crop_px: Size = (480, 480)
    base_px: Size | None = None  # (long, short) side that ratio 1 fits a picture into; None: no resizing
    ratio: tuple[float, float] = (1.0, 1.0)
    flip: float = 0.5
    recolour: float = 0.5  # of each of the three colour steps
    cut_depth: str = "wrapped"
    cut_depth_probability: float = 0.25
    max_depth_m: float = 10.0  # white of cut_depth "scaled"

    def draw(self, random: np.random.Generator, height: int, width: int) -> View:
        """A view of a picture. Every draw takes the same numbers, so a recipe's options do not move the others'."""
        strip, ratio, flip = random.random(3), random.random(), random.random()
        offsets, colours = random.random(2), random.random((3, 4))
        low, high = self.ratio
        resized = (
            keep_ratio(height, width, self.base_px, low + float(ratio) * (high - low))
            if self.base_px is not None
            else (height, width)
        )
        content = min(resized[0], self.crop_px[0]), min(resized[1], self.crop_px[1])
        top, left = (int(u * (side - cut + 1)) for u, side, cut in zip(offsets, resized, content, strict=True))
        window = (left, top, left + content[1], top + content[0])
        steps = (*self._strip(strip, width), *self._colours(colours))
        pad = self.size_px[0] - content[0], self.size_px[1] - content[1]
        box = (0, 0, width, height)
        if self.base_px is None:  # nothing is resized: the crop is the box
            box, resized, window = window, content, (0, 0, content[1], content[0])
        return View(self.size_px, box, resized, window, flip=bool(flip < self.flip), pad_px=pad, colour=steps)

    def _strip(self, draws: np.ndarray, width: int) -> list[Step]:
        """Columns of the source picture: left edge a * W, width (W - a * W) * b * 0.75 but at least 1."""
        chance, a, b = (float(draw) for draw in draws)
        if self.cut_depth == "none" or chance >= self.cut_depth_probability:
            return []
        x0 = int(a * width)
        x1 = x0 + int(max((width - a * width) * b * CUT_DEPTH_MAX_SHARE, 1))
        return [(WRAPPED, x0, x1)] if self.cut_depth == "wrapped" else [(SCALED, x0, x1, self.max_depth_m)]

    def _colours(self, draws: np.ndarray) -> list[Step]:
        """`draws` [3, 4]: for each step a chance and up to three amounts in 0..1."""
        around = 2 * draws[:, 1:] - 1  # [3, 3], -1..1
        low, high = GAMMA
        steps: list[Step] = [
            ("brightness_contrast", 1 + CONTRAST * float(around[0, 0]), BRIGHTNESS * float(around[0, 1])),
            ("gamma", low + (high - low) * float(draws[1, 1])),
            (
                "hue_saturation_value",
                HUE_STEPS * float(around[2, 0]),
                SATURATION * float(around[2, 1]),
                VALUE * float(around[2, 2]),
            ),
        ]
        return [step for step, chance in zip(steps, draws[:, 0], strict=True) if chance < self.recolour]


RECIPES = {
    "vpd": DepthRecipe(),
    "mmseg_512": DepthRecipe(crop_px=(512, 512), base_px=(768, 512), ratio=(0.8, 1.5)),
}


@dataclass(frozen=True)
class Depth:
    """See the module; `build` makes one."""

    mode: str
    views_per_image: int
    seed: int
    recipe: DepthRecipe

    @property
    def size_px(self) -> Size:
        return self.recipe.size_px

    def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
        """A picture smaller than the crop is shown whole, with more padding."""
        return [self.recipe.draw(generator(self.seed, key, i), height, width) for i in range(self.views_per_image)]

    def identity(self) -> dict[str, Any]:
        recipe = {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self.recipe).items()
        }
        return {"plan": "depth", "mode": self.mode, "views": self.views_per_image, "seed": self.seed, **recipe}


def build(
    mode: str = "k",
    k: int = 0,
    epochs: float = 0,
    recipe: str = "vpd",
    seed: int = 0,
    size: int | Sequence[int] | None = None,
    crop: int | Sequence[int] | None = None,
    flip: float | None = None,
    recolour: float | None = None,
    cut_depth: str | None = None,
    cut_depth_probability: float | None = None,
    max_depth_m: float | None = None,
) -> Depth:
    """The plan.

    Args:
        mode: `k` (needs `k`, the number of views of a picture) or `replay` (needs `epochs`, passes of the training run
            over the pictures; a part of an epoch counts as a whole one).
        recipe: `vpd` or `mmseg_512`; everything below changes it where given.
        size, crop: one number for a square, or (h, w); the crop is padded to the size.
        flip, recolour, cut_depth_probability: of a flip, of each of the three colour steps, of a CutDepth strip.
        cut_depth: `wrapped` (published), `scaled` (0..`max_depth_m` becomes 0..255) or `none`.

    Raises:
        ConfigError: a number is missing or out of range.
    """
    numbers = {"k": k, "replay": math.ceil(epochs)}
    if mode not in numbers or recipe not in RECIPES:
        raise ConfigError(
            f"views depth: mode is {mode!r} and recipe {recipe!r}; expected mode {' or '.join(numbers)} and recipe "
            f"{' or '.join(RECIPES)}"
        )
    if (k and mode != "k") or (epochs and mode != "replay"):
        raise ConfigError(f"views depth: mode {mode} does not read {'k' if mode == 'replay' else 'epochs'}")
    if type(k) is not int or numbers[mode] < 1:
        setting = "k=8, the number of views of a picture" if mode == "k" else "epochs=25, the length of the run"
        raise ConfigError(f"views depth: mode {mode} needs its number, for example {setting}")
    changes = {
        "size_px": None if size is None else _sides("size", size),
        "crop_px": None if crop is None else _sides("crop", crop),
        "flip": flip,
        "recolour": recolour,
        "cut_depth": cut_depth,
        "cut_depth_probability": cut_depth_probability,
        "max_depth_m": max_depth_m,
    }
    chosen = replace(RECIPES[recipe], **{name: value for name, value in changes.items() if value is not None})
    _check(chosen)
    return Depth(mode, numbers[mode], int(seed), chosen)


def _sides(name: str, value: int | Sequence[int]) -> Size:
    return checked_sides(name, [value, value] if isinstance(value, int) else list(value))


def _check(recipe: DepthRecipe) -> None:
    if recipe.crop_px[0] > recipe.size_px[0] or recipe.crop_px[1] > recipe.size_px[1]:
        raise ConfigError(
            f"views depth: crop {list(recipe.crop_px)} does not fit into size {list(recipe.size_px)}; a crop is "
            "padded to the size, never shrunk"
        )
    if recipe.cut_depth not in CUT_DEPTH:
        raise ConfigError(f"views depth: cut_depth is {recipe.cut_depth!r}; expected one of {', '.join(CUT_DEPTH)}")
    for name in ("flip", "recolour", "cut_depth_probability"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise ConfigError(f"views depth: {name} is {getattr(recipe, name)}; expected a probability, from 0 to 1")
    if recipe.max_depth_m <= 0:
        raise ConfigError(f"views depth: max_depth_m is {recipe.max_depth_m}; expected metres above 0")
