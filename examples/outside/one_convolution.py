"""A head: all levels at the finest size, and one convolution."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from vpd.backbones import FeatureSpec


class OneConvolution(nn.Module):
    def __init__(self, spec: FeatureSpec, outputs: int = 1, kernel: int = 3) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(sum(spec.widths), outputs, kernel, padding=kernel // 2)

    def forward(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int], context: torch.Tensor | None = None
    ) -> torch.Tensor:
        size = features[0].shape[-2:]
        joined = torch.cat([F.interpolate(level, size=size, mode="bilinear") for level in features], dim=1)
        logits = self.convolution(joined)  # [B, outputs, h, w]
        return F.interpolate(logits, size=tuple(out_size_px), mode="bilinear")


build = OneConvolution
