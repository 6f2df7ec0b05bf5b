"""Surface normals of measured depth, and what a view shows of them (docs/methods/label_latents.md#normals).

Owns the fit, the frame of reference, and what mirroring does to a vector. The depth of a plane is such that 1 / depth
is linear in the pixels, so a plane is fitted to 1 / depth in a window around each pixel by least squares, which is
exact where there is one. x points right, y up and z to whoever looks, as in Marigold; the zero vector says "not known".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from shards.errors import ConfigError, SchemaMismatch


@dataclass(frozen=True)
class NormalsOf:
    """How normals are made of depth.

    Attributes:
        intrinsics: (fx, fy, cx, cy) of the camera in pixels of the stored depth.
        window_px: side of the window that a plane is fitted in, odd; all of it has to be measured.
        tolerance: root of the mean squared deviation of 1 / depth from the plane, as a share of 1 / depth, above which
            there is no plane but an edge.
    """

    intrinsics: Sequence[float]
    window_px: int
    tolerance: float

    def __post_init__(self) -> None:
        if len(self.intrinsics) != 4 or not all(isfinite(value) and value > 0 for value in self.intrinsics):
            raise ConfigError(
                f"intrinsics is {list(self.intrinsics)}; expected the camera's [fx, fy, cx, cy] in pixels of the "
                "depth, each above 0, such as [518.858, 519.470, 325.582, 253.736] of NYUv2's 640 x 480."
            )
        if self.window_px < 3 or self.window_px % 2 == 0 or not self.tolerance > 0:
            raise ConfigError(
                f"window_px is {self.window_px} and tolerance {self.tolerance:g}; expected an odd number from 3, and a "
                "share above 0."
            )

    def __call__(self, depth_m: np.ndarray, key: str) -> np.ndarray:
        """Unit vectors float32 `[H, W, 3]` of depth `[H, W]` in metres, 0 = no measurement; zero where not known.

        Raises:
            SchemaMismatch: the camera's centre is not in the picture of record `key`, or no window is.
        """
        (height, width), (fx, fy, cx, cy), reach = depth_m.shape, self.intrinsics, self.window_px // 2
        if not (cx < width and cy < height):
            raise SchemaMismatch(
                f"record {key}: its depth has {height} x {width} pixels, and the camera's centre is at column {cx:g}, "
                f"row {cy:g}. Give the intrinsics in pixels of the depth; pictures of several sizes need a set each."
            )
        if min(height, width) < self.window_px:
            raise SchemaMismatch(
                f"record {key}: its depth has {height} x {width} pixels, and no window of {self.window_px} fits in. "
                "Lower window_px."
            )
        normals = np.zeros((height, width, 3), np.float32)
        measured = depth_m > 0
        near = np.where(measured, 1 / np.where(measured, depth_m, 1).astype(np.float64), 0)  # [H, W], 1 / metres
        steps, ones = np.arange(-reach, reach + 1.0), np.ones(self.window_px)
        count, moment = float(self.window_px**2), float((steps**2).sum() * self.window_px)
        mean = _over(near, ones, ones) / count  # [h, w]: what is around has a whole window
        across, down = _over(near, ones, steps) / moment, _over(near, steps, ones) / moment  # a pixel
        left_over = _over(near**2, ones, ones) / count - mean**2 - (across**2 + down**2) * moment / count
        known = _over(measured.astype(np.float64), ones, ones) == count
        known &= left_over <= (self.tolerance * mean) ** 2
        rows, columns = np.mgrid[reach : height - reach, reach : width - reach]
        a, b = across * fx, down * fy  # 1 / depth = a x + b y + c, x and y on the plane one metre away
        c = mean - a * (columns - cx) / fx - b * (rows - cy) / fy
        found = np.stack([-a, b, c], axis=-1)  # [h, w, 3]
        length = np.linalg.norm(found, axis=-1, keepdims=True)
        known &= length[..., 0] > 0
        inner = normals[reach : height - reach, reach : width - reach]
        inner[known] = (found[known] / length[known]).astype(np.float32)
        return normals


def mirrored(normals: np.ndarray) -> np.ndarray:
    """Vectors `[3, ...]` of a picture whose columns were mirrored: left and right change places, in a vector, too."""
    return normals * np.array([-1, 1, 1], normals.dtype).reshape(3, *[1] * (normals.ndim - 1))


def _over(values: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sums `[H - k + 1, W - k + 1]` of `[H, W]` over windows of k pixels, weighted by row and by column."""
    height, width = (side - len(rows) + 1 for side in values.shape)
    down = np.zeros((height, values.shape[1]))
    for place, weight in enumerate(rows):
        down += weight * values[place : place + height]
    found = np.zeros((height, width))
    for place, weight in enumerate(columns):
        found += weight * down[:, place : place + width]
    return found
