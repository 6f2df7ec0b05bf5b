"""The scale-invariant logarithmic loss of depth (docs/methods/depth.md#loss).

Owns the loss over the pixels that were measured. With d = log target - log prediction, it is the root of
mean(d^2) - focus * mean(d)^2: at focus 1 a common factor on all depths is free, at 0 it costs like any error.

What the published code leaves open, which users saw as NaN early in training:
no measured pixel       0, and a zero gradient; per image, such an image is left out of the mean
a perfect prediction    0, and a zero gradient, where the root has none
a prediction at 0       counts as FLOOR metres, and gets no gradient there
"""

from __future__ import annotations

import torch

FLOOR_M = 1e-6  # far below any measured depth, far above where 1 / depth overflows


def silog(pred_m: torch.Tensor, target_m: torch.Tensor, focus: float = 0.5, *, per_image: bool = False) -> torch.Tensor:
    """Scalar loss. No pixel is gathered, so nothing waits for the device.

    Args:
        pred_m: depth `[B, H, W]` in metres.
        target_m: the same shape; 0 where nothing was measured.
        focus: weight of the squared mean, 0 to 1 (lambda in the published code).
        per_image: mean of the images' losses (mmseg); else one loss over the batch's pixels (VPD).
    """
    valid = target_m > 0
    # Where nothing was measured both logarithms are of 1, so that no gradient can turn into 0 * inf.
    pred = torch.where(valid, pred_m.float().clamp(min=FLOOR_M), 1.0)
    target = torch.where(valid, target_m.float(), 1.0)
    d = (target.log() - pred.log()).flatten(1)  # [B, H * W], 0 outside
    dims = (1,) if per_image else (0, 1)
    count = valid.flatten(1).sum(dim=dims)  # [B] or []
    measured = count.clamp(min=1)
    inside = (d * d).sum(dim=dims) / measured - focus * (d.sum(dim=dims) / measured) ** 2
    exact = inside <= 0  # NaN is not, and so is passed on
    loss = torch.where(exact, 0.0, torch.where(exact, 1.0, inside).sqrt())
    if not per_image:
        return loss
    return loss.sum() / (count > 0).sum().clamp(min=1)
