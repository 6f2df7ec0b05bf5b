"""The scores of depth whose scale and shift are free: aligned to each picture's measurements, then scored as depth is.

Owns the alignment: least squares of scale and shift over the counted pixels, in depth or in disparity, and what is then
outside the limits held at them (docs/methods/label_latents.md#evaluation). Pixels and scores are `vpd.tasks.depth`'s.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from shards.errors import SchemaMismatch
from vpd.tasks.depth.metric import DepthMetric, counted_pixels
from vpd.tasks.metric import added


def aligned(predicted: torch.Tensor, target_m: torch.Tensor, counted: torch.Tensor, space: str) -> torch.Tensor:
    """Metres `[H, W]`, float32, of a prediction in any unit of depth or disparity.

    Args:
        predicted: `[H, W]`, finite where it is to have a score.
        target_m: metres of the same shape.
        counted: bool `[H, W]`, somewhere true: the pixels that scale and shift are fitted on.
    """
    wanted = target_m[counted].double()
    if space == "disparity":
        wanted = 1 / wanted
    given = predicted[counted].double()
    spread = given - given.mean()
    scale = (spread * wanted).sum() / spread.square().sum().clamp(min=1e-300)  # 0 where one value is everywhere
    found = scale * (predicted.double() - given.mean()) + wanted.mean()
    return (found if space == "depth" else 1 / found.clamp(min=1e-6)).float()


class AlignedDepthMetric(DepthMetric):
    """As `DepthMetric`, of predictions that know neither scale nor shift.

    Args:
        space: what is predicted, `depth` or `disparity`.
        min_depth_m, max_depth_m, crop, state: as of `DepthMetric`.
    """

    counts_on_device = False  # which pixels count decides the fit, too

    def __init__(
        self, space: str, min_depth_m: float, max_depth_m: float, crop: str, state: torch.Tensor | None = None
    ) -> None:
        super().__init__(min_depth_m, max_depth_m, crop, state)
        self.space = space

    def update(self, pred_m: torch.Tensor, target_m: torch.Tensor) -> None:
        """Count one picture: a prediction in any unit, and metres, both `[H, W]`; 0 where nothing was measured.

        Raises:
            SchemaMismatch: sizes differ.
        """
        if pred_m.shape != target_m.shape:
            raise SchemaMismatch(f"a prediction of {list(pred_m.shape)} for a depth map of {list(target_m.shape)}.")
        pred_m, counted = pred_m.cpu(), counted_pixels(target_m, *self.limits_m, self.crop)
        if counted.any():
            pred_m = aligned(pred_m, target_m, counted, self.space).clamp(*self.limits_m)
        super().update(pred_m, target_m)

    def joined(self, states: Sequence[torch.Tensor]) -> AlignedDepthMetric:
        """The same scores over the sum of several states."""
        return AlignedDepthMetric(self.space, *self.limits_m, self.crop, added(states))
