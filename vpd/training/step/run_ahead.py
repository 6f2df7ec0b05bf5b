"""How far the host of a GPU may be ahead of it.

Owns one promise: when a batch is asked for, the buffers which that frees were copied. The stream writes the next
batches into the page-locked buffers of the last but one (`shards.reading.stream`), and a copy to a GPU is only queued,
behind all kernels before it. With steps of few kernels, or few launches, a host would be many batches ahead, and a
buffer would be written over before its copy began. One step in the queue while another runs is all that keeps a GPU
busy, so that waiting for the last but one costs nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

import torch

STEPS = 1  # that may be in the queue behind the one that runs


class Mark(Protocol):
    """A place in the work of a device: a `torch.cuda.Event`."""

    def record(self) -> object: ...

    def synchronize(self) -> object: ...


class RunAhead:
    """Of one worker.

    Args:
        device: where the steps run; anything but CUDA is never behind.
        mark: makes a place in its work.
    """

    def __init__(self, device: torch.device, mark: Callable[[], Mark] = torch.cuda.Event) -> None:
        self._mark = mark if device.type == "cuda" else None
        self._queued: deque[Mark] = deque()

    def stepped(self) -> None:
        """A step has been queued: waits until the device is through with the one before it."""
        if self._mark is None:
            return
        mark = self._mark()
        mark.record()
        self._queued.append(mark)
        if len(self._queued) > STEPS:
            self._queued.popleft().synchronize()
