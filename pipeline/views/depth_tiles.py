"""Evaluation views of depth: square windows over the picture, each also flipped, padded to what the encoder sees.

Published evaluation of NYUv2 has two 480 x 480 windows of the 480 x 640 picture, at columns 0 and W - H, and their
flipped copies, which the model pads to 512 (vpd_spec.md 5.3): the defaults. mmsegmentation's variant at 512 resizes the
picture to 512 x 683 first and takes windows at columns 0, 128 and 171 (8.5): `short_side: 512, stride: 128`.

Owns where the windows are; `vpd.stitch` puts predictions together again from their recorded places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.views.keep_ratio import keep_ratio
from pipeline.views.segmentation_tiles import window_spans
from shards.errors import ConfigError, Reject
from shards.view import Box, Size, View

_SHAPE_PX = (480, 640)  # of NYUv2, for estimates
_NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class DepthTiles:
    """See the module; `build` makes one."""

    side_px: int
    short_side: int | None
    stride: int | None
    flip: bool

    @property
    def size_px(self) -> Size:
        return self.side_px, self.side_px

    @property
    def views_per_image(self) -> int:
        """Of a picture of NYUv2's shape."""
        side = min(self.short_side or self.side_px, self.side_px)
        shape = (side, side * _SHAPE_PX[1] // _SHAPE_PX[0])
        return len(list(self._windows(shape))) * (2 if self.flip else 1)

    def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
        """All windows, row by row, then all of them flipped. Reject: a window is larger than the encoder's picture."""
        resized = (
            (height, width) if self.short_side is None else keep_ratio(height, width, (_NO_LIMIT, self.short_side))
        )
        if min(resized) > self.side_px:
            raise Reject(
                f"windows of a picture of {height} x {width} are {min(resized)} pixels wide, views are {self.side_px}; "
                f"set short_side of views depth_tiles to {self.side_px} or less"
            )
        box = (0, 0, width, height)
        found = []
        for flip in (False, True) if self.flip else (False,):
            for window in self._windows(resized):
                pad = self.side_px - (window[3] - window[1]), self.side_px - (window[2] - window[0])
                found.append(View(self.size_px, box, resized, window, flip=flip, pad_px=pad))
        return found

    def identity(self) -> dict[str, Any]:
        return {"plan": "depth_tiles", **asdict(self)}

    def _windows(self, resized: Size) -> Iterator[Box]:
        """As wide as the short side; `stride` apart, the last one moved back inside."""
        side = min(resized)
        stride = min(self.stride or side, side)
        for top, bottom in window_spans(resized[0], side, stride):
            for left, right in window_spans(resized[1], side, stride):
                yield left, top, right, bottom


def build(size: int = 512, short_side: int | None = None, stride: int | None = None, flip: bool = True) -> DepthTiles:
    """The plan.

    Args:
        size: side of what the encoder sees; windows are padded to it.
        short_side: pictures are resized to it first, shape kept; None takes them as they are.
        stride: pixels from one window to the next; None: the window's side, so that windows overlap only where the last
            one must.
        flip: also every window flipped.

    Raises:
        ConfigError: a number is out of range, or windows would leave gaps.
    """
    for name, value in (("size", size), ("short_side", short_side), ("stride", stride)):
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigError(f"views depth_tiles: {name} is {value!r}, expected a whole number of pixels")
    if short_side is not None and short_side > size:
        raise ConfigError(f"views depth_tiles: windows of short_side {short_side} do not fit into size {size}")
    if stride is not None and stride > (short_side or size):
        raise ConfigError(f"views depth_tiles: a stride of {stride} leaves gaps between windows")
    return DepthTiles(size, short_side, stride, bool(flip))
