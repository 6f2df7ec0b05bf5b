"""Depth of pixels in metres: as the mean of bins, or as one number.

Owns the rule of DINOv2 and DINOv3 for bins: as many as there are channels, evenly spaced; a channel's weight is its
positive part and 0.1, divided by the sum; depth is the mean of the bins' depths. One number goes through a sigmoid, as
in VPD's head. Maps are enlarged, bilinear, to the view, and cut to the part of it that shows picture.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from shards.errors import ConfigError
from vpd.heads.ops.resize import resize
from vpd.model.device_batch import DeviceBatch
from vpd.probes.readouts.cells import at_middles

SMOOTHING = 0.1


@dataclass(frozen=True)
class Metres:
    """Depths from `min_depth_m` to `max_depth_m`.

    Attributes:
        bins: number of them; 0: one number.
        enlarged: views were enlarged to fit the encoder, and labels have the size before.
    """

    max_depth_m: float
    min_depth_m: float
    bins: int
    enlarged: bool

    def __post_init__(self) -> None:
        if self.bins < 0 or self.bins == 1 or not 0 <= self.min_depth_m < self.max_depth_m:
            raise ConfigError(
                f"depth probe: bins {self.bins}, min_depth_m {self.min_depth_m:g}, the task's max_depth_m "
                f"{self.max_depth_m:g}; expected two bins or more, or 0, and 0 <= min < max."
            )

    @property
    def channels(self) -> int:
        return self.bins or 1

    def answer(
        self, numbers: torch.Tensor, out_size_px: tuple[int, int] | None, view_px: tuple[int, int]
    ) -> torch.Tensor:
        if not self.bins:
            return self._shown(numbers.sigmoid() * self.max_depth_m, out_size_px, view_px)
        weights = numbers.relu() + SMOOTHING  # [B, bins, h, w]
        depths_m = torch.linspace(self.min_depth_m, self.max_depth_m, self.bins, device=numbers.device)
        mean = torch.einsum("bkhw,k->bhw", weights, depths_m) / weights.sum(1)
        return self._shown(mean[:, None], out_size_px, view_px)

    def values(self, batch: DeviceBatch, grid: tuple[int, int], view_px: tuple[int, int]) -> torch.Tensor:
        label = batch.labels["depth"]  # [B, H, W]
        found = at_middles(label, grid, (label.shape[1], label.shape[2]) if self.enlarged else view_px)
        return found.masked_fill(found <= 0, float("nan"))

    def vote(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return (values * weights).sum(-1, keepdim=True)

    def of_votes(
        self, votes: torch.Tensor, out_size_px: tuple[int, int] | None, view_px: tuple[int, int]
    ) -> torch.Tensor:
        return self._shown(votes, out_size_px, view_px)

    def _shown(
        self, metres: torch.Tensor, out_size_px: tuple[int, int] | None, view_px: tuple[int, int]
    ) -> torch.Tensor:
        """`[B, 1, H, W]` of what is to be predicted, from `[B, 1, h, w]`."""
        height, width = out_size_px or view_px
        if self.enlarged:
            return resize(metres, (height, width))
        return resize(metres, view_px)[..., :height, :width]
