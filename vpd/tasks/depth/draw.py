"""Depth for people and other programs: in colours, in words, and in the files that it is exchanged in.

Owns what the ends of the colours stand for, and which suffix is which format. The 16-bit PNG is `labels`', the point
cloud `cloud`'s.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vpd.drawing.colormaps import colormap, coloured
from vpd.drawing.style import Legend, Style
from vpd.tasks.depth.cloud import focal_of, write_ply
from vpd.tasks.depth.labels import write_png

SHOWN_PERCENT = (2, 98)  # a picture's colours span these percentiles of its depth, unless a range is chosen


def drawn(depth_m: np.ndarray, style: Style) -> np.ndarray:
    """Depth `[H, W]` in colours, uint8 `[H, W, 3]`, black where there is none."""
    near, far = _shown(depth_m, style)
    found = colormap(style.colormap)
    low, high = (far, near) if found.far_first else (near, far)
    return coloured(depth_m, low, high, found.anchors)


def legend_of(depth_m: np.ndarray, style: Style) -> Legend:
    """The range and the median of depth `[H, W]`, and the scale of its colours, from near to far."""
    finite = depth_m[np.isfinite(depth_m)]
    if not finite.size:
        return Legend("no depth anywhere", empty=True)
    (near, far), found = _shown(depth_m, style), colormap(style.colormap)
    ramp = found.anchors[::-1] if found.far_first else found.anchors
    title = f"depth {finite.min():.2f} to {finite.max():.2f} m, median {np.median(finite):.2f} m"
    return Legend(title, ramp=ramp.astype(np.uint8), ends=(f"{near:.2f} m", f"{far:.2f} m"))


def write_depth(
    depth_m: np.ndarray, path: str | Path, image: np.ndarray | None, style: Style, png_per_m: float
) -> None:
    """Write depth `[H, W]` in the format of the path's suffix: `.npy` and `.tif` hold float32 metres, `.ply` points
    with the colours of `image`, anything else is a 16-bit PNG of `png_per_m` units a metre."""
    suffix = Path(path).suffix.lower()
    if suffix == ".npy":
        np.save(path, depth_m.astype(np.float32))
    elif suffix in (".tif", ".tiff"):
        Image.fromarray(depth_m.astype(np.float32)).save(path, format="TIFF")
    elif suffix == ".ply":
        write_ply(depth_m, image, focal_of(style.focal_px, style.fov_deg, depth_m.shape[-1]), path)
    else:
        write_png(depth_m, path, png_per_m)


def _shown(depth_m: np.ndarray, style: Style) -> tuple[float, float]:
    """The depths in metres that the ends of the colours stand for, near and far."""
    if style.far_m:
        return style.near_m, style.far_m
    finite = depth_m[np.isfinite(depth_m)]
    near, far = np.percentile(finite, SHOWN_PERCENT) if finite.size else (0.0, 1.0)
    return float(near), float(far)
