"""The precision of a forward pass, in training as in evaluation and prediction. Weights stay float32."""

from __future__ import annotations

from collections.abc import Callable

import torch


def autocast_of(precision: str, device: torch.device) -> Callable[[], torch.autocast]:
    """The context a forward pass runs in: `bfloat16`, `float32`, or `auto` (bfloat16 on CUDA only)."""
    bfloat16 = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16)
