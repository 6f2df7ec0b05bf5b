"""How much of a device's arithmetic a run uses (MFU): operations of a step over what the device could do meanwhile.

Owns the count of operations, on shapes alone, and the measurement of the device's rate, once at the start. Operations
are algorithmic: multiply and add are two, what is computed again in backward is not counted. How long steps take is
`vpd.training.telemetry.pace`'s.
"""

from __future__ import annotations

import copy
import math
import time
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from vpd.model.device_batch import DeviceBatch, context_of
from vpd.tasks import Learned
from vpd.training.memory.without_data import as_on_gpu, batch_like, model_like

SIDE = {"cuda": 8192, "cpu": 1024}  # of the matrices that are multiplied
CALLS = {"cuda": 20, "cpu": 3}
_ATEN = torch.ops.aten


def _attention(query: Any, key: Any, value: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    batch, heads, pixels, channels = query
    return 2 * batch * heads * pixels * key[-2] * (channels + value[-1])


def _attention_backward(_grad: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return 2 * _attention(query, key, value)


FUSED_ATTENTION = {  # operations of the CPU's fused kernels, which torch's counter does not know
    _ATEN._scaled_dot_product_flash_attention_for_cpu: _attention,
    _ATEN._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


class Utilisation:
    """Of one worker's device, by a network in training.

    Args:
        batch: any batch of the run's; only shapes are read.
        dtype: in which the device multiplies.
    """

    def __init__(
        self, model: nn.Module, task: Learned, batch: DeviceBatch, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.operations = operations(model, task, batch)  # of a sample
        self.rate = operations_per_s(device, dtype)

    def of(self, samples_per_s: float) -> float:
        """The share of the device's rate that so many samples a second come to; NaN if they could not be counted."""
        return math.nan if self.operations is None else self.operations * samples_per_s / self.rate


def operations(model: nn.Module, task: Learned, batch: DeviceBatch) -> int | None:
    """Of one sample's forward and backward pass through a network; None where that cannot be said without data.

    Args:
        batch: any batch of the run's; only shapes are read.
    """
    network, shaped, two = model_like(model), copy.deepcopy(task), batch_like(batch, 2)  # a batch norm needs two
    for module in network.modules():
        if isinstance(module, nn.SyncBatchNorm):  # alone it refuses; it computes what a plain one does
            object.__setattr__(module, "__class__", nn.BatchNorm2d)
    try:
        with as_on_gpu(bfloat16=False), FlopCounterMode(display=False, custom_mapping=FUSED_ATTENTION) as counted:
            outputs = network(two.latents, context_of(shaped, two), shaped.out_size_px(two))
            outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
            torch.stack([output.sum() for output in outputs]).sum().backward()
    except RuntimeError:
        return None
    return counted.get_total_flops() // 2


def operations_per_s(device: torch.device, dtype: torch.dtype) -> float:
    """What a device reaches in a product of large matrices; waits for it."""
    side, calls = SIDE.get(device.type, SIDE["cpu"]), CALLS.get(device.type, CALLS["cpu"])
    draw = torch.Generator(device).manual_seed(0)  # a stream of its own: nothing that the run draws moves
    left, right = (torch.randn(side, side, device=device, generator=draw).to(dtype) for _ in range(2))
    best_s = float("inf")
    for _ in range(3):
        _finish(device)
        began_s = time.perf_counter()
        for _ in range(calls):
            torch.mm(left, right)
        _finish(device)
        best_s = min(best_s, (time.perf_counter() - began_s) / calls)
    return 2 * side**3 / best_s


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
