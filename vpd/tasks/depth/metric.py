"""The scores of depth estimation (docs/methods/depth.md#evaluation, docs/methods/depth.md#kitti).

Owns which pixels count, the score of one picture, and their plain mean over pictures. How a prediction came to the
picture's size is left to the task. A pixel counts if its measured depth lies strictly between the two limits and
inside the crop. Of a prediction, inf counts as the upper limit and NaN as the lower; nothing else is clipped. A picture
without one finite prediction has the score NaN, and so has the whole pass: limits in the place of all of it would be a
score like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import torch

from shards.errors import ConfigError, SchemaMismatch
from vpd.tasks.metric import added, handed_over

NAMES = ("d1", "d2", "d3", "abs_rel", "sq_rel", "rmse", "rmse_log", "log10", "silog")
# Rows and columns that count, as parts of the picture: top, bottom, left, right. Exact where the published code names
# pixels of one size; where it multiplies by decimals, those decimals as floats, which is what gives its rows.
CROPS: dict[str, tuple[float | Fraction, ...]] = {
    "none": (0, 1, 0, 1),
    # Eigen's box of NYUv2: rows 45:471, columns 41:601
    "nyu": (Fraction(45, 480), Fraction(471, 480), Fraction(41, 640), Fraction(601, 640)),
    "garg": (0.40810811, 0.99189189, 0.03594771, 0.96405229),  # KITTI: 143:349, 43:1172 of 352 x 1216
    "eigen": (0.3324324, 0.91351351, 0.03594771, 0.96405229),  # KITTI: 117:321, 43:1172
}
SILOG_FOCUS = 0.5


def crop_slices(crop: str, height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns that count in a picture, each bound rounded down.

    Raises:
        ConfigError: unknown name.
    """
    if crop not in CROPS:
        raise ConfigError(f"depth crop {crop!r} is unknown; choose one of {', '.join(CROPS)}.")
    top, bottom, left, right = CROPS[crop]
    return slice(int(top * height), int(bottom * height)), slice(int(left * width), int(right * width))


def counted_pixels(target_m: torch.Tensor, min_depth_m: float, max_depth_m: float, crop: str) -> torch.Tensor:
    """Bool `[H, W]`: measured strictly inside the limits, and inside the crop."""
    rows, columns = crop_slices(crop, *target_m.shape)
    inside = torch.zeros_like(target_m, dtype=torch.bool)
    inside[rows, columns] = True
    return inside & (target_m > min_depth_m) & (target_m < max_depth_m)


def repaired(pred_m: torch.Tensor, min_depth_m: float, max_depth_m: float) -> torch.Tensor:
    """A prediction with inf replaced by the upper limit and NaN by the lower."""
    pred_m = torch.where(pred_m.isinf(), max_depth_m, pred_m)
    return torch.where(pred_m.isnan(), min_depth_m, pred_m)


def depth_scores(pred_m: torch.Tensor, target_m: torch.Tensor) -> torch.Tensor:
    """Scores of one picture's counted pixels, float64 `[9]` in the order of `NAMES`.

    Args:
        pred_m, target_m: float `[n]`, n > 0, metres.
    """
    # Ratios in float32 as published: millimetre depths often stand exactly on a threshold such as 1.25.
    ratio = torch.maximum(pred_m.float() / target_m.float(), target_m.float() / pred_m.float())
    pred, target = pred_m.double(), target_m.double()
    error = pred - target
    log_error = pred.log() - target.log()
    silog = (log_error.square().mean() - SILOG_FOCUS * log_error.mean().square()).sqrt()
    return torch.stack(
        [
            *((ratio < 1.25**k).double().mean() for k in (1, 2, 3)),
            (error.abs() / target).mean(),
            (error.square() / target).mean(),
            error.square().mean().sqrt(),
            log_error.square().mean().sqrt(),
            (pred.log10() - target.log10()).abs().mean(),
            silog,
        ]
    )


class DepthMetric:
    """Means of the pictures' scores.

    The state is `[pictures, pictures with a counted pixel, sum of each score]` in float64. A picture without one has no
    score: it counts as a picture, and the means are over the others.

    Args:
        min_depth_m, max_depth_m: limits of a measured depth, both exclusive.
        crop: one of `CROPS`.
        state: float64 `[SIZE]` to count in, instead of new sums.
    """

    SIZE = 2 + len(NAMES)
    counts_on_device = True

    def __init__(
        self, min_depth_m: float, max_depth_m: float, crop: str = "none", state: torch.Tensor | None = None
    ) -> None:
        self.limits_m = (min_depth_m, max_depth_m)
        self.crop = crop
        self.state = torch.zeros(self.SIZE, dtype=torch.float64) if state is None else state

    def update(self, pred_m: torch.Tensor, target_m: torch.Tensor) -> None:
        """Count one picture, both float `[H, W]` in metres; target 0 where nothing was measured. Which pixels count is
        decided where the target lies: with that on the host, and the sums beside the prediction, nothing waits.

        Raises:
            SchemaMismatch: sizes differ.
        """
        if pred_m.shape != target_m.shape:
            raise SchemaMismatch(f"a prediction of {list(pred_m.shape)} for a depth map of {list(target_m.shape)}.")
        counted = counted_pixels(target_m, *self.limits_m, self.crop).flatten().nonzero()[:, 0]  # [n]
        self.state[0] += 1
        if not len(counted):
            return
        self.state[1] += 1
        pred_m = pred_m.flatten()[handed_over(counted, pred_m.device)]  # [n]
        target_m = handed_over(target_m.flatten()[counted], pred_m.device)  # [n]
        scores = depth_scores(repaired(pred_m, *self.limits_m), target_m)
        self.state[2:] += torch.where(pred_m.isfinite().any(), scores, math.nan).to(self.state)

    def joined(self, states: Sequence[torch.Tensor]) -> DepthMetric:
        """The same scores over the sum of several states."""
        return DepthMetric(*self.limits_m, self.crop, added(states))

    @property
    def count(self) -> int:
        """Pictures so far."""
        return int(self.state[0].item())

    def compute(self) -> dict[str, float]:
        """Scores by name; all nan before the first counted pixel: an error of 0 would be the best there is."""
        _, scored, *sums = self.state.tolist()
        return {name: total / scored if scored else math.nan for name, total in zip(NAMES, sums, strict=True)}
