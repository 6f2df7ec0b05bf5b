"""Processes, waits and semaphores on a clock of their own: a simulation that gives the same every time.

Owns the clock. A process is a generator that yields what it waits for: seconds, or a `Semaphore`, one of which it then
holds until somebody gives it back. Those who wait are served in the order in which they came. What is simulated is the
caller's.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Generator
from itertools import count


class Semaphore:
    """So many of something: free cores, filled places of a queue."""

    def __init__(self, clock: Clock, free: int) -> None:
        self._clock, self._free = clock, free
        self._waiting: deque[Process] = deque()

    def give(self) -> None:
        """One more; whoever waits longest has it."""
        if self._waiting:
            self._clock.resume(self._waiting.popleft(), 0.0)
        else:
            self._free += 1

    def take(self, process: Process) -> None:
        """For a process that yielded this."""
        if self._free:
            self._free -= 1
            self._clock.resume(process, 0.0)
        else:
            self._waiting.append(process)


Process = Generator[float | Semaphore, None, None]


class Clock:
    """Runs processes until none is left that can go on."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._next: list[tuple[float, int, Process]] = []
        self._number = count()  # of two that are due at once, the one that was told first

    def semaphore(self, free: int) -> Semaphore:
        return Semaphore(self, free)

    def resume(self, process: Process, after_s: float) -> None:
        """Let a process go on, or begin."""
        heapq.heappush(self._next, (self.now_s + after_s, next(self._number), process))

    def run(self) -> None:
        while self._next:
            self.now_s, _, process = heapq.heappop(self._next)
            try:
                awaited = next(process)
            except StopIteration:
                continue
            if isinstance(awaited, Semaphore):
                awaited.take(process)
            else:
                self.resume(process, awaited)
