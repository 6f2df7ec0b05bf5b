"""Scores of referring segmentation, in both readings: at the size of the view, as published, and at the picture's own.

Scores at the picture's own size are kept beside the published ones, because a squashed mask weighs wide and tall
objects differently. Owns what is compared with what: a sentence whose stored mask is empty has no target, and counts in
the scores of `no_target` only; one with a target counts in those and in `overlap`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from shards.geometry.view import View, cut_label
from vpd.tasks.metric import added, handed_over
from vpd.tasks.refer.labels import decode_rle
from vpd.tasks.refer.no_target import GeneralScores, answers_nothing
from vpd.tasks.refer.overlap import MaskOverlap, mask_overlap

FEWEST_PX = 50  # a predicted mask of fewer pixels is the answer "no such object"


@dataclass(frozen=True)
class Target:
    """The mask of a ref, decoded.

    Attributes:
        full: uint8 `[H, W]`, of the whole picture.
        shown: uint8 `[h, w]`, as the view shows it.
        there: whether there is an object.
    """

    full: np.ndarray
    shown: np.ndarray
    there: bool

    @classmethod
    def of(cls, rle: Mapping[str, Any], view: View) -> Target:
        """From run lengths of the whole picture."""
        full = decode_rle(rle)
        return cls(full, cut_label(full, view), bool(full.any()))


class Reading:
    """All scores at one size.

    Args:
        state: float64 `[Reading.SIZE]` to count in.
        fewest_px: see `FEWEST_PX`.
    """

    SIZE = MaskOverlap.SIZE + GeneralScores.SIZE

    def __init__(self, state: torch.Tensor, fewest_px: int) -> None:
        self.overlap = MaskOverlap(state[: MaskOverlap.SIZE])  # both count in the one tensor that is added up
        self.general = GeneralScores(state[MaskOverlap.SIZE :])
        self.fewest_px = fewest_px

    def update(self, logits: torch.Tensor, target: torch.Tensor, *, has_target: bool) -> None:
        """Score logits `[S, 2, h, w]` against a mask, uint8 `[h, w]` of the same size, on their device.

        Args:
            has_target: of the whole picture's mask: a small object can vanish at the size of a view.
        """
        masks = logits[:, 1] > logits[:, 0]  # [S, h, w]; argmax over two takes a hundred times as long on a CPU
        inter, union = mask_overlap(masks, target != 0)
        if has_target:
            self.overlap.update(inter, union)
        self.general.update(inter, union, answers_nothing(masks, self.fewest_px), has_target=has_target)

    def compute(self, general: bool) -> dict[str, float]:
        return self.overlap.compute() | (self.general.compute() if general else {})


class ReferMetric:
    """Both readings: `published` at the view's size, `native` at the picture's own size.

    Args:
        fewest_px: see `FEWEST_PX`; counted at the size that is compared.
        general: give the scores of `no_target` although no sentence so far is without a target; they are given in any
            case where one is.
        state: float64 `[2, Reading.SIZE]` to count in, instead of new sums.
    """

    counts_on_device = True

    def __init__(self, fewest_px: int = FEWEST_PX, *, general: bool = False, state: torch.Tensor | None = None) -> None:
        self.state = torch.zeros(2, Reading.SIZE, dtype=torch.float64) if state is None else state
        self.fewest_px, self.general = fewest_px, general
        self.published, self.native = (Reading(row, fewest_px) for row in self.state)

    @property
    def count(self) -> int:
        """Sentence samples so far."""
        return self.published.general.count

    def update(self, logits: torch.Tensor, target: Target) -> None:
        """Score the sentences of one ref, logits `[S, 2, h, w]` at the view's size, against its mask.

        At the picture's own size logits are enlarged bilinearly (align_corners) before the larger one is taken.
        """
        full = handed_over(torch.from_numpy(target.full), logits.device)
        self.published.update(
            logits, handed_over(torch.from_numpy(target.shown), logits.device), has_target=target.there
        )
        resized = F.interpolate(logits.float(), size=full.shape, mode="bilinear", align_corners=True)
        self.native.update(resized, full, has_target=target.there)

    def joined(self, states: Sequence[torch.Tensor]) -> ReferMetric:
        """A metric of the same kind over the sum of several states."""
        return ReferMetric(self.fewest_px, general=self.general, state=added(states))

    def compute(self) -> dict[str, float]:
        """Published scores under their names, native ones as `native/<name>`."""
        general = self.general or self.published.general.untargeted > 0
        native = self.native.compute(general)
        return self.published.compute(general) | {f"native/{name}": value for name, value in native.items()}
