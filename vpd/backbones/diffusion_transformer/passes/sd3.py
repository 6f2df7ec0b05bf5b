"""Stable Diffusion 3: words and picture share one attention; tokens carry the pooled text of both CLIPs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from shards.errors import ConfigError


def tokens(
    network: Any,
    latents: torch.Tensor,
    states: torch.Tensor,
    carried: torch.Tensor,
    timestep: float,
    call: Callable[..., tuple[Any, torch.Tensor]],
) -> Iterator[torch.Tensor]:
    most = network.config["pos_embed_max_size"] * network.config["patch_size"]
    if max(latents.shape[-2:]) > most:
        raise ConfigError(
            f"backbone diffusion_transformer: latents of {list(latents.shape[-2:])}; this model has positions for "
            f"{most} x {most} at most. Build smaller views."
        )
    x = network.pos_embed(latents).contiguous()  # [B, N, C]
    steps = torch.full((len(latents),), timestep, dtype=latents.dtype, device=latents.device)
    time = network.time_text_embed(steps, carried.mean(dim=1))
    words: Any = network.context_embedder(states)  # [B, T, C]
    for block in network.transformer_blocks:
        words, x = call(block, x, words, time)
        yield x


def leftover(block: Any) -> list[nn.Module]:
    """The text's own way out, where the block has one."""
    return [] if block.context_pre_only else [block.attn.to_add_out, block.ff_context]
