"""FLUX.1: packed patches of 2 x 2 latents, T5's words, CLIP's pooled text on every token; double, single blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import nn

GUIDANCE = 3.5  # that the guided model (dev) is told, its pipeline's usual one
STEPS = 1000  # that times and guidance are multiplied with


def tokens(
    network: Any,
    latents: torch.Tensor,
    states: torch.Tensor,
    carried: torch.Tensor,
    timestep: float,
    call: Callable[..., tuple[torch.Tensor, torch.Tensor]],
) -> Iterator[torch.Tensor]:
    rows, columns = latents.shape[-2] // 2, latents.shape[-1] // 2
    patches = latents.unflatten(2, (rows, 2)).unflatten(4, (columns, 2))  # [B, c, h/2, 2, w/2, 2]
    x = network.x_embedder(patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2))  # [B, N, 4c] -> [B, N, C]
    steps = torch.full((len(latents),), timestep, dtype=latents.dtype, device=latents.device)
    guided = (torch.full_like(steps, GUIDANCE * STEPS),) if network.config["guidance_embeds"] else ()
    time = network.time_text_embed(steps, *guided, carried.mean(dim=1))
    words = network.context_embedder(states)  # [B, T, C]
    places = torch.zeros(words.shape[1] + rows * columns, 3, device=latents.device)  # words all at 0
    counted = [torch.arange(count, device=latents.device) for count in (rows, columns)]  # there: a copy would wait
    grid = torch.meshgrid(*counted, indexing="ij")
    places[words.shape[1] :, 1:] = torch.stack(grid, dim=-1).flatten(0, 1).to(places)
    turned = network.pos_embed(places)
    for block in chain(network.transformer_blocks, network.single_transformer_blocks):
        words, x = call(block, x, words, time, turned)
        yield x


def leftover(block: Any) -> list[nn.Module]:
    """The text's own way out of a double block; a single one has none."""
    return [block.attn.to_add_out, block.ff_context] if hasattr(block, "ff_context") else []
