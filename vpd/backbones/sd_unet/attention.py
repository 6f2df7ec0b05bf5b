"""Cross-attention maps, read while the UNet runs.

Owns the attention arithmetic of the UNet and the mean of the kept maps. Which layers are kept, and where their mean
joins the features, is left to the backbone. Conventions from the published code (docs/methods/vpd.md#attention-maps):
probabilities are averaged over the heads, then plainly over all kept layers of a resolution, and are not normalised
again.

Published training lets no gradient through the maps: the original block runs under an activation checkpoint whose first
forward has gradients off, and the maps come from that forward (docs/methods/vpd.md#no-gradient-through-maps). That is
the default here: the output comes from the fused kernel, and the map from a second, gradient-free product of the same
queries and keys (0.4 of 2725 GFLOP a training image; nothing is kept for backward). With `grad=True` the probabilities
are computed once, openly, and carry gradient both into the output and into the map.

Two contexts need less work than the general one. Over a single token the softmax is 1 at every pixel, so the layer
adds to_out(to_v(token)) everywhere, exactly, and queries and keys are never formed (docs/methods/vpd.md#one-token). A
context of batch 1 is shared by all samples: its keys and values are computed once and expanded.

Shapes: B batch, H heads, N query pixels, T context tokens, d channels of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F

from shards.errors import ConfigError

LEAST_CHANNELS = 1 if torch.backends.cpu.get_cpu_capability() == "AVX512" else 16  # of a head on a CPU
LEAST_PIXELS = 512  # that attend, and are attended to, for the layout to matter there


def attention_probabilities(query: torch.Tensor, key: torch.Tensor, scale: float) -> torch.Tensor:
    """Softmax over the tokens, in float32 whatever the autocast type.

    Scores rounded to bfloat16 would move a probability by about 1 %, so they are formed in float32 as well. The
    scale goes on the keys: T is smaller than N, and autograd then keeps no second copy of the queries.

    Args:
        query: `[B, H, N, d]`.
        key: `[B, H, T, d]`.

    Returns:
        `[B, H, N, T]` float32.
    """
    # Autocast never leaves a float32 query, and has no meaning without data: then there is nothing to switch off.
    plain = query.dtype == torch.float32 or query.is_meta
    with nullcontext() if plain else torch.autocast(query.device.type, enabled=False):
        scores = query.float() @ (key.float() * scale).transpose(-1, -2)  # [B, H, N, T]
        return scores.softmax(dim=-1)


class AttentionProcessor:
    """Attention of a diffusers block: fused everywhere, with the map put aside where the caller asks for it.

    Stateless, so one object serves all layers. A layer's map goes into the list `maps` the caller hands in
    (`cross_attention_kwargs={"maps": [...]}`); self-attention of the same block ignores the list.

    Args:
        grad: let gradient flow through the maps.
    """

    def __init__(self, grad: bool = False) -> None:
        self.grad = grad

    def __call__(
        self,
        attn: Any,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        maps: list[torch.Tensor] | None = None,
    ) -> torch.Tensor:
        """Attend from `[B, N, C]` to itself or to a context `[B, T, D]`; the names are those diffusers calls with.

        A context of batch 1 serves all B samples.
        """
        if attention_mask is not None:
            raise ConfigError("attention masks are not supported: published VPD attends to pad tokens too.")
        if encoder_hidden_states is None:
            source, maps = hidden_states, None
        else:
            source = encoder_hidden_states
            if source.shape[1] == 1:
                return _from_one_token(attn, hidden_states, source, maps)
        query, key, value = attn.to_q(hidden_states), attn.to_k(source), attn.to_v(source)
        query, key, value = (x.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for x in (query, key, value))

        if maps is not None and self.grad:
            probabilities = attention_probabilities(query, key, attn.scale)
            output = probabilities.to(value.dtype) @ value  # [B, H, N, d]
            maps.append(probabilities.mean(dim=1))  # [B, N, T]
        else:
            output = fused_attention(query, _for_each(key, len(query)), _for_each(value, len(query)), attn.scale)
            if maps is not None:
                with torch.no_grad():
                    maps.append(attention_probabilities(query, key, attn.scale).mean(dim=1))  # [B, N, T]

        return _projected(attn, output.transpose(1, 2).flatten(2))  # [B, N, C]


def fused_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """`[B, H, N, d]` by the fused kernel, from queries `[B, H, N, d]`, keys and values `[B, H, T, d]`.

    On a CPU heads of fewer than LEAST_CHANNELS are widened with zeros, which change no score: on AVX2 the backward pass
    of its kernel takes 1.6 times as long for 8 channels as for 16. Where many pixels attend to many, every head is laid
    out in one piece first: its rows are read again for every block of the others. Where few do, neither is worth a copy
    (docs/methods/performance.md#attention).
    """
    pixels, channels = query.shape[-2:]
    if query.device.type != "cpu" or pixels < LEAST_PIXELS:
        return F.scaled_dot_product_attention(query, key, value, scale=scale)
    if channels < LEAST_CHANNELS:
        query, key, value = (F.pad(x, (0, LEAST_CHANNELS - channels)) for x in (query, key, value))
        return F.scaled_dot_product_attention(query, key, value, scale=scale)[..., :channels]
    if key.shape[-2] >= LEAST_PIXELS:
        query, key, value = (x.contiguous() for x in (query, key, value))
    return F.scaled_dot_product_attention(query, key, value, scale=scale)


def _for_each(shared: torch.Tensor, batch: int) -> torch.Tensor:
    """`[B or 1, H, T, d]` for every sample: fused kernels do not broadcast, nor do all of them take a stride of 0."""
    return shared if len(shared) == batch else shared.expand(batch, -1, -1, -1).contiguous()


def _from_one_token(
    attn: Any, hidden_states: torch.Tensor, token: torch.Tensor, maps: list[torch.Tensor] | None
) -> torch.Tensor:
    """Attention to a context `[B or 1, 1, D]`: one vector for all pixels, and a map of ones."""
    batch, pixels = hidden_states.shape[:2]
    if maps is not None:
        maps.append(hidden_states.new_ones(batch, pixels, 1, dtype=torch.float32))
    return _projected(attn, attn.to_v(token)).expand(batch, pixels, -1)  # [B, N, C]


def _projected(attn: Any, output: torch.Tensor) -> torch.Tensor:
    for module in attn.to_out:
        output = module(output)
    return output


class MapMean:
    """Running mean of the maps of each level, over the layers of one forward pass.

    Made anew for every call, so nothing survives a step, and replicas, checkpointing and compilation see no state.
    """

    def __init__(self) -> None:
        self._sums: dict[int, torch.Tensor] = {}
        self._counts: dict[int, int] = {}

    def add(self, level: int, maps: Sequence[torch.Tensor]) -> None:
        """Count the maps `[B, N, T]` of one layer towards `level`."""
        for layer_map in maps:
            self._sums[level] = self._sums[level] + layer_map if level in self._sums else layer_map
            self._counts[level] = self._counts.get(level, 0) + 1

    def append_to(self, features: torch.Tensor, level: int) -> torch.Tensor:
        """Concatenate the mean of `level` after `features`.

        Args:
            features: `[B, C, h, w]`, N = h * w; any aspect.

        Returns:
            `[B, C + T, h, w]` in the type of `features`; `features` itself if the level has no maps.
        """
        if level not in self._sums:
            return features
        mean = self._sums[level] / self._counts[level]  # [B, N, T]
        mean = mean.unflatten(1, features.shape[-2:]).to(features.dtype)  # [B, h, w, T]
        # Joined with channels innermost, as maps are and as the head's convolutions want them.
        return torch.cat([features.movedim(1, -1), mean], dim=-1).movedim(-1, 1)
