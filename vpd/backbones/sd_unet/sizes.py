"""Sizes of a Stable Diffusion v1 UNet and VAE, read from their weights: the diffusers config they need.

Owns what shapes can say (channels, levels, layers, where attention stands, context width) and the short list of what
they cannot: Stable Diffusion v1 has 8 heads, unless told otherwise, and groups of 32 (docs/methods/vpd.md#components).
A file whose shapes contradict that is of another family and is refused. Weights come under their diffusers names
(`ldm_keys`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch

from shards.errors import ConfigError, SchemaMismatch
from vpd.backbones.sd_unet.facts import SCALE

HEADS = 8  # of every attention layer of SD 1; not visible in the weights
NORM_GROUPS = 32

Weights = Mapping[str, torch.Tensor]


def unet_config(weights: Weights, heads: int = HEADS) -> dict[str, Any]:
    """The `UNet2DConditionModel` config of UNet weights.

    Args:
        heads: of every attention layer, which no shape tells.

    Raises:
        ConfigError: a width that cannot be divided among so many heads.
        SchemaMismatch: a weight that decides a size is missing, or the sizes are not those of a v1 UNet.
    """
    levels = _count(weights, r"down_blocks\.(\d+)\.")
    channels = [_shape(weights, f"down_blocks.{i}.resnets.0.conv1.weight")[0] for i in range(levels)]
    attended = [any(key.startswith(f"down_blocks.{i}.attentions.") for key in weights) for i in range(levels)]
    if not any(attended):
        raise SchemaMismatch("no cross-attention among the UNet's weights (down_blocks.0.attentions): not a v1 UNet.")
    first = f"down_blocks.{attended.index(True)}.attentions.0"
    config: dict[str, Any] = {
        "sample_size": 64,
        "in_channels": _shape(weights, "conv_in.weight")[1],
        "out_channels": weights["conv_out.weight"].shape[0] if "conv_out.weight" in weights else 4,
        "block_out_channels": channels,
        "layers_per_block": _count(weights, r"down_blocks\.0\.resnets\.(\d+)\."),
        "down_block_types": ["CrossAttnDownBlock2D" if a else "DownBlock2D" for a in attended],
        "up_block_types": ["CrossAttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attended)],
        "cross_attention_dim": _shape(weights, f"{first}.transformer_blocks.0.attn2.to_k.weight")[1],
        "attention_head_dim": heads,  # diffusers' name for their number in v1 models
        "norm_num_groups": NORM_GROUPS,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
    }
    if len(_shape(weights, f"{first}.proj_in.weight")) != 4:
        raise SchemaMismatch(
            f"{first}.proj_in.weight is a linear layer: this is a UNet of Stable Diffusion 2 or later, whose number of "
            "heads is not in its weights. Load it from its diffusers folder instead."
        )
    if _count(weights, rf"{re.escape(first)}\.transformer_blocks\.(\d+)\.") != 1:
        raise SchemaMismatch(f"{first} has several transformer blocks, a v1 UNet has one.")
    _divisible(channels, "UNet")
    if heads < 1 or any(width % heads for width in channels):
        raise ConfigError(
            f"heads={heads}: the UNet's levels have {channels} channels, which {heads} heads cannot share."
        )
    return config


def vae_config(weights: Weights) -> dict[str, Any]:
    """The `AutoencoderKL` config of VAE weights, with or without the decoder.

    Raises:
        SchemaMismatch: as for the UNet.
    """
    levels = _count(weights, r"encoder\.down_blocks\.(\d+)\.")
    channels = [_shape(weights, f"encoder.down_blocks.{i}.resnets.0.conv1.weight")[0] for i in range(levels)]
    _divisible(channels, "VAE")
    return {
        "in_channels": _shape(weights, "encoder.conv_in.weight")[1],
        "out_channels": _shape(weights, "encoder.conv_in.weight")[1],
        "latent_channels": _shape(weights, "quant_conv.weight")[0] // 2,
        "block_out_channels": channels,
        "layers_per_block": _count(weights, r"encoder\.down_blocks\.0\.resnets\.(\d+)\."),
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "norm_num_groups": NORM_GROUPS,
        "sample_size": 512,
        "scaling_factor": SCALE,
    }


def _count(weights: Weights, pattern: str) -> int:
    """How many values the number in a name takes: one more than the largest."""
    found = [int(match[1]) for key in weights if (match := re.match(pattern, key))]
    return max(found, default=-1) + 1


def _shape(weights: Weights, key: str) -> tuple[int, ...]:
    if key not in weights:
        raise SchemaMismatch(f"{key} is missing, from which a size is read: the checkpoint is incomplete.")
    return tuple(weights[key].shape)


def _divisible(channels: list[int], what: str) -> None:
    if not channels or any(width % NORM_GROUPS for width in channels):
        raise SchemaMismatch(
            f"the {what}'s levels have {channels} channels, expected multiples of {NORM_GROUPS} as in Stable "
            "Diffusion v1: this is another architecture."
        )
