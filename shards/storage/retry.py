"""Trying again what a network broke: waits that double and differ, a bounded number of times.

Which errors may pass by themselves, and what is said at the end, is `shards.storage.store`'s.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Retry:
    """How often something is tried, and how long between. With these values a store may be away for half a minute."""

    attempts: int = 8
    first_wait_s: float = 0.25
    longest_wait_s: float = 15.0

    def tries(self) -> Iterator[int]:
        """1, 2, ... `attempts`, with a wait before each but the first."""
        for attempt in range(1, self.attempts + 1):
            if attempt > 1:
                time.sleep(self.wait_s(attempt - 1))
            yield attempt

    def wait_s(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row: random within a bound that doubles, so that readers which
        one fault broke at once do not all come back at once."""
        bound_s = min(self.longest_wait_s, self.first_wait_s * 2 ** (failures - 1))
        return random.uniform(bound_s / 2, bound_s)
