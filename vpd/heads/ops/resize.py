"""The one bilinear resize of heads and tasks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F


def resize(x: torch.Tensor, size_px: Sequence[int]) -> torch.Tensor:
    """Bilinear, corners not aligned; `x` itself if it has the size."""
    size = tuple(size_px)
    return x if tuple(x.shape[-2:]) == size else F.interpolate(x, size=size, mode="bilinear", align_corners=False)
