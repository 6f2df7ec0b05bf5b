"""Scores of referring segmentation, in both readings: at the size of the view, as published, and at the picture's own.

Scores at the picture's own size are kept beside the published ones, because a squashed mask weighs wide and tall
objects differently. The sums are `overlap`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from shards.geometry.view import View, cut_label
from vpd.tasks.metric import added
from vpd.tasks.refer.labels import decode_rle
from vpd.tasks.refer.overlap import MaskOverlap, mask_overlap


def published_overlap(logits: torch.Tensor, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Intersections and unions `[S]` of logits `[S, 2, h, w]` with a mask `[h, w]` of the same size."""
    target = torch.from_numpy(mask != 0).to(logits.device)
    return mask_overlap(logits.argmax(dim=1).bool(), target)


def native_overlap(logits: torch.Tensor, mask: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Intersections and unions `[S]` at the size of `mask` `[H, W]`: bilinear logits (align_corners), then argmax."""
    resized = F.interpolate(logits.float(), size=mask.shape, mode="bilinear", align_corners=True)
    return published_overlap(resized, mask)


class ReferMetric:
    """Overlap scores of both readings: `published` at the view's size, `native` at the image's own size.

    Args:
        state: float64 `[2, n]` to count in, instead of new sums.
    """

    def __init__(self, state: torch.Tensor | None = None) -> None:
        self.state = torch.zeros(2, MaskOverlap.SIZE, dtype=torch.float64) if state is None else state
        self.published = MaskOverlap(self.state[0])  # both count in rows of the one tensor that is added up
        self.native = MaskOverlap(self.state[1])

    @property
    def count(self) -> int:
        """Sentence samples so far."""
        return self.published.count

    def update(self, logits: torch.Tensor, rle: Mapping[str, Any], view: View) -> None:
        """Score the sentences of one ref, logits `[S, 2, h, w]` at the view's size, against its full-size mask."""
        full = decode_rle(rle)  # [H, W]
        self.published.update(*published_overlap(logits, cut_label(full, view)))
        self.native.update(*native_overlap(logits, full))

    def joined(self, states: Sequence[torch.Tensor]) -> ReferMetric:
        """A metric of the same kind over the sum of several states."""
        return ReferMetric(added(states))

    def compute(self) -> dict[str, float]:
        """Published scores under their names, native ones as `native/<name>`."""
        return self.published.compute() | {f"native/{name}": v for name, v in self.native.compute().items()}
