"""How a device computes: the precision of a pass, in training as in evaluation and prediction. Weights stay float32.

Owns what the names of `loop.precision` mean. The switches of float32 arithmetic belong to the process, so they are set
for a time and then put back; another thread that computes meanwhile is under the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch


@contextmanager
def arithmetic_of(precision: str) -> Iterator[None]:
    """Float32 on an NVIDIA GPU, for what is float32 and for backward passes, too.

    Args:
        precision: `tf32`: products and convolutions with 10 bits of fraction; every other name: with all 23. torch by
            itself takes TF32 for convolutions.
    """
    fraction = "tf32" if precision == "tf32" else "ieee"
    with float32_of(convolutions=fraction, products=fraction):
        yield


@contextmanager
def float32_of(*, convolutions: str, products: str) -> Iterator[None]:
    """Each `ieee` or `tf32`, put back afterwards."""
    cudnn: Any = torch.backends.cudnn  # its properties are not in the type stubs
    switches = {cudnn.conv: convolutions, torch.backends.cuda.matmul: products}
    before = {switch: switch.fp32_precision for switch in switches}
    try:
        for switch, wanted in switches.items():
            switch.fp32_precision = wanted
        yield
    finally:
        for switch, kept in before.items():
            switch.fp32_precision = kept


def autocast_of(precision: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    """The context a forward pass runs in: `float32`, `tf32`, `bfloat16`, or `auto` (bfloat16 on CUDA, else float32)."""
    bfloat16 = dtype_of(precision, device) == torch.bfloat16

    @contextmanager
    def forward_pass() -> Iterator[None]:
        with arithmetic_of(precision), torch.autocast(device.type, dtype=torch.bfloat16, enabled=bfloat16):
            yield

    return forward_pass


def dtype_of(precision: str, device: torch.device) -> torch.dtype:
    """In which products are formed."""
    bfloat16 = precision == "bfloat16" or (precision == "auto" and device.type == "cuda")
    return torch.bfloat16 if bfloat16 else torch.float32
