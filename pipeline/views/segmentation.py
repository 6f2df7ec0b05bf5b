"""Training views of semantic segmentation: random scale, crop, flip, colour (docs/methods/segmentation.md).

Owns the draws, in the published order (docs/methods/segmentation.md#training-views): scale of the (2048, 512) base from
0.5 to 2, shape kept; a 512 crop in which no class fills 75 % of the labelled pixels, after ten tries the next one
whatever it shows; a flip; photometric distortion. What is smaller than the crop is padded at the bottom and right: grey
in the picture, ignored in the label. Cityscapes has base (2048, 1024) and a 1024 crop, the rest alike
(docs/methods/segmentation.md#cityscapes).

Two modes, which differ in what the number of views means: `k` fixes it, and training takes them in turn; `replay` makes
one for every epoch, so that a run sees each once: the published augmentation stream.

Two deliberate differences from the published loader, both about resizing: Pillow's kernels replace OpenCV's (they
antialias when a picture shrinks), and labels take the value under a pixel's centre where OpenCV's takes the one under
its top-left corner, half a pixel beside the picture.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from pipeline.rendering import photometric
from pipeline.views import generator
from pipeline.views.keep_ratio import checked_sides, keep_ratio
from shards.errors import ConfigError
from shards.geometry.view import Box, Size, View, cut_label

LARGEST_LABEL = 65535  # of 16-bit labels
CROP_TRIES = 10


@dataclass(frozen=True)
class Segmentation:
    """See the module; `build` makes one."""

    mode: str
    views_per_image: int
    crop_px: int
    base_px: Size  # (long, short)
    scale: tuple[float, float]
    category_limit: float
    flip: float
    distort: bool
    label: str
    ignore: int
    seed: int

    @property
    def size_px(self) -> Size:
        return self.crop_px, self.crop_px

    def views(
        self, key: str, height: int, width: int, labels: Mapping[str, np.ndarray | bytes] | None = None
    ) -> list[View]:
        """The views of a picture; its label decides which crops are accepted.

        Raises:
            ConfigError: there is a category limit, and `labels` does not hold the label.
        """
        label = None
        if self.category_limit < 1:
            if labels is None or self.label not in labels:
                raise ConfigError(
                    f"views segmentation: category_limit {self.category_limit} looks at the label {self.label!r}; the "
                    f"source gives {sorted(labels or ())}. Set category_limit to 1, or label to one of these."
                )
            label = _pixels(labels[self.label])
        return [self._view(generator(self.seed, key, k), height, width, label) for k in range(self.views_per_image)]

    def identity(self) -> dict[str, Any]:
        record = asdict(self)
        return {"plan": "segmentation", **{k: list(v) if isinstance(v, tuple) else v for k, v in record.items()}}

    def _view(self, random: np.random.Generator, height: int, width: int, label: np.ndarray | None) -> View:
        low, high = self.scale
        resized = keep_ratio(height, width, self.base_px, random.random() * (high - low) + low)
        content = min(resized[0], self.crop_px), min(resized[1], self.crop_px)
        pad = self.crop_px - content[0], self.crop_px - content[1]
        view = View(self.size_px, (0, 0, width, height), resized, _draw_box(random, resized, content), pad_px=pad)
        if label is not None:
            for _ in range(CROP_TRIES):
                if self._is_varied(label, view):
                    break
                view = replace(view, window_px=_draw_box(random, resized, content))
        flip = bool(random.random() < self.flip)
        return replace(view, flip=flip, colour=photometric.draw(random) if self.distort else ())

    def _is_varied(self, label: np.ndarray, view: View) -> bool:
        """Whether the view shows more than one class, and none on too many of the labelled pixels."""
        shown = cut_label(label, view, fill=self.ignore)  # [crop, crop]
        pixels = np.bincount(shown.reshape(-1))
        if len(pixels) > self.ignore:
            pixels[self.ignore] = 0
        return bool(np.count_nonzero(pixels) > 1 and pixels.max() / pixels.sum() < self.category_limit)


def build(
    mode: str = "k",
    k: int = 0,
    epochs: float = 0,
    crop: int = 512,
    base: Sequence[int] = (2048, 512),
    scale: Sequence[float] = (0.5, 2.0),
    category_limit: float = 0.75,
    flip: float = 0.5,
    distort: bool = True,
    label: str = "label",
    ignore: int = 255,
    seed: int = 0,
) -> Segmentation:
    """The plan.

    Args:
        mode: `k` (needs `k`, the number of views of a picture) or `replay` (needs `epochs`, passes of the training run
            over the pictures; a part of an epoch counts as a whole one).
        k, epochs: see `mode`.
        seed: of all that is drawn.
        crop: side of the square view.
        base: (long, short) side that scale 1 fits a picture into.
        scale: smallest and largest random scale.
        category_limit: largest share of the labelled pixels one class may have in a crop; 1 = no limit.
        flip: probability of a horizontal flip.
        distort: photometric distortion.
        label, ignore: name of the label the limit looks at, and its value for "no class".

    Raises:
        ConfigError: a number is missing or out of range.
    """
    if not math.isfinite(epochs):
        raise ConfigError(f"views segmentation: epochs is {epochs}, expected a number such as 63.4")
    numbers = {"k": k, "replay": math.ceil(epochs)}
    if mode not in numbers:
        raise ConfigError(f"views segmentation: mode is {mode!r}; expected k or replay")
    if (k and mode != "k") or (epochs and mode != "replay"):
        raise ConfigError(f"views segmentation: mode {mode} does not read {'k' if mode == 'replay' else 'epochs'}")
    if type(k) is not int or numbers[mode] < 1:
        setting = "k=8, the number of views of a picture" if mode == "k" else "epochs=63.4, the length of the run"
        raise ConfigError(f"views segmentation: mode {mode} needs its number, for example {setting}")
    if type(crop) is not int or crop < 1:
        raise ConfigError(f"views segmentation: crop is {crop!r}, expected a whole number of pixels")
    if len(scale) != 2 or not 0 < scale[0] <= scale[1]:
        raise ConfigError(f"views segmentation: scale is {list(scale)}, expected [smallest, largest], above 0")
    if not (0 < category_limit <= 1 and 0 <= flip <= 1):
        raise ConfigError(
            f"views segmentation: category_limit is {category_limit} and flip {flip}; both are shares, from 0 to 1"
        )
    if not 0 <= ignore <= LARGEST_LABEL:
        raise ConfigError(f"views segmentation: ignore is {ignore}, expected a label's value, 0 to {LARGEST_LABEL}")
    return Segmentation(
        mode=mode,
        views_per_image=numbers[mode],
        crop_px=crop,
        base_px=checked_sides("base", list(base)),
        scale=(float(scale[0]), float(scale[1])),
        category_limit=float(category_limit),
        flip=float(flip),
        distort=bool(distort),
        label=label,
        ignore=int(ignore),
        seed=int(seed),
    )


def _draw_box(random: np.random.Generator, resized: Size, content: Size) -> Box:
    top = int(random.integers(0, resized[0] - content[0] + 1))
    left = int(random.integers(0, resized[1] - content[1] + 1))
    return left, top, left + content[1], top + content[0]


def _pixels(label: np.ndarray | bytes) -> np.ndarray:
    """[H, W]; a source may give its label as an array or as the PNG that will be stored."""
    if isinstance(label, np.ndarray):
        return label
    with Image.open(io.BytesIO(label)) as image:
        return np.array(image)
