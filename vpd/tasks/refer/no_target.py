"""Scores of sentences that mean several objects or none: gIoU, cIoU, N_acc, T_acc and Pr@X, as gRefCOCO's benchmark.

Owns the sums and their definitions (docs/methods/refer.md#several-targets-and-none). For one sentence, `silent` says
that the model answered "no such object":

  no target    silent: IoU 1, and nothing is added to I and U; else IoU 0, and the predicted pixels are added to U
  a target     silent: I = 0, and U is counted all the same; IoU = I / U, and 0 where U is 0

Scores over nothing are NaN: T_acc and Pr@X without a sentence that has a target, N_acc without one that has none,
cIoU where no pixel was counted. When a model without an output of its own is silent is `answers_nothing`'s.
"""

from __future__ import annotations

import torch

THRESHOLDS = (0.7, 0.8, 0.9)
NAMES = ("gIoU", "cIoU", "N_acc", "T_acc", *(f"Pr@{t}" for t in THRESHOLDS))


def answers_nothing(masks: torch.Tensor, fewest_px: int) -> torch.Tensor:
    """Whether each mask, bool `[S, H, W]`, is too small to be an answer: bool `[S]`."""
    return masks.sum(dim=(-2, -1)) < fewest_px


class GeneralScores:
    """The scores of this module, over sentences.

    The state is `[targeted, silent of them, untargeted, silent of them, sum IoU, sum I, sum U, hits at each
    threshold]`, float64, changed in place.

    Args:
        state: float64 `[SIZE]` to count in, instead of new sums.
    """

    SIZE = 7 + len(THRESHOLDS)

    def __init__(self, state: torch.Tensor | None = None) -> None:
        self.state = torch.zeros(self.SIZE, dtype=torch.float64) if state is None else state
        self._thresholds = torch.tensor(THRESHOLDS, dtype=torch.float64, device=self.state.device)

    def update(
        self, intersection: torch.Tensor, union: torch.Tensor, silent: torch.Tensor, *, has_target: bool
    ) -> None:
        """Count sentences that all have a target, or all have none.

        Args:
            intersection, union: pixels of the predicted mask and the target, integers `[S]`; without a target the
                union is the predicted mask.
            silent: bool `[S]`, the model answered "no such object".
        """
        quiet = silent.to(self.state)
        inter, union = intersection.to(self.state), union.to(self.state)
        one, nothing = torch.ones_like(quiet), torch.zeros_like(quiet)
        if has_target:
            inter = inter * (1 - quiet)
            iou = torch.where(union > 0, inter / union.clamp(min=1), 0.0)  # [S]
            kinds = [one, quiet, nothing, nothing]
            hits = (iou[:, None] >= self._thresholds).to(self.state)  # [S, thresholds]
        else:
            inter, union, iou = nothing, union * (1 - quiet), quiet
            kinds = [nothing, nothing, one, quiet]
            hits = nothing[:, None].expand(-1, len(THRESHOLDS))
        samples = torch.stack([*kinds, iou, inter, union], dim=1)
        self.state += torch.cat([samples, hits], dim=1).sum(dim=0)

    @property
    def count(self) -> int:
        """Sentences so far."""
        return int((self.state[0] + self.state[2]).item())

    @property
    def untargeted(self) -> int:
        """Sentences without a target so far."""
        return int(self.state[2].item())

    def compute(self) -> dict[str, float]:
        """Scores in 0..1, NaN where there is nothing to score."""
        targeted, refused, untargeted, silent, iou, inter, union, *hits = self.state.tolist()
        values = (
            _share(iou, targeted + untargeted),
            _share(inter, union),
            _share(silent, untargeted),
            _share(targeted - refused, targeted),
            *(_share(hit, targeted) for hit in hits),
        )
        return dict(zip(NAMES, values, strict=True))


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float("nan")
