"""Depth as a point cloud: a PLY file that viewers open.

Owns the camera that is assumed, a pinhole that looks at the picture's centre, with square pixels and the focal length
that is declared: a depth map does not say it. x to the right, y down, z forward, in metres.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from shards.errors import ConfigError

_HEADER = """ply
format binary_little_endian 1.0
comment metres; x right, y down, z forward; pinhole of {focal:.4f} pixels at the centre of {width} x {height}
element vertex {points}
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
end_header
"""


def focal_of(focal_px: float, fov_deg: float, width: int) -> float:
    """The focal length in pixels of a picture of this width.

    Raises:
        ConfigError: neither it nor the field of view is given, or both, or one that cannot be.
    """
    if (focal_px > 0) == (fov_deg > 0) or focal_px < 0 or not 0 <= fov_deg < 180:
        raise ConfigError(
            f"a point cloud needs the camera: focal_px={focal_px:g} and fov_deg={fov_deg:g} are given; expected one of "
            "them, the focal length in pixels of the picture, or its horizontal field of view in degrees (below 180)."
        )
    return focal_px or width / 2 / math.tan(math.radians(fov_deg) / 2)


def write_ply(depth_m: np.ndarray, image: np.ndarray | None, focal_px: float, path: str | Path) -> None:
    """Write depth `[H, W]` in metres as points with the colours of a picture, uint8 `[H, W, 3]`, or white; pixels
    without a finite depth above 0 have none."""
    height, width = depth_m.shape
    shown = np.isfinite(depth_m) & (depth_m > 0)
    y, x = np.nonzero(shown)
    z = depth_m[shown]
    points = np.empty(len(z), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "u1", 3)])
    points["x"], points["y"] = (x + 0.5 - width / 2) * z / focal_px, (y + 0.5 - height / 2) * z / focal_px
    points["z"], points["rgb"] = z, 255 if image is None else image[shown]
    header = _HEADER.format(focal=focal_px, width=width, height=height, points=len(z))
    with Path(path).open("wb") as file:
        file.write(header.encode("ascii"))
        file.write(points.tobytes())
