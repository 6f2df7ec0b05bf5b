"""Classes of pixels: one logit a class, as the features have them; the task enlarges them.

Owns labels at the middles of cells, and the votes of neighbours as logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from vpd.model.device_batch import DeviceBatch
from vpd.probes.readouts.cells import at_middles

LEAST_VOTE = 1e-6  # of a class that no neighbour has


@dataclass(frozen=True)
class Classes:
    """Of `classes` classes; `ignore_index` is no label."""

    classes: int
    ignore_index: int

    @property
    def channels(self) -> int:
        return self.classes

    def answer(
        self, numbers: torch.Tensor, out_size_px: tuple[int, int] | None, view_px: tuple[int, int]
    ) -> torch.Tensor:
        return numbers

    def values(self, batch: DeviceBatch, grid: tuple[int, int], view_px: tuple[int, int]) -> torch.Tensor:
        label = batch.labels["label"]  # [B, H, W], of the whole view: with its padding, but not enlarged
        found = at_middles(label.float(), grid, (label.shape[1], label.shape[2]))
        return found.masked_fill(found == self.ignore_index, float("nan"))

    def vote(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        one_hot = F.one_hot(values.long(), self.classes).to(weights)  # [..., K, classes]
        return (one_hot * weights[..., None]).sum(-2)

    def of_votes(
        self, votes: torch.Tensor, out_size_px: tuple[int, int] | None, view_px: tuple[int, int]
    ) -> torch.Tensor:
        return votes.clamp(min=LEAST_VOTE).log()  # the task's softmax gives the votes back
