"""What SDXL's UNet is told beside text states and time: pooled text and the picture's size.

Owns how a context's tokens carry the pooled text (docs/methods/families.md#tokens), and the embedding that is added to
that of the time. Sizes are those of a picture that was not cropped, as diffusers' pipeline has them by default.
"""

from __future__ import annotations

from typing import Any

import torch


def split_context(context: torch.Tensor, carried: int) -> tuple[torch.Tensor, torch.Tensor]:
    """States `[B, T, D]` of a context `[B, T, D + carried]`, and what its tokens carry, averaged: `[B, carried]`. The
    tokens of one text all carry the same; those of all classes each their class's."""
    states, behind = context.tensor_split([context.shape[-1] - carried], dim=-1)
    return states, behind.mean(dim=1)


def added_embedding(unet: Any, pooled: torch.Tensor, size_px: tuple[int, int]) -> torch.Tensor:
    """`[B, E]`, to be added to that of the time, from pooled text `[B, carried]` and the picture's (height, width)."""
    told = (*size_px, 0, 0, *size_px)  # own size, offset of the crop, own size
    sizes = torch.cat([torch.full((1,), side, device=pooled.device) for side in told])  # made there: a copy would wait
    embedded = unet.add_time_proj(sizes).flatten().to(pooled.dtype)  # [6 F]
    return unet.add_embedding(torch.cat([pooled, embedded.expand(len(pooled), -1)], dim=-1))
