"""How a training view of depth is drawn: CutDepth, flip, crop, colour, each with its published probability.

Owns the published recipes and their draws; what a step does to pixels is `pipeline.rendering.geometry`'s.
    vpd                 a 480 x 480 crop of the 480 x 640 picture, so that only its column is random; padded to 512
                        (0 after normalising, mid grey, and 0 = no measurement in the label);
                        docs/methods/depth.md#training-views
    mmseg_512           the picture resized by a random ratio of 0.8..1.5 of the (768, 512) base, then a 512 crop;
                        docs/methods/depth.md#mmsegmentation
    meta_prompts_nyu    the crop of vpd, enlarged to 512 instead of padded; docs/methods/meta_prompts.md#depth-head
    meta_prompts_kitti  a 352 x 352 crop of the frame of 352 x 1216 pixels (`frame`), enlarged to 448;
                        docs/methods/depth.md#kitti
An enlarged side is (side // 64 + s) * 64 as published, s = 1 for NYUv2 and 2 for KITTI. Labels keep the crop's size.
Colour, each with probability 0.5: brightness and contrast by up to 20 %, gamma 0.8..1.2, hue by up to 40 degrees,
saturation by up to 30 and value by up to 20 levels.

Differences from the published loaders. VPD draws a CutDepth strip on every 4th sample of each worker; here every view
has one with probability 0.25, as in mmsegmentation, because a view must not depend on workers. Published code flips
before it crops, here a crop is flipped: the same distribution. mmseg_512 resizes with Pillow's bilinear kernel, not
OpenCV's, which antialiases when a picture shrinks. Enlarged pictures are rounded to 8 bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.rendering.colour import Step
from pipeline.rendering.cut_depth import MILLIMETRES, SCALED, WRAPPED
from pipeline.views.frame import frame_box
from pipeline.views.keep_ratio import keep_ratio
from shards.errors import Reject
from shards.geometry.view import Size, View

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
    frame_px: Size | None = None  # the part of a picture that everything happens in; None: all of it
    enlarged: bool = False  # the crop is resized to `size_px`; else it is padded to it
    units_per_metre: float = MILLIMETRES  # of the depth PNG that cut_depth "scaled" reads

    def draw(self, random: np.random.Generator, height: int, width: int) -> View:
        """A view of a picture. Every draw takes the same numbers, so a recipe's options do not move the others'.

        Reject: the picture is smaller than the frame, or than a crop that is to be enlarged.
        """
        x0, y0, x1, y1 = frame_box(height, width, self.frame_px)
        height, width = y1 - y0, x1 - x0
        strip, ratio, flip = random.random(3), random.random(), random.random()
        offsets, colours = random.random(2), random.random((3, 4))
        low, high = self.ratio
        resized = (
            keep_ratio(height, width, self.base_px, low + float(ratio) * (high - low))
            if self.base_px is not None
            else (height, width)
        )
        content = min(resized[0], self.crop_px[0]), min(resized[1], self.crop_px[1])
        if self.enlarged and content != self.crop_px:
            raise Reject(
                f"a picture of {height} x {width} ({resized[0]} x {resized[1]} after resizing) is smaller than the "
                f"crop of {self.crop_px[0]} x {self.crop_px[1]}; views that are enlarged cannot be padded"
            )
        top, left = (int(u * (side - cut + 1)) for u, side, cut in zip(offsets, resized, content, strict=True))
        window = (left, top, left + content[1], top + content[0])
        steps = (*self._strip(strip, x0, width), *self._colours(colours))
        box = (x0, y0, x1, y1)
        if self.base_px is None:  # nothing is resized: the crop is the box
            box = (x0 + left, y0 + top, x0 + window[2], y0 + window[3])
            resized, window = content, (0, 0, content[1], content[0])
        pad = self.size_px[0] - content[0], self.size_px[1] - content[1]
        fit: dict[str, Any] = {"enlarged_px": self.size_px} if self.enlarged else {"pad_px": pad}
        return View(self.size_px, box, resized, window, flip=bool(flip < self.flip), colour=steps, **fit)

    def _strip(self, draws: np.ndarray, left: int, width: int) -> list[Step]:
        """Columns of the frame, which begins at `left`: first a * W, width (W - a * W) * b * 0.75 but at least 1."""
        chance, a, b = (float(draw) for draw in draws)
        if self.cut_depth == "none" or chance >= self.cut_depth_probability:
            return []
        x0 = left + int(a * width)
        x1 = x0 + int(max((width - a * width) * b * CUT_DEPTH_MAX_SHARE, 1))
        if self.cut_depth == "wrapped":
            return [(WRAPPED, x0, x1)]
        unit = () if self.units_per_metre == MILLIMETRES else (self.units_per_metre,)
        return [(SCALED, x0, x1, self.max_depth_m, *unit)]

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
    "meta_prompts_nyu": DepthRecipe(enlarged=True),
    "meta_prompts_kitti": DepthRecipe(
        size_px=(448, 448),
        crop_px=(352, 352),
        max_depth_m=80.0,
        frame_px=(352, 1216),
        enlarged=True,
        units_per_metre=256.0,
    ),
}
