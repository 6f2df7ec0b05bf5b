"""The two losses: squared error of latents over measured cells, and error of aligned maps over measured pixels.

Both are of docs/methods/label_latents.md#training. No pixel is gathered, so nothing waits for the device.
"""

from __future__ import annotations

import torch


def masked_mse(predicted: torch.Tensor, wanted: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Scalar: the mean over channels and cells `[B, C, h, w]` where `mask` `[B, h, w]` is not 0, or 0."""
    counted = (mask != 0)[:, None]  # [B, 1, h, w]
    # where, and not a product: what was not measured may be anything, and inf * 0 is NaN
    squares = torch.where(counted, predicted.float() - wanted.float(), 0.0).square()
    return squares.sum() / (counted.sum() * predicted.shape[1]).clamp(min=1)


def affine_invariant(predicted: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Scalar: the mean absolute error of maps `[B, H, W]` over the pixels where `wanted` is above 0, after a scale and
    a shift of each prediction by least squares over its pixels; 0 where there are none.

    The gradient goes through scale and shift, too. A prediction that is one value has scale 0, and no gradient.
    """
    counted = wanted > 0
    count = counted.sum(dim=(1, 2), keepdim=True).clamp(min=1)  # [B, 1, 1]
    given, wanted = (torch.where(counted, values.float(), 0.0) for values in (predicted, wanted))
    centre, level = (values.sum(dim=(1, 2), keepdim=True) / count for values in (given, wanted))  # [B, 1, 1]
    given, wanted = torch.where(counted, given - centre, 0.0), torch.where(counted, wanted - level, 0.0)
    spread = given.square().sum(dim=(1, 2), keepdim=True)
    varies = spread > 1e-8 * count
    scale = torch.where(varies, (given * wanted).sum(dim=(1, 2), keepdim=True) / torch.where(varies, spread, 1.0), 0.0)
    return (scale * given - wanted).abs().sum() / counted.sum().clamp(min=1)  # 0 where nothing counts
