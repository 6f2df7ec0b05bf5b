"""Learning-rate curves, one module each, found by its name: `build(total, steps_per_epoch, **options) -> Schedule`."""

from __future__ import annotations

from collections.abc import Callable

Schedule = Callable[[int], float]  # finished steps -> factor on the learning rate; pure, so resuming needs no state
