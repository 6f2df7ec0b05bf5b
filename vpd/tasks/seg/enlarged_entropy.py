"""Cross entropy of logits that are enlarged to their label, without ever holding them all.

Owns that the logits of all pictures at full size, 150 classes of 512 x 512 pixels in float32, never exist at once: one
picture after the other is enlarged and compared, and its gradient taken on the spot, at the size of the head's logits.
What the sum is divided by is `vpd.tasks.seg.loss`'s.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.autograd.graph import saved_tensors_hooks

from vpd.heads.ops.resize import resize
from vpd.tasks.pixel_entropy import pixel_entropy


def enlarged_entropy(logits: torch.Tensor, label: torch.Tensor, ignore_index: int) -> torch.Tensor:
    """The sum over labelled pixels, [].

    Args:
        logits: float32 `[B, C, h, w]`, enlarged bilinearly to the label.
        label: int64 `[B, H, W]`.
    """
    if logits.shape[-2:] == label.shape[-2:]:
        return pixel_entropy(logits, label, ignore_index=ignore_index, reduction="sum")
    if not (logits.requires_grad and torch.is_grad_enabled()):
        return torch.stack([part for _, part in _pictures(logits, label, ignore_index)]).sum()
    total: Any = _EnlargedEntropy.apply(logits, label, ignore_index)
    return total


def _pictures(
    logits: torch.Tensor, label: torch.Tensor, ignore_index: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Each picture's low logits `[1, C, h, w]`, without what they were made of, and its loss."""
    learns = torch.is_grad_enabled()
    for low, wanted in zip(logits.detach().split(1), label.split(1), strict=True):
        low.requires_grad_(learns)
        high = resize(low, wanted.shape[-2:]).contiguous()  # [1, C, H, W], classes outermost as the loss reads them
        yield low, pixel_entropy(high, wanted, ignore_index=ignore_index, reduction="sum")


class _EnlargedEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, label: torch.Tensor, ignore_index: int) -> torch.Tensor:
        total, slopes = logits.new_zeros(()), []
        # What these graphs keep is gone with them, so nobody who counts what is kept is told.
        with torch.enable_grad(), saved_tensors_hooks(_same, _same):
            for low, part in _pictures(logits, label, ignore_index):
                slopes += torch.autograd.grad(part, low)
                total += part.detach()
        ctx.save_for_backward(torch.cat(slopes))  # [B, C, h, w]
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slope: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * slope[0], None, None


def _same(x: torch.Tensor) -> torch.Tensor:
    return x
