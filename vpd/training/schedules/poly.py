"""Polynomial decay, with a linear warm-up if asked for: refer's and segmentation's published curve."""

from __future__ import annotations

from shards.errors import ConfigError
from vpd.training.schedules import Schedule


def build(
    total: int, steps_per_epoch: float, *, power: float = 0.9, warmup_steps: int = 0, warmup_ratio: float = 1e-6
) -> Schedule:
    """Polynomial decay to 0, times a linear warm-up if there is one (refer: 0.9, none; segmentation: 1, 1500).

    Args:
        power: of what is left of the run.
        warmup_steps: steps of the warm-up; 0 = none.
        warmup_ratio: factor at which it begins.

    Raises:
        ConfigError: the warm-up is longer than the run, which would end before it has learned at its full rate.
    """
    if not 0 <= warmup_steps <= total:
        raise ConfigError(
            f"optim.schedule.warmup_steps is {warmup_steps}, the run has {total} steps. Make the warm-up shorter "
            f"(optim.schedule.warmup_steps={total // 50}), or the run longer (loop.steps, loop.epochs)."
        )

    def factor(step: int) -> float:
        decay = max(0.0, 1.0 - step / total) ** power
        if step >= warmup_steps:
            return decay
        return decay * (1.0 - (1.0 - step / warmup_steps) * (1.0 - warmup_ratio))

    return factor
