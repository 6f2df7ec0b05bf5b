"""Pixels of a batch of levels, where the encoder computes: the same bits on every device.

A GPU divides by a constant by multiplying with its inverse, which moves pixels by a bit. So the 256 values that a level
can have are computed by `pipeline.rendering.geometry.to_pixels`, once, and looked up there; a CPU computes them with
that function, which is faster than looking up.
"""

from __future__ import annotations

import numpy as np
import torch

from pipeline.encoders import Levels
from pipeline.rendering.geometry import to_pixels


class PixelsOfLevels:
    """Makes pixels float32 [B, 3, H, W] in [-1, 1], on a device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        grey = np.repeat(np.arange(256, dtype=np.uint8), 3).reshape(1, 256, 3)
        self._pixel_of = torch.from_numpy(to_pixels([grey], (1, 256))[0, 0, 0]).to(device)  # float32 [256]

    def __call__(self, levels: Levels) -> torch.Tensor:
        return self.computed(levels) if self._device.type == "cpu" else self.looked_up(levels)

    def computed(self, levels: Levels) -> torch.Tensor:
        """On the CPU."""
        n, h, w, _ = levels.values.shape
        pixels = np.zeros((n, 3, h, w), np.float32)
        shown = [values[y0:y1, x0:x1] for values, (y0, x0, y1, x1) in zip(levels.values, levels.shown_px, strict=False)]
        to_pixels(shown, (h, w), out=pixels, pad_before_px=[box[:2] for box in levels.shown_px])
        return torch.from_numpy(pixels)

    def looked_up(self, levels: Levels) -> torch.Tensor:
        """On the device: a quarter of the bytes cross to it."""
        values = torch.from_numpy(levels.values).to(self._device, non_blocking=True)  # uint8 [B, H, W, 3]
        n, h, w, _ = values.shape
        indices = values.permute(0, 3, 1, 2).reshape(-1).int()
        pixels = torch.index_select(self._pixel_of, 0, indices).view(n, 3, h, w)
        for image, (y0, x0, y1, x1) in zip(pixels, levels.shown_px, strict=False):
            if (y0, x0, y1, x1) != (0, 0, h, w):
                image[:, :y0], image[:, y1:], image[:, :, :x0], image[:, :, x1:] = 0.0, 0.0, 0.0, 0.0
        pixels[len(levels.shown_px) :] = 0.0
        return pixels


def host_array(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> np.ndarray:
    """Memory of the host for a batch on its way to a device: pinned, where that is a GPU."""
    return torch.empty(shape, dtype=dtype, pin_memory=device.type == "cuda").numpy()
