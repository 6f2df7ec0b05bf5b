"""The size a picture is resized to when its shape is kept: mmcv's rule, which the published segmentation code uses."""

from __future__ import annotations

from shards.errors import ConfigError
from shards.geometry.view import Size


def keep_ratio(height: int, width: int, base_px: Size, ratio: float = 1.0) -> Size:
    """The largest (h, w) of a picture's shape whose long and short side fit into `base_px` (long, short) times ratio.

    As published, the scaled base is cut to whole pixels, and the sides are rounded half up
    (docs/methods/segmentation.md#training-views).
    """
    long_px, short_px = (int(side * ratio) for side in base_px)
    scale = min(long_px / max(height, width), short_px / min(height, width))
    return max(int(height * scale + 0.5), 1), max(int(width * scale + 0.5), 1)


def checked_sides(name: str, value: object) -> Size:
    """Two positive whole numbers; ConfigError naming the setting otherwise."""
    sides = tuple(value) if isinstance(value, list | tuple) else ()
    if len(sides) != 2 or any(type(side) is not int or side < 1 for side in sides):
        raise ConfigError(f"views: {name} is {value!r}, expected two whole numbers of pixels")
    return sides[0], sides[1]
