"""Up over half of the epochs and down over the other half: depth's published curve."""

from __future__ import annotations

from shards.errors import ConfigError
from vpd.training.schedules import Schedule


def build(total: int, steps_per_epoch: float, *, floor: float = 0.06, power: float = 0.9) -> Schedule:
    """Up from `floor` to 1 over half of the whole epochs, down over as many, then flat: an odd epoch stays at `floor`.

    Args:
        floor: factor at the start and in the flat end.
        power: of rise and fall.

    Raises:
        ConfigError: the run is shorter than two epochs.
    """
    half_epochs = round(total / steps_per_epoch) // 2
    if half_epochs < 1:
        raise ConfigError(f"optim.schedule two_phase needs two epochs, the run has {total / steps_per_epoch:.2f}.")

    def factor(step: int) -> float:
        phase = (step + 1) / (steps_per_epoch * half_epochs)  # the published counter starts at 1
        if phase < 1.0:
            return floor + (1.0 - floor) * phase**power
        return max(floor, 1.0 - (1.0 - floor) * (phase - 1.0) ** power)

    return factor
