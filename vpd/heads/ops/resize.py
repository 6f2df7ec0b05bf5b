"""Enlarging features, the one way of heads and tasks.

Owns in which type and layout it is done. Autocast would enlarge a float32 copy, four times the bytes of the result that
the next convolution rounds to bfloat16 again: enlarging bfloat16 numbers sums in float32 and rounds once, so the same
bits come out. And torch's kernel for a GPU gives a thread to every pixel, which works through all samples and channels,
unless channels are innermost: few pixels of many channels then leave most of a GPU idle.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F

FEW_CHANNELS = 4  # below, torch has no kernel for channels innermost


def resize(x: torch.Tensor, size_px: Sequence[int], *, align_corners: bool = False) -> torch.Tensor:
    """Bilinear, `[B, C, *size_px]` in the type of `x`; `x` itself if it has the size."""
    return _enlarged(x, size_px, mode="bilinear", align_corners=align_corners)


def repeat(x: torch.Tensor, size_px: Sequence[int]) -> torch.Tensor:
    """The nearest neighbour of every pixel, `[B, C, *size_px]`; `x` itself if it has the size."""
    return _enlarged(x, size_px, mode="nearest")


def channels_innermost(x: torch.Tensor) -> torch.Tensor:
    """The same numbers in torch's channels_last layout, as the convolutions of tensor cores want them."""
    return x.contiguous(memory_format=torch.channels_last)


def _enlarged(x: torch.Tensor, size_px: Sequence[int], **how: Any) -> torch.Tensor:
    size = tuple(size_px)
    if tuple(x.shape[-2:]) == size:
        return x
    plain = x.dtype == torch.float32 or x.is_meta  # autocast leaves these as they are
    with nullcontext() if plain else torch.autocast(x.device.type, enabled=False):
        return F.interpolate(channels_innermost(x) if x.shape[1] >= FEW_CHANNELS else x, size=size, **how)
