"""The linear probe: batch normalisation and a 1 x 1 convolution, trained with the task's own loss.

Owns the layers, the optimiser and its curve, by default those of DINOv3's evaluation of segmentation without its
dropout: AdamW, a linear warm-up, then half a cosine to 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.model.device_batch import DeviceBatch
from vpd.probes import Probe
from vpd.probes.readouts import Readout, readout_of
from vpd.tasks import Task


def build(
    channels: int,
    task: Task,
    steps: int,
    *,
    lr: float = 1e-3,
    weight_decay: float = 1e-3,
    warmup: float = 0.0375,
    norm: bool = True,
    bins: int = 256,
    min_depth_m: float = 1e-3,
    clip_norm: float = 0.0,
    seed: int = 0,
) -> LinearProbe:
    """The probe.

    Args:
        channels: of the features.
        task: whose labels it learns.
        steps: that it will take.
        lr: peak learning rate.
        weight_decay: of AdamW.
        warmup: share of the steps in which the rate rises; DINOv3's is 1500 of 40000.
        norm: normalise features by their batch, and when answering by what was seen.
        bins: of depth, spaced evenly; 0: one number for the depth, not the mean of bins.
        min_depth_m: depth of the first bin; that of the last is the task's max_depth_m.
        clip_norm: longest gradient; 0: as long as it is. DINOv3's for depth is 35.
        seed: of the first weights.

    Raises:
        ConfigError: a task that cannot be probed, or numbers that make no sense.
    """
    if lr <= 0 or weight_decay < 0 or not 0 <= warmup <= 1 or clip_norm < 0:
        raise ConfigError(
            f"linear probe: lr {lr:g}, weight_decay {weight_decay:g}, warmup {warmup:g}, clip_norm {clip_norm:g}; "
            "expected a positive rate, none below 0, and warmup a share of the steps."
        )
    readout = readout_of(task, bins, min_depth_m)
    convolution = nn.Conv2d(channels, readout.channels, 1)
    nn.init.normal_(convolution.weight, std=0.01, generator=torch.Generator().manual_seed(seed))
    nn.init.zeros_(convolution.bias)  # pyright: ignore[reportArgumentType]
    layers = nn.Sequential(nn.BatchNorm2d(channels) if norm else nn.Identity(), convolution)
    optimiser = torch.optim.AdamW(layers.parameters(), lr=lr, weight_decay=weight_decay)
    return LinearProbe(task, readout, layers, optimiser, _curve(steps, round(warmup * steps)), clip_norm)


def _curve(steps: int, rising: int) -> Callable[[int], float]:
    """Factor on the rate after so many steps: up in a straight line over the first `rising`, then half a cosine."""

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(steps - rising, 1)))

    return factor


class LinearProbe(Probe):
    """See the module; `build` makes one. It lives where its first features are."""

    def __init__(
        self,
        task: Task,
        readout: Readout,
        layers: nn.Module,
        optimiser: torch.optim.Optimizer,
        factor: Callable[[int], float],
        clip_norm: float,
    ) -> None:
        self.task, self.readout, self.clip_norm = task, readout, clip_norm
        self.layers, self.optimiser = layers, optimiser
        self.curve = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)

    def learn(self, features: torch.Tensor, batch: DeviceBatch, view_px: tuple[int, int]) -> None:
        self.layers.to(features.device).train()
        numbers = self.layers(features)  # [B, channels of the readout, h, w]
        loss = self.task.loss(self.readout.answer(numbers, self.task.out_size_px(batch), view_px), batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if self.clip_norm:
            nn.utils.clip_grad_norm_(self.layers.parameters(), self.clip_norm)
        self.optimiser.step()
        self.curve.step()

    @torch.no_grad()
    def answer(self, features: torch.Tensor, batch: DeviceBatch, view_px: tuple[int, int]) -> torch.Tensor:
        numbers = self.layers.to(features.device).eval()(features)
        return self.readout.answer(numbers, self.task.out_size_px(batch), view_px)
