"""The device that a name means on this machine."""

from __future__ import annotations

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
