"""The squared error of predicted latents over the cells that were measured (docs/methods/label_latents.md#training)."""

from __future__ import annotations

import torch


def masked_mse(predicted: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Scalar: the mean over channels and cells `[B, C, h, w]` where `mask` `[B, h, w]` is not 0; 0 where it is nowhere.
    No cell is gathered, so nothing waits for the device."""
    counted = (mask != 0)[:, None]  # [B, 1, h, w]
    # where, and not a product: what was not measured may be anything, and inf * 0 is NaN
    squares = torch.where(counted, predicted.float() - wanted.float(), 0.0).square()
    return squares.sum() / (counted.sum() * predicted.shape[1]).clamp(min=1)
