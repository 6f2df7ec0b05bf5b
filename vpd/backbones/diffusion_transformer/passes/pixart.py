"""PixArt-Sigma: cross-attention to T5's words, of which padding is masked; tokens carry a mark, 1 for a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from shards.errors import ConfigError

MASKED = -10000.0  # added to the score of padding, as diffusers does


def tokens(
    network: Any,
    latents: torch.Tensor,
    states: torch.Tensor,
    carried: torch.Tensor,
    timestep: float,
    call: Callable[..., torch.Tensor],
) -> Iterator[torch.Tensor]:
    if network.use_additional_conditions:
        raise ConfigError("backbone diffusion_transformer: PixArt-alpha's size conditions are not known; use Sigma.")
    x = network.pos_embed(latents)  # [B, N, C]
    steps = torch.full((len(latents),), timestep, device=latents.device)
    added = {"resolution": None, "aspect_ratio": None}
    time, _ = network.adaln_single(steps, added, batch_size=len(latents), hidden_dtype=x.dtype)
    words = network.caption_projection(states)  # [B, T, C]
    mask = (carried[..., 0] < 0.5).to(x.dtype)[:, None] * MASKED  # [B, 1, T]
    for block in network.transformer_blocks:
        x = call(block, x, None, words, mask, time)
        yield x


def leftover(block: Any) -> list[nn.Module]:
    return []
