"""Maps enlarged in their own type, for backbones and heads.

Owns that autocast stays out of it. It would enlarge a float32 copy, four times the bytes of the result that the next
convolution rounds to bfloat16 again: enlarging bfloat16 numbers sums in float32 and rounds once, so the same bits come
out. Which layout and which mode is left to whoever enlarges.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F


def enlarged(x: torch.Tensor, size: Sequence[int], **how: Any) -> torch.Tensor:
    """`torch.nn.functional.interpolate` of `[B, C, h, w]` to `(h, w)`, with its options, in the type of `x`."""
    plain = x.dtype == torch.float32 or x.is_meta  # autocast leaves these as they are
    with nullcontext() if plain else torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x, size=tuple(size), **how)
