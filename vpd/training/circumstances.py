"""With what a run is trained: the versions and the device, kept in its checkpoints for whoever compares runs later.

Owns which are told. None of it is held against a run that goes on: what must be equal, `vpd.training.resume` checks.
"""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from vpd.training.worker import Worker

TOLD = ("diffusion-perception", "torch", "diffusers")


def circumstances(worker: Worker) -> dict[str, str]:
    """Names and versions, for a person."""
    found = {"python": platform.python_version()}
    for name in TOLD:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # run from a folder
            continue
    on_gpu = worker.device.type == "cuda"
    found["device"] = torch.cuda.get_device_name(worker.device) if on_gpu else worker.device.type
    return found | {"workers": str(worker.world)}
