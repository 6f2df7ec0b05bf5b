"""Labels at the places of features: that of the pixel in the middle of every cell of a grid over the view."""

from __future__ import annotations

import torch


def at_middles(label: torch.Tensor, grid: tuple[int, int], view_px: tuple[int, int]) -> torch.Tensor:
    """`[B, h, w]` of a label `[B, H, W]`, float32, that covers the view from its upper left corner on; NaN where a
    cell's middle lies beyond it, in the view's padding."""
    found = label
    for dim, cells, side in ((1, grid[0], view_px[0]), (2, grid[1], view_px[1])):
        middles = ((torch.arange(cells, device=label.device) + 0.5) * side / cells).long()
        inside = middles < found.shape[dim]
        found = found.index_select(dim, middles.clamp(max=found.shape[dim] - 1))
        outside = (~inside).reshape([-1 if place == dim else 1 for place in range(3)])
        found = found.masked_fill(outside, float("nan"))
    return found
