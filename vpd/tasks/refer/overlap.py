"""The counting of mask overlap: oIoU, mIoU and the share of masks above a threshold.

Owns the sums. Which masks are compared, and at which size, is `metric`'s. Definitions of the referring-segmentation
scores: docs/methods/refer.md#scores (every sentence is one sample; IoU is 0 where the union is empty; P@X counts
IoU >= X).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from vpd.tasks.metric import added

THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
NAMES = ("oIoU", "mIoU", *(f"P@{t}" for t in THRESHOLDS))


def mask_overlap(pred: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels in both masks and in either.

    Args:
        pred: bool `[S, H, W]`.
        target: bool `[S, H, W]` or `[H, W]` (the same for all).

    Returns:
        Intersection and union, int64 `[S]`.
    """
    return (pred & target).sum(dim=(-2, -1)), (pred | target).sum(dim=(-2, -1))


class MaskOverlap:
    """oIoU, mIoU and P@.5 to P@.9 over mask samples.

    The state is `[count, sum I, sum U, sum IoU, hits at each threshold]`, in float64, in which pixel counts up to 2^53
    are exact. It is changed in place and stays on its device: nothing waits for a GPU before `compute`.

    Args:
        state: float64 `[SIZE]` to count in, instead of new sums.
    """

    SIZE = 4 + len(THRESHOLDS)

    def __init__(self, state: torch.Tensor | None = None) -> None:
        self.state = torch.zeros(self.SIZE, dtype=torch.float64) if state is None else state
        self._thresholds = torch.tensor(THRESHOLDS, dtype=torch.float64, device=self.state.device)

    def update(self, intersection: torch.Tensor, union: torch.Tensor) -> None:
        """Count samples given their intersections and unions, integer tensors `[S]` in pixels."""
        inter, union = intersection.to(self.state), union.to(self.state)
        iou = torch.where(union > 0, inter / union.clamp(min=1), 0.0)  # [S]
        hits = (iou[:, None] >= self._thresholds).to(self.state)  # [S, thresholds]
        samples = torch.stack([torch.ones_like(iou), inter, union, iou], dim=1)
        self.state += torch.cat([samples, hits], dim=1).sum(dim=0)

    def joined(self, states: Sequence[torch.Tensor]) -> MaskOverlap:
        """The same scores over the sum of several states."""
        return MaskOverlap(added(states))

    @property
    def count(self) -> int:
        """Samples so far."""
        return int(self.state[0].item())

    def compute(self) -> dict[str, float]:
        """Scores in 0..1; all NaN before the first sample."""
        count, inter, union, iou, *hits = self.state.tolist()
        if not count:
            return dict.fromkeys(NAMES, float("nan"))
        return dict(zip(NAMES, (inter / max(union, 1.0), iou / count, *(hit / count for hit in hits)), strict=True))
