"""A trace of some steps by torch's profiler, for chrome://tracing or Perfetto (`loop.profile`).

Owns when it begins and ends, and the file in the run's folder. What it costs falls on the traced steps alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile


class StepTrace:
    """Traces the steps from the first to the last of `steps`, counted from 1, on one worker.

    Args:
        steps: [first, last], or nothing.
        folder: that the trace is written to.
    """

    def __init__(self, steps: Sequence[int], folder: Path, device: torch.device, say: Callable[[str], None]) -> None:
        self._first, self._last = steps or (0, 0)
        self._folder, self._say = folder, say
        self._activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            self._activities.append(ProfilerActivity.CUDA)
        self._running: profile | None = None

    @contextmanager
    def step(self, number: int) -> Iterator[None]:
        """A step goes on inside."""
        if number == self._first:
            self._running = profile(activities=self._activities, profile_memory=True)
            self._running.start()
        yield
        if self._running and number >= self._last:
            self.close()

    def close(self) -> None:
        """Write what was traced, if a trace is going on."""
        if self._running is None:
            return
        running, self._running = self._running, None
        running.stop()
        file = self._folder / f"trace_{self._first}_{self._last}.json"
        running.export_chrome_trace(str(file))
        self._say(f"steps {self._first} to {self._last} traced: {file.name} in the run's folder")
