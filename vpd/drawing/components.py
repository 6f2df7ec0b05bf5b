"""Feature maps and heat maps as pictures: what many channels say in three colours, and what lights up where."""

from __future__ import annotations

import numpy as np
import torch

from vpd.drawing.colormaps import COLORMAPS, coloured
from vpd.features.components import leading

_ENDS = (0.01, 0.99)  # quantiles that the darkest and the brightest level stand for


def in_three_colours(values: torch.Tensor) -> np.ndarray:
    """The first three principal components of a feature map `[C, h, w]` as red, green and blue: uint8 `[h, w, 3]`.

    The sign of a component is that of its largest coefficient, so that the same features give the same colours. Where
    there are fewer components than three, or nothing varies, the level is grey.
    """
    channels, h, w = values.shape
    rows = values.detach().float().cpu().flatten(1).T.double()  # [h w, C]
    rows = rows - rows.mean(0)
    chosen, _ = leading(rows.T @ rows, 3)  # [C, 3 or fewer]
    places = rows @ chosen  # [h w, 3]
    picture = np.full((h * w, 3), 128, np.uint8)
    for number in range(min(3, channels)):
        low, high = np.quantile(places[:, number].numpy(), _ENDS)
        if high - low > 1e-9:
            levels = (places[:, number].numpy() - low) / (high - low) * 255
            picture[:, number] = levels.clip(0, 255).round()
    return picture.reshape(h, w, 3)


def glowing(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A picture, uint8 `[H, W, 3]`, in grey under the colours of a heat map `[H, W]`, from its least to its most."""
    grey = image.mean(-1, keepdims=True).repeat(3, -1)
    colours = coloured(heat, float(heat.min()), float(heat.max()), COLORMAPS["dusk"].anchors)
    return (0.4 * grey + 0.6 * colours).round().astype(np.uint8)
