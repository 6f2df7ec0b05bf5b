"""Depth as a picture for a VAE, and back (docs/methods/label_latents.md#labels).

Owns the numbers: measured depth, or 1 / depth, between two of its quantiles becomes -1 to 1, and what is outside is
cut. Which latent cells show measured pixels alone is here, too. Arrays only; the VAE is `maker`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

UNITS = {"depth": "metres", "disparity": "1 / metres"}


@dataclass(frozen=True)
class Scaled:
    """The depth, or the normals, of a view as the VAE is shown them.

    Attributes:
        values: float32 `[H, W]` in [-1, 1], as the nearest there is where nothing was measured; of normals
            `[3, H, W]`, zero there.
        ends: float32 `[2]`: what -1 and 1 stand for, in metres or 1 / metres; both 0 without a range, and of normals.
        measured: bool `[H, W]`; nowhere without a range.
    """

    values: np.ndarray
    ends: np.ndarray
    measured: np.ndarray


def scaled(depth_m: np.ndarray, space: str, quantile: float) -> Scaled:
    """A view's depth `[H, W]` in metres, 0 = no measurement, scaled by its own quantiles.

    A view without a measurement, or with one value only, has no range: no pixel of it counts as measured.
    """
    measured = depth_m > 0
    nearest = 1.0 if space == "disparity" else -1.0
    values = np.full(depth_m.shape, nearest, np.float32)
    chosen = depth_m[measured].astype(np.float64)
    if space == "disparity":
        chosen = 1 / chosen
    ends = np.quantile(chosen, (quantile, 1 - quantile)).astype(np.float32) if chosen.size else np.zeros(2, np.float32)
    low, high = ends.astype(np.float64)
    if not low < high:
        return Scaled(values, np.zeros(2, np.float32), np.zeros_like(measured))
    values[measured] = ((chosen - low) / (high - low) * 2 - 1).clip(-1, 1)
    return Scaled(values, ends, measured)


def unscaled(values: Any, ends: Any, space: str) -> Any:
    """Metres of scaled values `[..., H, W]`, arrays or tensors, by what -1 and 1 stand for, `[..., 2]`."""
    low, high = ends[..., 0, None, None], ends[..., 1, None, None]
    found = low + (values + 1) / 2 * (high - low)
    return 1 / found if space == "disparity" else found


def whole_cells(measured: np.ndarray, stride_px: int) -> np.ndarray:
    """Bool `[h, w]`: the latent cells whose every pixel of `[H, W]` was measured."""
    height, width = measured.shape
    cells = measured.reshape(height // stride_px, stride_px, width // stride_px, stride_px)
    return np.asarray(cells.all(axis=(1, 3)))
