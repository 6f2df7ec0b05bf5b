"""Probes: small readers that are trained on features of a frozen network, to say what is in them.

Owns what a probe promises. One module a probe, found by its name, with `build(channels, task, steps, **options)`: what
it learns and how it answers follow from what the task tells its heads. Several probes learn from the same batch, so
each draws its random numbers from a generator of its own. Features are made by whoever calls; scores are the task's.
"""

from __future__ import annotations

from typing import Protocol

import torch

from vpd.model.device_batch import DeviceBatch


class Probe(Protocol):
    """One probe of one layer."""

    def learn(self, features: torch.Tensor, batch: DeviceBatch, view_px: tuple[int, int]) -> None:
        """Take one step.

        Args:
            features: `[B, C, h, w]`, float32, of whole views.
            batch: with the labels of the task.
            view_px: (height, width) of the views, in pixels.
        """
        ...

    def answer(self, features: torch.Tensor, batch: DeviceBatch, view_px: tuple[int, int]) -> torch.Tensor:
        """What the task scores, `[B, C, H, W]`; arguments as of `learn`, labels those of `samples` of the task."""
        ...
