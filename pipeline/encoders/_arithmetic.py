"""How a GPU computes float32: fixed for the time of one call, so that the bits never depend on global settings.

The switches belong to the process. A build calls its encoders from one thread, so they cannot disturb each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def float32_arithmetic(tf32: bool) -> Iterator[None]:
    """Convolutions and products in TF32 or in full float32; no autotuning, whose choice may differ between runs."""
    cudnn: Any = torch.backends.cudnn  # its properties are not in the type stubs
    convolution, product = cudnn.conv, torch.backends.cuda.matmul
    before = (convolution.fp32_precision, product.fp32_precision, cudnn.benchmark, cudnn.deterministic)
    precision = "tf32" if tf32 else "ieee"
    convolution.fp32_precision, product.fp32_precision = precision, precision
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        yield
    finally:
        convolution.fp32_precision, product.fp32_precision, cudnn.benchmark, cudnn.deterministic = before
