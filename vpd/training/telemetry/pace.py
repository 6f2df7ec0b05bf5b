"""How fast the steps are: time spent on them alone, and the share of it that waited for data.

Owns the clock between two logged steps. Evaluation and checkpoints are apart from it, wherever they fall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Pace:
    """A clock that stops while something else than training goes on.

    Args:
        step: finished steps.
        now_s: a clock, in seconds.
    """

    def __init__(self, step: int, now_s: Callable[[], float] = time.perf_counter) -> None:
        self._now_s = now_s
        self.restart(step)

    def restart(self, step: int) -> None:
        """Count from this step and from now on."""
        self._step, self._since_s = step, self._now_s()
        self._apart_s = self._waited_s = 0.0

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """The batches, with the time until each counted as waited."""
        remaining = iter(batches)
        while True:
            asked_s = self._now_s()
            try:
                batch = next(remaining)
            except StopIteration:
                return
            self._waited_s += self._now_s() - asked_s
            yield batch

    @contextmanager
    def apart(self) -> Iterator[None]:
        """What happens inside is no part of a step."""
        began_s = self._now_s()
        try:
            yield
        finally:
            self._apart_s += self._now_s() - began_s

    def read(self, step: int) -> tuple[float, float]:
        """Steps a second and the share of their time that waited for data, since the last reading, which ends here."""
        spent_s = max(self._now_s() - self._since_s - self._apart_s, 1e-9)
        found = (step - self._step) / spent_s, self._waited_s / spent_s
        self.restart(step)
        return found
