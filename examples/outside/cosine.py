"""A learning-rate curve: half a cosine, from 1 down to `floor`."""

from __future__ import annotations

import math

from shards.errors import ConfigError
from vpd.training.schedules import Schedule


def build(total: int, steps_per_epoch: float, *, floor: float = 0.0) -> Schedule:
    """`floor`: where the curve ends, as a share of the peak."""
    if not 0 <= floor < 1:
        raise ConfigError(f"optim.schedule cosine: floor is {floor}; expected a share from 0 up to 1.")

    def factor(step: int) -> float:  # of finished steps, and of nothing else: a run that resumes asks again
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(step / total, 1.0)))

    return factor
