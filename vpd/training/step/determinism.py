"""The same bits again: the same settings on the same machine give the same weights (`loop.deterministic`).

Owns torch's switches for it, which belong to the process and are put back, and the words for an operation that has no
such form. What is drawn is a function of the position anyhow (`vpd.training.run`); here it is about the order in which
a GPU adds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from shards.errors import ConfigError

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
SIZES = (":4096:8", ":16:8")  # with which cuBLAS promises the same bits
_NO_FORM = re.compile(r"(\S+) does not have a deterministic implementation")


@contextmanager
def same_bits(wanted: bool, device: torch.device) -> Iterator[None]:
    """Every operation within gives the same bits each time, or is refused; nothing happens unless it is wanted.

    Raises:
        ConfigError: an operation has no such form, or cuBLAS is told to work in another way.
    """
    if not wanted:
        yield
        return
    cudnn: Any = torch.backends.cudnn  # its properties are not in the type stubs
    chosen = os.environ.get(WORKSPACE)
    if device.type == "cuda" and chosen not in (None, *SIZES):
        raise ConfigError(
            f"loop.deterministic is true, and the environment has {WORKSPACE}={chosen}, with which cuBLAS promises "
            f"nothing. Unset it, or set it to {SIZES[0]}."
        )
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    kernels = cudnn.deterministic, cudnn.benchmark
    if device.type == "cuda" and chosen is None:
        os.environ[WORKSPACE] = SIZES[0]  # read at the first product; harmless later, so it stays
    torch.use_deterministic_algorithms(True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    except RuntimeError as error:
        if found := _NO_FORM.search(str(error)):
            raise ConfigError(
                f"loop.deterministic is true, and this network uses {found[1]}, which torch has no deterministic form "
                f"of on {device.type}. Set loop.deterministic=false, or choose a head or a backbone without it "
                "(docs/methods/training.md#the-same-bits)."
            ) from error
        raise
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = kernels
