"""The device that a name means on this machine, and how many threads compute on its CPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch


def chosen_device(name: str) -> torch.device:
    """The device of a name; of an empty one, a GPU if there is one.

    Raises:
        ConfigError: no such device, or not on this machine.
    """
    import torch

    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not name:
        return torch.device(next(kind for kind, present in here.items() if present))
    kind, _, number = name.partition(":")
    n_devices = torch.cuda.device_count() if kind == "cuda" else int(here.get(kind, False))
    if kind not in here or not here[kind] or (number and not (number.isdigit() and int(number) < n_devices)):
        known = ", ".join(kind for kind, present in here.items() if present)
        raise ConfigError(f"device={name}: torch sees no such device on this machine; there are: {known}.")
    return torch.device(name)


@contextmanager
def cpu_threads(device: torch.device, cpus: float) -> Iterator[None]:
    """What is inside computes on as many threads as it has CPUs, where the CPU is its device, and at most as many as
    there are. Whoever called has their own number again afterwards: a notebook goes on at its own pace."""
    import torch

    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(min(max(int(cpus), 1), os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)
