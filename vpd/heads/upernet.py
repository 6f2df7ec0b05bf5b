"""Meta Prompts' segmentation head: levels compared with the prompts, then UPerNet.

Owns the widening of a level to the context's channels, the pyramid pooling and the fusion of what the comparison gives,
and the auxiliary logits (docs/methods/meta_prompts.md#segmentation-head); the comparison is `vpd.heads.ops.likeness`.
Module names are those of the published checkpoints (`upconv1..4`, `decode_head.*`, `auxiliary_head.*`); initial values
follow mmsegmentation, which wrote the last two.

A level is doubled before it is compared, so that logits come out at 1/4 of the picture. The channels that UPerNet reads
are the prompts, whose number is independent of the classes'.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec
from vpd.heads import Prediction
from vpd.heads.fpn import ConvNormRelu, Norm, class_convolution
from vpd.heads.ops.likeness import rearranged
from vpd.heads.ops.resize import resize

GROUPS = 16  # of the normalisation of a widened level


class UPerNet(nn.Module):
    """Features and the prompts they were made with, to class logits.

    Args:
        spec: levels of the backbone, strides doubling from one to the next, and the context's size.
        classes: logit channels.
        channels: width of the decode head.
        pool_scales: sides of the grids that the coarsest level is pooled to.
        dropout: share of channels dropped before the last convolution of either output.
        auxiliary_channels: width of the auxiliary head; 0 = none.
        auxiliary_level: the level it reads, from 0, the finest.
        norm: normalisation of so many channels. Training on several GPUs joins its statistics (`model.batch_norm`); on
            one worker, pooling to a single value needs batches of two.

    Raises:
        ConfigError: no context to compare with, one of another width than `GROUPS` divides, or a setting out of range.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        classes: int,
        channels: int = 512,
        pool_scales: Sequence[int] = (1, 2, 3, 6),
        dropout: float = 0.0,
        auxiliary_channels: int = 512,
        auxiliary_level: int = 2,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        _check(spec, classes, auxiliary_level if auxiliary_channels else 0)
        for number, width in enumerate(spec.widths, 1):
            steps = [nn.Conv2d(width, spec.context_width, 3, padding=1), nn.GroupNorm(GROUPS, spec.context_width)]
            self.add_module(f"upconv{number}", nn.Sequential(*steps, nn.ReLU()))
        self.decode_head = PyramidHead(len(spec.levels), spec.tokens, classes, channels, pool_scales, dropout, norm)
        self.auxiliary_level = auxiliary_level
        self.auxiliary_head = (
            ConvolutionHead(spec.tokens, classes, auxiliary_channels, dropout, norm) if auxiliary_channels else None
        )

    def forward(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int] | None, context: torch.Tensor
    ) -> Prediction:
        """Logits, and in training the auxiliary ones, at their own size, after them.

        Args:
            features: finest first, `[B, level.width, h_i, w_i]`.
            out_size_px: `(H, W)` of the logits; None: twice the finest level's, which costs no interpolation.
            context: `[B or 1, N, D]`, the prompts of the last pass.

        Returns:
            `[B, classes, H, W]` float32; in training `[logits, auxiliary logits]` if there is an auxiliary head.
        """
        levels = self.compared(features, context)
        logits = self.decode_head(levels).float()
        if out_size_px is not None:
            logits = resize(logits, out_size_px)
        if not self.training or self.auxiliary_head is None:
            return logits
        return [logits, self.auxiliary_head(levels[self.auxiliary_level]).float()]

    def compared(self, features: Sequence[torch.Tensor], context: torch.Tensor) -> list[torch.Tensor]:
        """Every level at twice its size as its likeness to each prompt, `[B, N, 2 h_i, 2 w_i]`."""
        widened = [
            self.get_submodule(f"upconv{number}")(resize(level, [2 * side for side in level.shape[-2:]]))
            for number, level in enumerate(features, 1)
        ]
        return [rearranged(level, context) for level in widened]


class PyramidHead(nn.Module):
    """UPerNet's decode head: pooled context on the coarsest level, summed down to the finest, all levels fused."""

    def __init__(
        self,
        levels: int,
        inputs: int,
        classes: int,
        channels: int,
        pool_scales: Sequence[int],
        dropout: float,
        norm: Norm,
    ) -> None:
        super().__init__()
        self.psp_modules = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(side), ConvNormRelu(inputs, channels, 1, norm)) for side in pool_scales
        )
        self.bottleneck = ConvNormRelu(inputs + len(pool_scales) * channels, channels, 3, norm)
        self.lateral_convs = nn.ModuleList(ConvNormRelu(inputs, channels, 1, norm) for _ in range(levels - 1))
        self.fpn_convs = nn.ModuleList(ConvNormRelu(channels, channels, 3, norm) for _ in range(levels - 1))
        self.fpn_bottleneck = ConvNormRelu(levels * channels, channels, 3, norm)
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = class_convolution(channels, classes)

    def forward(self, levels: Sequence[torch.Tensor]) -> torch.Tensor:
        """`[B, inputs, h_i, w_i]`, finest first, to logits `[B, classes, h_0, w_0]`."""
        *finer, coarsest = levels
        x = [conv(level) for conv, level in zip(self.lateral_convs, finer, strict=True)]
        pooled = [resize(pool(coarsest), coarsest.shape[-2:]) for pool in self.psp_modules]
        x.append(self.bottleneck(torch.cat([coarsest, *pooled], dim=1)))
        for fine in range(len(x) - 2, -1, -1):
            x[fine] = x[fine] + resize(x[fine + 1], x[fine].shape[-2:])
        x[:-1] = [conv(level) for conv, level in zip(self.fpn_convs, x[:-1], strict=True)]
        fused = self.fpn_bottleneck(torch.cat([resize(level, x[0].shape[-2:]) for level in x], dim=1))
        return self.conv_seg(self.dropout(fused))


class ConvolutionHead(nn.Module):
    """mmsegmentation's FCN head with one convolution, and without its input beside it."""

    def __init__(self, inputs: int, classes: int, channels: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.convs = nn.Sequential(ConvNormRelu(inputs, channels, 3, norm))
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = class_convolution(channels, classes)

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        """`[B, inputs, h, w]` to logits `[B, classes, h, w]`."""
        return self.conv_seg(self.dropout(self.convs(level)))


def _check(spec: FeatureSpec, classes: int, auxiliary_level: int) -> None:
    if classes < 1:
        raise ConfigError(f"head upernet needs at least one class, found classes={classes}.")
    if not (spec.tokens and spec.context_width):
        raise ConfigError("head upernet compares features with a context, and this backbone states none.")
    if spec.context_width % GROUPS:
        raise ConfigError(f"head upernet: a context {spec.context_width} wide; expected a multiple of {GROUPS}.")
    strides = [level.stride for level in spec.levels]
    if len(strides) < 2 or any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
        raise ConfigError(
            f"head upernet: the backbone's strides are {strides}; expected two or more, each twice the one before."
        )
    if not 0 <= auxiliary_level < len(strides):
        raise ConfigError(f"head upernet: auxiliary_level {auxiliary_level}; expected 0 to {len(strides) - 1}.")


build = UPerNet
