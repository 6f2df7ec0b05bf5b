"""Loads a network of diffusers with exactly the weights that its config asks for, or not at all.

Private to the backbones. Where the part lies is `shards.models.parts`', which class reads it each backbone's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from shards.errors import ConfigError
from shards.models.parts import ModelPart

FAULTS = ("missing_keys", "unexpected_keys", "mismatched_keys")  # of diffusers' report on what it loaded


def load_complete(part: ModelPart, loader: Callable[..., Any]) -> Any:
    """Calls `loader` (a `from_pretrained` of diffusers) on a part that was found; the network is in float32.

    Raises:
        ConfigError: as of `ModelPart.load`; or the weights do not fit the config.
    """
    network, report = part.load(
        loader,
        torch_dtype=torch.float32,
        output_loading_info=True,
        # Else it depends on whether `accelerate` is installed: a warning without it, and with it fewer random numbers
        # drawn before the head takes its own.
        low_cpu_mem_usage=False,
    )
    faults = {fault: report[fault] for fault in FAULTS if report[fault]}
    if faults:
        found = "; ".join(f"{len(keys)} {fault.replace('_', ' ')}, e.g. {keys[0]}" for fault, keys in faults.items())
        raise ConfigError(f"{part.who}: the weights of {part.model!r} do not fit its config: {found}.")
    return network
