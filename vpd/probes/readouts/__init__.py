"""How a task is read out of features: `classes` of pixels, or `metres`.

Owns what a readout promises, and which a task has: that which it tells its own heads says it.
"""

from __future__ import annotations

from typing import Protocol

import torch

from shards.errors import ConfigError
from vpd.model.device_batch import DeviceBatch
from vpd.probes.readouts.classes import Classes
from vpd.probes.readouts.metres import Metres
from vpd.tasks import Task


class Readout(Protocol):
    """One task's."""

    @property
    def channels(self) -> int:
        """Numbers per pixel that `answer` takes."""
        ...

    def answer(
        self, numbers: torch.Tensor, out_size_px: tuple[int, int] | None, view_px: tuple[int, int]
    ) -> torch.Tensor:
        """What the task scores and takes the loss of, from numbers `[B, channels, h, w]` of whole views."""
        ...

    def values(self, batch: DeviceBatch, grid: tuple[int, int], view_px: tuple[int, int]) -> torch.Tensor:
        """The label at the middle of every cell of a grid over the views, float32 `[B, h, w]`; NaN: none."""
        ...

    def vote(self, values: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """What neighbours with these values `[..., K]` and weights, whose sum is 1, say together: `[..., c]`."""
        ...

    def of_votes(
        self, votes: torch.Tensor, out_size_px: tuple[int, int] | None, view_px: tuple[int, int]
    ) -> torch.Tensor:
        """What the task scores, from votes `[B, c, h, w]`."""
        ...


def readout_of(task: Task, bins: int, min_depth_m: float) -> Readout:
    """The readout of a task.

    Args:
        bins, min_depth_m: of `Metres`.

    Raises:
        ConfigError: a task whose answer is neither a class nor a depth of every pixel.
    """
    told = task.head_options(None)
    if "classes" in told and not task.uses_text:  # what a sentence means is no class of its own
        return Classes(int(told["classes"]), int(getattr(task, "ignore_index", 255)))
    if "max_depth_m" in told:
        return Metres(float(told["max_depth_m"]), min_depth_m, bins, bool(told.get("enlarged")))
    raise ConfigError(f"task {task.name} cannot be probed: expected one that finds classes or depth of pixels.")
