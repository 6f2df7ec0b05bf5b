"""Up, down and flat by shares of the run: mmsegmentation's curve of depth."""

from __future__ import annotations

from shards.errors import ConfigError
from vpd.training.schedules import Schedule


def build(
    total: int,
    steps_per_epoch: float,
    *,
    rise: float = 0.48,
    fall: float = 0.48,
    floor: float = 0.03,
    power: float = 0.9,
) -> Schedule:
    """A straight line from `floor` to 1, a polynomial back, then flat; `rise` and `fall` are shares of the run.

    mmseg's depth schedule: 12k, 12k and 1k of 25k steps (docs/methods/depth.md#mmsegmentation). Its fall is the
    polynomial of the steps that are left, where `two_phase` falls as it rose.

    Args:
        rise, fall: shares of the run.
        floor: factor at the start and in the flat end.
        power: of the fall.

    Raises:
        ConfigError: the shares are not positive, or more than the run.
    """
    if not (rise > 0 and fall > 0 and rise + fall <= 1):
        raise ConfigError(
            f"optim.schedule rise_fall: rise {rise} and fall {fall}; expected positive shares of the run."
        )

    def factor(step: int) -> float:
        place = step / total
        if place < rise:
            return floor + (1.0 - floor) * place / rise
        return floor + (1.0 - floor) * max(0.0, 1.0 - (place - rise) / fall) ** power

    return factor
