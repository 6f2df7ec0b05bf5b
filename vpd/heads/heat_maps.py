"""Heat maps of keypoints from the features and one learned prompt per keypoint: Meta Prompts for human pose.

Owns the fusion of the levels and the comparison with the prompts, which are keypoint queries here: map k is the
likeness of every pixel to prompt k (`vpd.heads.ops.likeness`). Meta Prompts' own head for pose was never released
(docs/methods/pose.md#what-was-published); this one is ours, in the form of its published heads for depth and
segmentation (docs/methods/meta_prompts.md#segmentation-head): levels to one width and size, a convolution to the
context's width, GroupNorm, ReLU, comparison.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec
from vpd.heads.ops.likeness import rearranged
from vpd.heads.ops.resize import resize

GROUPS = 16  # of the normalisations


class HeatMaps(nn.Module):
    """Features and the prompts they were made with, to a map for each keypoint at twice the finest level's size.

    Args:
        spec: levels of the backbone and the context's size.
        keypoints: maps; the model has as many prompts.
        width: channels that the levels are brought to and summed in.

    Raises:
        ConfigError: another number of prompts than keypoints, or a width that `GROUPS` does not divide.
    """

    def __init__(self, spec: FeatureSpec, keypoints: int = 17, width: int = 256) -> None:
        super().__init__()
        if spec.tokens != keypoints:
            raise ConfigError(
                f"head heat_maps compares features with a prompt for each of {keypoints} keypoints, the model has "
                f"{spec.tokens}. Set model.prompts.count={keypoints}."
            )
        if width % GROUPS or spec.context_width % GROUPS:
            raise ConfigError(
                f"head heat_maps: width is {width} and the context's {spec.context_width}; both must be multiples of "
                f"{GROUPS}."
            )
        self.laterals = nn.ModuleList(nn.Conv2d(level_width, width, 1) for level_width in spec.widths)
        self.fuse = _conv_norm_relu(width, width)
        self.queryable = _conv_norm_relu(width, spec.context_width)
        self.gain = nn.Parameter(torch.ones(keypoints))
        self.bias = nn.Parameter(torch.zeros(keypoints))

    def forward(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int] | None, context: torch.Tensor
    ) -> torch.Tensor:
        """Maps.

        Args:
            features: finest first, `[B, level.width, h_i, w_i]`.
            out_size_px: `(H, W)` of the maps; None: twice the finest level's, which is 1/4 of the view.
            context: `[B or 1, keypoints, D]`, the prompts of the last pass.

        Returns:
            `[B, keypoints, H, W]` float32, about 1 at a keypoint and 0 elsewhere once trained.
        """
        height, width = features[0].shape[-2:]
        fused = torch.zeros((), device=features[0].device)
        for lateral, feature in zip(self.laterals, features, strict=True):
            fused = fused + resize(lateral(feature), (height, width))  # [B, width, h, w]
        fused = resize(self.fuse(fused), (2 * height, 2 * width))
        likeness = rearranged(self.queryable(fused), context).float() / context.shape[-1]  # [B, K, 2h, 2w]
        maps = likeness * self.gain.view(-1, 1, 1) + self.bias.view(-1, 1, 1)
        return maps if out_size_px is None else resize(maps, out_size_px)


def _conv_norm_relu(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(GROUPS, outputs), nn.ReLU())


build = HeatMaps
