"""How long a stage of pre-training trains, and what that means for its learning rate.

Owns the budget: a number of steps, a number of minutes, or whichever ends first. A stage cut by steps alone is the
same on every run of one machine; one cut by minutes is as long as the machine is fast.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

WARMUP_STEPS = 50


@dataclass
class Budget:
    """Args: `steps` at most; `minutes` of wall time, counted over all runs that were resumed (0: no such limit)."""

    steps: int
    minutes: float = 0.0
    spent_s: float = 0.0  # by earlier runs
    _began: float | None = None  # with the first step: rendering scenes is no training

    @property
    def elapsed_s(self) -> float:
        return self.spent_s + (time.monotonic() - self._began if self._began is not None else 0.0)

    def share(self, step: int) -> float:
        """How much of the budget is used up before step `step`, counted from 0: 0 to 1."""
        self._began = self._began or time.monotonic()
        used = step / self.steps
        if self.minutes:
            used = max(used, self.elapsed_s / (60 * self.minutes))
        return min(used, 1.0)

    def rate(self, step: int) -> float:
        """Factor on the learning rate: a short warm-up, then a cosine to a hundredth."""
        warm = min(1.0, (step + 1) / WARMUP_STEPS)
        return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.share(step))))
