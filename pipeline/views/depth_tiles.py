"""Evaluation views of depth: square windows over the picture, each also flipped, padded to what the encoder sees.

Published evaluation of NYUv2 has two 480 x 480 windows of the 480 x 640 picture, at columns 0 and W - H, and their
flipped copies, which the model pads to 512 (docs/methods/depth.md#evaluation): the defaults. mmsegmentation's variant
at 512 resizes the picture to 512 x 683 first and takes windows at columns 0, 128 and 171
(docs/methods/depth.md#mmsegmentation): `short_side: 512, stride: 128`. Meta Prompts enlarges windows instead of padding
them: `enlarge: 512`, or 448 for KITTI.

KITTI has 16 windows of its frame of 352 x 1216 (`frame: [352, 1216], windows: 16`), in one of two ways
(docs/methods/depth.md#kitti):
    published   a whole number of pixels apart, 57, so that the last window ends at column 1207 and 9 columns are seen
                by none: the depth task counts them as its `uncovered` says
    even        the first window at one border, the last at the other, rounded places between: every column is seen

A size that is no square has windows as large as fit into it: with `size: [512, 640]` one of a whole picture of NYUv2,
as ECoDepth sees it (docs/methods/depth.md#ecodepth).

Owns where the windows are; `vpd.tasks.stitch` puts predictions together again from their recorded places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pipeline.views.frame import frame_box, sides
from pipeline.views.keep_ratio import keep_ratio
from pipeline.views.segmentation_tiles import window_spans
from shards.errors import ConfigError, Reject
from shards.geometry.view import Box, Size, View

SPACINGS = ("even", "published")
_SHAPE_PX = (480, 640)  # of NYUv2, for estimates
_NO_LIMIT = 1 << 30


@dataclass(frozen=True)
class DepthTiles:
    """See the module; `build` makes one."""

    size_px: Size
    short_side: int | None
    stride: int | None
    flip: bool
    frame_px: Size | None = None
    windows: int | None = None
    spacing: str | None = None
    enlarged: bool = False

    @property
    def views_per_image(self) -> int:
        """Of the frame, or of a picture of NYUv2's shape."""
        if self.frame_px is not None:
            return len(self.views("", *self.frame_px))
        side = self.short_side or (_SHAPE_PX[0] if self.enlarged or not self._is_square else self.size_px[0])
        return len(list(self._windows((side, side * _SHAPE_PX[1] // _SHAPE_PX[0])))) * (2 if self.flip else 1)

    def views(self, key: str, height: int, width: int, labels: object = None) -> list[View]:
        """All windows, row by row, then all of them flipped.

        Reject: a picture smaller than the frame, a window larger than the encoder's picture, or gaps between windows.
        """
        x0, y0, x1, y1 = box = frame_box(height, width, self.frame_px)
        resized = (y1 - y0, x1 - x0)
        if self.short_side is not None:
            resized = keep_ratio(*resized, (_NO_LIMIT, self.short_side))
        side = min(resized)
        if not self.enlarged and self._is_square and side > self.size_px[0]:
            raise Reject(
                f"windows of a picture of {height} x {width} are {side} pixels wide, views are {self.size_px[0]}; set "
                f"short_side of views depth_tiles to {self.size_px[0]} or less"
            )
        shown = self._window_px(resized)
        pad = (0, 0) if self.enlarged else (self.size_px[0] - shown[0], self.size_px[1] - shown[1])
        enlarged_px = self.size_px if self.enlarged else None
        return [
            View(self.size_px, box, resized, window, flip=flip, pad_px=pad, enlarged_px=enlarged_px)
            for flip in ((False, True) if self.flip else (False,))
            for window in self._windows(resized)
        ]

    def identity(self) -> dict[str, Any]:
        """The options; those that were added later only where they do something."""
        shown: dict[str, Any] = {"size_px": list(self.size_px)}
        if self.enlarged or self._is_square:
            shown = {"enlarged_px": list(self.size_px)} if self.enlarged else {"side_px": self.size_px[0]}
        later: dict[str, Any] = {"windows": self.windows, "spacing": self.spacing}
        if self.frame_px is not None:
            later["frame_px"] = list(self.frame_px)
        return {
            "plan": "depth_tiles",
            **shown,
            "short_side": self.short_side,
            "stride": self.stride,
            "flip": self.flip,
            **{name: value for name, value in later.items() if value is not None},
        }

    @property
    def _is_square(self) -> bool:
        return self.size_px[0] == self.size_px[1]

    def _window_px(self, resized: Size) -> Size:
        """Of a picture: squares of its short side, or what fits into a canvas that is no square."""
        if self.enlarged or self._is_square:
            return min(resized), min(resized)
        return min(resized[0], self.size_px[0]), min(resized[1], self.size_px[1])

    def _windows(self, resized: Size) -> Iterator[Box]:
        """`stride` apart, the last one moved back inside, or `windows` of them."""
        rows, columns = (self._spans(*spans) for spans in zip(resized, self._window_px(resized), strict=True))
        for top, bottom in rows:
            for left, right in columns:
                yield left, top, right, bottom

    def _spans(self, length: int, side: int) -> list[tuple[int, int]]:
        """(first, end) of the windows along one side of a picture."""
        if self.windows is None or length == side:
            return window_spans(length, side, min(self.stride or side, side))
        starts = window_starts(length - side, self.windows, self.spacing == "published")
        if len(starts) < 2 or any(after - before > side for before, after in pairwise(starts)):
            raise Reject(
                f"{self.windows} windows of {side} pixels leave gaps along {length} pixels; views depth_tiles needs at "
                f"least {-(-length // side)} windows"
            )
        return [(start, start + side) for start in starts]


def window_starts(room: int, windows: int, whole_interval: bool) -> list[int]:
    """Where `windows` windows begin that may move by `room` pixels.

    With `whole_interval`, as published: a whole number of pixels apart, so that the last one may end before the border.
    Else the last one begins at `room`, and the others are rounded to their places.
    """
    gaps = max(windows - 1, 1)
    if whole_interval:
        return [number * (room // gaps) for number in range(windows)]
    return [(number * room * 2 + gaps) // (2 * gaps) for number in range(windows)]


def build(
    size: int | Sequence[int] | None = None,
    short_side: int | None = None,
    stride: int | None = None,
    flip: bool = True,
    frame: Sequence[int] | None = None,
    windows: int | None = None,
    spacing: str | None = None,
    enlarge: int | Sequence[int] | None = None,
) -> DepthTiles:
    """The plan.

    Args:
        size: of what the encoder sees, one number for a square, 512 if not given, or (h, w); windows are padded to it.
        short_side: pictures are resized to it first, shape kept; None takes them as they are.
        stride: pixels from one window to the next; None: the window's side, so that windows overlap only where the last
            one must.
        flip: also every window flipped.
        frame: (h, w) at the bottom and in the middle of a picture; windows are of it.
        windows: in place of `stride`: how many windows there are along the long side.
        spacing: of these `windows`: `even` if not given, or `published`; see the module.
        enlarge: in place of `size`: windows are resized to it, one number for a square or (h, w), and not padded.

    Raises:
        ConfigError: a number is out of range, two settings exclude each other, or windows would leave gaps.
    """
    square = None if isinstance(size, list | tuple) else size  # (h, w) is checked by `sides`
    numbers = {"size": square, "short_side": short_side, "stride": stride, "windows": windows}
    for name, value in numbers.items():
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigError(f"views depth_tiles: {name} is {value!r}, expected a whole number above 0")
    if size is not None and enlarge is not None:
        raise ConfigError(f"views depth_tiles: size is {size} and enlarge {enlarge}; a window is padded, or enlarged")
    if windows is not None and stride is not None:
        raise ConfigError(f"views depth_tiles: windows is {windows} and stride {stride}; set one of them")
    if spacing is not None and (windows is None or spacing not in SPACINGS):
        raise ConfigError(
            f"views depth_tiles: spacing is {spacing!r} of windows {windows}; expected {' or '.join(SPACINGS)}, with a "
            "number of windows"
        )
    shown_px = sides("enlarge", enlarge) if enlarge is not None else sides("size", size or 512)
    if enlarge is None and short_side is not None and short_side > min(shown_px):
        raise ConfigError(f"views depth_tiles: windows of short_side {short_side} do not fit into size {min(shown_px)}")
    frame_px = None if frame is None else sides("frame", frame)
    largest = short_side or (min(frame_px) if frame_px else min(shown_px) if enlarge is None else _NO_LIMIT)
    if stride is not None and stride > largest:
        raise ConfigError(f"views depth_tiles: a stride of {stride} leaves gaps between windows")
    if windows is not None:
        spacing = spacing or "even"
    plan = DepthTiles(shown_px, short_side, stride, bool(flip), frame_px, windows, spacing, enlarge is not None)
    if frame_px is not None:
        try:
            plan.views("", *frame_px)
        except Reject as error:
            raise ConfigError(f"views depth_tiles: {error}") from error
    return plan
