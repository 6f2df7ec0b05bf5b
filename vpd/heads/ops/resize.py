"""Enlarging features, the one way of heads and tasks.

Owns the layout in which it is done (the type is `vpd.enlarging`'s): torch's kernel for a GPU gives a thread to every
pixel, which works through all samples and channels, unless channels are innermost: few pixels of many channels then
leave most of a GPU idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vpd.enlarging import enlarged

FEW_CHANNELS = 4  # below, torch has no kernel for channels innermost


def resize(x: torch.Tensor, size_px: Sequence[int], *, align_corners: bool = False) -> torch.Tensor:
    """Bilinear, `[B, C, *size_px]` in the type of `x`; `x` itself if it has the size."""
    return _resized(x, size_px, mode="bilinear", align_corners=align_corners)


def repeat(x: torch.Tensor, size_px: Sequence[int]) -> torch.Tensor:
    """The nearest neighbour of every pixel, `[B, C, *size_px]`; `x` itself if it has the size."""
    return _resized(x, size_px, mode="nearest")


def channels_innermost(x: torch.Tensor) -> torch.Tensor:
    """The same numbers in torch's channels_last layout, as the convolutions of tensor cores want them."""
    return x.contiguous(memory_format=torch.channels_last)


def _resized(x: torch.Tensor, size_px: Sequence[int], **how: Any) -> torch.Tensor:
    size = tuple(size_px)
    if tuple(x.shape[-2:]) == size:
        return x
    return enlarged(channels_innermost(x) if x.shape[1] >= FEW_CHANNELS else x, size, **how)
