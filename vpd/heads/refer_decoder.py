"""Decoder of referring segmentation, top-down over the pyramid (docs/methods/refer.md#decoder).

Owns the fusion of the levels and the upsampling to image size. Module names are those of the published checkpoints'
`classifier.*`: the suffix counts levels from the finest, so of four levels `conv1_4` fuses f4 with f3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec
from vpd.heads.ops.resize import channels_innermost, resize


class ReferDecoder(nn.Module):
    """Upsample, concatenate, two 3x3 convolutions; once per finer level; then class logits.

    Args:
        spec: levels of the backbone; at least two.
        classes: logit channels.
        hidden: channels of the convolutions; default half of the coarsest level's features, as published.
        norm: normalisation of `hidden` channels. Training on several GPUs joins its statistics (`model.batch_norm`).

    Raises:
        ConfigError: fewer than two levels.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        classes: int = 2,
        hidden: int | None = None,
        norm: Callable[[int], nn.Module] = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if len(spec.levels) < 2:
            raise ConfigError(f"ReferDecoder fuses at least two levels; the backbone gives {len(spec.levels)}.")
        hidden = hidden or spec.levels[-1].channels // 2
        width = spec.widths[-1]
        self.suffixes = tuple(range(len(spec.levels), 1, -1))  # coarse to fine: (4, 3, 2)
        for suffix in self.suffixes:
            for step, inputs in ((1, width + spec.widths[suffix - 2]), (2, hidden)):
                self.add_module(f"conv{step}_{suffix}", nn.Conv2d(inputs, hidden, 3, padding=1, bias=False))
                self.add_module(f"bn{step}_{suffix}", norm(hidden))
            width = hidden
        self.conv1_1 = nn.Conv2d(hidden, classes, 1)

    def forward(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int], context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Logits at image size.

        Args:
            features: finest first, `[B, level.width, h_i, w_i]`.
            out_size_px: `(H, W)` of the logits.
            context: not read.

        Returns:
            `[B, classes, H, W]` float32.
        """
        x = features[-1]
        for suffix in self.suffixes:
            level = channels_innermost(features[suffix - 2])
            x = torch.cat([resize(x, level.shape[-2:], align_corners=True), level], dim=1)
            for step in (1, 2):
                conv, norm = self.get_submodule(f"conv{step}_{suffix}"), self.get_submodule(f"bn{step}_{suffix}")
                x = F.relu(norm(conv(x)))  # [B, hidden, h_i, w_i]
        return resize(self.conv1_1(x).float(), out_size_px, align_corners=True)


build = ReferDecoder
