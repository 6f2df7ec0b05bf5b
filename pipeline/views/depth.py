"""Training views of depth, as many of a picture as a run takes from it.

Owns the options of the plan; how one view is drawn is `depth_recipes`'.

Two modes, which differ in what the number of views means: `k` fixes it, and training takes them in turn; `replay` makes
one for every epoch, so that a run sees each once: the published augmentation stream. View i is the same in both, and
stays the same when views are added.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from pipeline.views import generator
from pipeline.views.depth_recipes import CUT_DEPTH, RECIPES, DepthRecipe
from pipeline.views.frame import sides
from shards.errors import ConfigError
from shards.geometry.view import Size, View

_LATER = ("frame_px", "enlarged", "units_per_metre")  # named in an identity only where they do something


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
        """A picture smaller than the crop is shown whole, with more padding, or a Reject where views are enlarged."""
        return [self.recipe.draw(generator(self.seed, key, i), height, width) for i in range(self.views_per_image)]

    def identity(self) -> dict[str, Any]:
        recipe = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(self.recipe).items()
            if name not in _LATER or value != getattr(DepthRecipe, name)
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
    frame: Sequence[int] | None = None,
    enlarge: int | Sequence[int] | None = None,
    units_per_metre: float | None = None,
) -> Depth:
    """The plan.

    Args:
        mode: `k` (needs `k`, the number of views of a picture) or `replay` (needs `epochs`, passes of the training run
            over the pictures; a part of an epoch counts as a whole one).
        k, epochs: see `mode`.
        seed: of all that is drawn.
        recipe: one of `RECIPES`; everything below changes it where given.
        size, crop: one number for a square, or (h, w); the crop is padded to the size, or enlarged as the recipe does.
        enlarge: in place of `size`: what the crop is resized to.
        frame: (h, w) at the bottom and in the middle of a picture; crops and strips stay inside it.
        flip, recolour, cut_depth_probability: of a flip, of each of the three colour steps, of a CutDepth strip.
        max_depth_m: see `cut_depth`.
        cut_depth: `wrapped` (published), `scaled` (0..`max_depth_m` becomes 0..255) or `none`.
        units_per_metre: of the source's depth PNG, for `scaled`: 1000 for NYUv2, 256 for KITTI.

    Raises:
        ConfigError: a number is missing or out of range.
    """
    numbers = {"k": k, "replay": math.ceil(epochs)}
    if mode not in numbers or recipe not in RECIPES:
        raise ConfigError(
            f"views depth: mode is {mode!r} and recipe {recipe!r}; expected mode {' or '.join(numbers)} and recipe "
            f"{', '.join(RECIPES)}"
        )
    if (k and mode != "k") or (epochs and mode != "replay"):
        raise ConfigError(f"views depth: mode {mode} does not read {'k' if mode == 'replay' else 'epochs'}")
    if type(k) is not int or numbers[mode] < 1:
        setting = "k=8, the number of views of a picture" if mode == "k" else "epochs=25, the length of the run"
        raise ConfigError(f"views depth: mode {mode} needs its number, for example {setting}")
    if size is not None and enlarge is not None:
        raise ConfigError(f"views depth: size is {size!r} and enlarge {enlarge!r}; a crop is padded, or enlarged")
    shown_px = sides("size", size) if size is not None else sides("enlarge", enlarge) if enlarge is not None else None
    changes = {
        "size_px": shown_px,
        "enlarged": None if enlarge is None else True,
        "crop_px": None if crop is None else sides("crop", crop),
        "flip": flip,
        "recolour": recolour,
        "cut_depth": cut_depth,
        "cut_depth_probability": cut_depth_probability,
        "max_depth_m": max_depth_m,
        "frame_px": None if frame is None else sides("frame", frame),
        "units_per_metre": units_per_metre,
    }
    chosen = replace(RECIPES[recipe], **{name: value for name, value in changes.items() if value is not None})
    _check(chosen)
    return Depth(mode, numbers[mode], int(seed), chosen)


def _check(recipe: DepthRecipe) -> None:
    if not recipe.enlarged and not _fits(recipe.crop_px, recipe.size_px):
        raise ConfigError(
            f"views depth: crop {list(recipe.crop_px)} does not fit into size {list(recipe.size_px)}; a crop is "
            "padded to the size, never shrunk"
        )
    if recipe.frame_px is not None and recipe.base_px is None and not _fits(recipe.crop_px, recipe.frame_px):
        raise ConfigError(
            f"views depth: crop {list(recipe.crop_px)} does not fit into the frame {list(recipe.frame_px)}"
        )
    if recipe.cut_depth not in CUT_DEPTH:
        raise ConfigError(f"views depth: cut_depth is {recipe.cut_depth!r}; expected one of {', '.join(CUT_DEPTH)}")
    for name in ("flip", "recolour", "cut_depth_probability"):
        if not 0 <= getattr(recipe, name) <= 1:
            raise ConfigError(f"views depth: {name} is {getattr(recipe, name)}; expected a probability, from 0 to 1")
    if recipe.max_depth_m <= 0 or recipe.units_per_metre <= 0:
        raise ConfigError(
            f"views depth: max_depth_m is {recipe.max_depth_m}; expected metres above 0, and units_per_metre "
            f"{recipe.units_per_metre} above 0"
        )


def _fits(inner: Size, outer: Size) -> bool:
    return inner[0] <= outer[0] and inner[1] <= outer[1]
