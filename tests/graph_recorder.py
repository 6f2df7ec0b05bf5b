"""A recorder of steps for a CPU, which keeps what a CUDA graph promises and no more."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch

from vpd.training.step.graphs import Call


class Again:
    """Calls again what was recorded, and puts the numbers where those of the recording lie.

    Attributes:
        warmed, recorded, replayed: how often each was done.
    """

    def __init__(self) -> None:
        self.warmed = self.recorded = self.replayed = 0

    def warm_up(self, call: Call) -> None:
        self.warmed += 1
        for _ in range(2):
            call()

    def record(self, call: Call) -> tuple[list[torch.Tensor], Callable[[], None]]:
        self.recorded += 1
        results = [result.fill_(math.nan) for result in call()]  # a recording computes nothing

        def replay() -> None:
            self.replayed += 1
            for held, found in zip(results, call(), strict=True):
                held.copy_(found)

        return results, replay
