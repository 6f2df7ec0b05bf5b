"""Features as their likeness to each token of the context, which the heads of Meta Prompts read."""

from __future__ import annotations

import torch


def rearranged(features: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
    """Features as their likeness to each token of the context (docs/methods/meta_prompts.md#prompts).

    Args:
        features: `[B, D, h, w]`.
        context: `[B or 1, T, D]`.

    Returns:
        `[B, T, h, w]`: the product of every pixel with every token.
    """
    return torch.einsum("bdhw,btd->bthw", features, context.expand(len(features), -1, -1).to(features.dtype))
