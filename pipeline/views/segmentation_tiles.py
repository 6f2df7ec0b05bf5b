"""Evaluation views of semantic segmentation: overlapping windows of the resized picture.

Owns the published windows (docs/methods/segmentation.md#evaluation-windows): the picture is resized with its shape kept
into (2048, 512) times a ratio, cut into 512 windows at a stride of 341, the last ones shifted inside, and averaged
where they overlap (`vpd.tasks.stitch`). Flipped windows are those of the flipped picture, as published: mirrored
places, then mirrored content. One scale is `ratios: [1.0]`; published multi-scale evaluation is `ratios: [1.0, 1.125,
1.25, 1.375, 1.5], flip: true`.

A resized picture narrower than a window is padded to it at the bottom and right. (VPD's published code fails there: its
attention maps exist for one size only. At ratios of 1 and more only pictures longer than 4:1 are concerned. The code of
Meta Prompts shows the model the smaller picture as it is, which matters on Cityscapes at ratios below 1.)

Undoing it: a window's pixels lie at `window_px` of the resized grid, and a grid pixel shows the source pixel under its
centre (`shards.geometry.view.cut_label`). Where the grid is at least as fine as the picture, every source pixel is
shown by some grid pixel, so a label cut into windows and put back gives the label again, exactly. The published base
does that for pictures up to 512 pixels on the short side; larger ones are seen, and scored after interpolation, from a
coarser grid. Cityscapes has rules of its own (docs/methods/segmentation.md#cityscapes): base (2048, 1024), its
pictures' size, and windows of 1024 at a stride of 512.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.views.keep_ratio import checked_sides, keep_ratio
from shards.errors import ConfigError
from shards.geometry.view import Size, View

MULTI_SCALE = (1.0, 1.125, 1.25, 1.375, 1.5)  # published ratios of multi-scale evaluation


@dataclass(frozen=True)
class SegmentationTiles:
    """See the module; `build` makes one."""

    crop_px: int
    stride_px: int
    base_px: Size  # (long, short)
    ratios: tuple[float, ...]
    flip: bool

    @property
    def size_px(self) -> Size:
        return self.crop_px, self.crop_px

    @property
    def views_per_image(self) -> int:
        """Windows of a picture of the base's shape, as Cityscapes' are; where the base is longer than 2:1 and only
        bounds the long side, of a 4:3 picture, the commonest shape."""
        long_px, short_px = self.base_px
        return len(self.views("", short_px, long_px if long_px <= 2 * short_px else -(-short_px * 4 // 3)))

    def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
        """Ratio by ratio, unflipped then flipped, row by row."""
        found: list[View] = []
        for ratio in self.ratios:
            resized = keep_ratio(height, width, self.base_px, ratio)
            for flip in (False, True) if self.flip else (False,):
                found += self._windows((height, width), resized, flip)
        return found

    def identity(self) -> dict[str, Any]:
        return {
            "plan": "segmentation_tiles",
            "crop_px": self.crop_px,
            "stride_px": self.stride_px,
            "base_px": list(self.base_px),
            "ratios": list(self.ratios),
            "flip": self.flip,
        }

    def _windows(self, size_px: Size, resized: Size, flip: bool) -> list[View]:
        height, width = resized
        found: list[View] = []
        for top, bottom in window_spans(height, self.crop_px, self.stride_px):
            for left, right in window_spans(width, self.crop_px, self.stride_px):
                x0, x1 = (width - right, width - left) if flip else (left, right)
                window, box = (x0, top, x1, bottom), (0, 0, size_px[1], size_px[0])
                pad = self.crop_px - (bottom - top), self.crop_px - (right - left)
                found.append(View(self.size_px, box, resized, window, flip=flip, pad_px=pad))
        return found


def window_spans(length: int, crop: int, stride: int) -> list[tuple[int, int]]:
    """(first, end) of the windows along one side: a stride apart, the last one moved back inside."""
    count = max(length - crop + stride - 1, 0) // stride + 1
    ends = [min(index * stride + crop, length) for index in range(count)]
    return [(max(end - crop, 0), end) for end in ends]


def build(
    crop: int = 512,
    stride: int = 341,
    base: Sequence[int] = (2048, 512),
    ratios: Sequence[float] = (1.0,),
    flip: bool = False,
) -> SegmentationTiles:
    """The plan.

    Args:
        crop: side of the square windows.
        stride: pixels from one window to the next; at most `crop`.
        base: (long, short) side that ratio 1 fits a picture into.
        ratios: scales, each a full set of windows; `MULTI_SCALE` are the published ones.
        flip: also the windows of the flipped picture.

    Raises:
        ConfigError: a number is out of range, or windows would leave gaps.
    """
    if type(crop) is not int or type(stride) is not int or not 1 <= stride <= crop:
        raise ConfigError(
            f"views segmentation_tiles: crop is {crop!r} and stride {stride!r}; expected whole pixels, stride from 1 "
            "to crop, or pixels between windows are seen by none"
        )
    if not ratios or min(ratios) <= 0 or len(set(ratios)) != len(ratios):
        raise ConfigError(f"views segmentation_tiles: ratios is {list(ratios)}; expected different numbers above 0")
    return SegmentationTiles(crop, stride, checked_sides("base", list(base)), tuple(float(r) for r in ratios), flip)
