"""The layers of a Stable Diffusion UNet as the backbone runs them: a resnet, and where there is one its transformer.

Owns one layer's forward pass, the norm that is skipped over a one-token context, and which layers give attention maps.
Their order, the taps and the passes are `vpd.backbones.sd_unet.unet`'s; attention arithmetic is
`vpd.backbones.sd_unet.attention`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from shards.errors import ConfigError
from vpd.enlarging import enlarged

PLACES = ("up", "down", "mid")


class SkippedNorm(nn.Module):
    """Keeps the weights of a norm whose output nobody reads under their names, and passes its input on."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


def run_layer(
    resnet: Callable[..., torch.Tensor],
    attention: Callable[..., tuple[torch.Tensor]] | None,
    x: torch.Tensor,
    skip: torch.Tensor | None,
    time: torch.Tensor,
    context: torch.Tensor,
    keep: bool,
) -> tuple[torch.Tensor, ...]:
    """The layer's output, followed by the maps `[B, N, T]` it was asked to keep."""
    if skip is not None:
        if skip.shape[-2:] != x.shape[-2:]:  # only with `resize_skips`, where a side was odd
            skip = F.interpolate(skip, size=x.shape[-2:], mode="bilinear", align_corners=False)
        x = torch.cat([x, skip], dim=1)
    x = resnet(x, time)
    maps: list[torch.Tensor] = []
    if attention is not None:
        options = {"maps": maps} if keep else None
        x = attention(x, encoder_hidden_states=context, cross_attention_kwargs=options, return_dict=False)[0]
    return x, *maps


def upsampled(upsampler: Any, x: torch.Tensor, size: Sequence[int] | None) -> torch.Tensor:
    """Every pixel repeated, to `(h, w)` or to twice the size, and the upsampler's convolution."""
    size = size or (2 * x.shape[-2], 2 * x.shape[-1])
    return upsampler.conv(enlarged(x, size, mode="nearest"))


def layers_of(block: Any) -> list[tuple[nn.Module, nn.Module | None]]:
    """Resnet and transformer of every layer of a down or up block."""
    attentions = getattr(block, "attentions", None) or [None] * len(block.resnets)
    return list(zip(block.resnets, attentions, strict=True))


def kept_layers(
    present: list[tuple[str, int]], places: tuple[str, ...], levels: tuple[int, ...]
) -> frozenset[tuple[str, int]]:
    """Which (place, level) blocks give maps; ConfigError if a named place or level gives none."""
    if not places:
        return frozenset()
    kept = frozenset((place, level) for place, level in present if place in places and level in levels)
    idle = [p for p in places if p not in {k[0] for k in kept}] + [n for n in levels if n not in {k[1] for k in kept}]
    if idle or not kept:
        raise ConfigError(
            f"backbone sd_unet: attention_maps {'+'.join(places)!r} with map_levels {list(levels)} selects no "
            f"cross-attention layer for {idle}. Places: {', '.join(PLACES)}; (place, level) of this model: "
            f"{sorted(present)}."
        )
    return kept
