"""The part of a picture that a depth protocol looks at, and the sizes its crops are shown at.

Owns KITTI's frame, the "KB crop": 352 x 1216 pixels at the bottom of a picture and in the middle of its width, because
the laser scanner measures nothing above it and pictures differ in size (docs/methods/depth.md#kitti). `depth` cuts
training views out of it, `depth_tiles` windows.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.views.keep_ratio import checked_sides
from shards.errors import Reject
from shards.geometry.view import Box, Size


def frame_box(height: int, width: int, frame_px: Size | None) -> Box:
    """The frame of a picture in source pixels; the whole picture where there is none.

    Raises:
        Reject: the picture is smaller than the frame.
    """
    if frame_px is None:
        return 0, 0, width, height
    rows, columns = frame_px
    if height < rows or width < columns:
        raise Reject(f"a picture of {height} x {width} is smaller than the frame of {rows} x {columns} of its views")
    left, top = (width - columns) // 2, height - rows
    return left, top, left + columns, top + rows


def sides(name: str, value: int | Sequence[int]) -> Size:
    """A setting that is one number for a square, or (h, w). ConfigError: it is neither."""
    return checked_sides(name, [value, value] if isinstance(value, int) else list(value))
