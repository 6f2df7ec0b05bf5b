"""A constant learning rate whose steps wait for a test: a plug-in from outside the packages, by its dotted module.

Two workers wait at one step for the file `lost`; one worker waits at a later one until it is not alone any more.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import torch.distributed as dist

GIVEN_UP_S = 300


def build(total: int, steps_per_epoch: float, *, folder: str, lost_at: int, alone_at: int) -> Callable[[int], float]:
    place = Path(folder)

    def wait(name: str, condition: Callable[[], bool]) -> None:
        (place / name).touch()
        end_s = time.monotonic() + GIVEN_UP_S
        while not condition() and time.monotonic() < end_s:
            time.sleep(0.05)

    def factor(step: int) -> float:
        if dist.is_initialized():  # not while the run is being planned
            if step == lost_at and dist.get_world_size() == 2:
                wait("two", (place / "lost").exists)
            if step == alone_at and dist.get_world_size() == 1:
                wait("alone", lambda: False)
        return 1.0

    return factor
