"""Meta Prompts' depth head: all levels fused at 1/8 of the image and compared with the prompts.

Owns the neck and its initial weights (docs/methods/meta_prompts.md#depth-head); the comparison is
`vpd.heads.ops.likeness`, the decoder `depth_stages`'. Module names are those of the published checkpoints without their
leading `encoder.`: `layer1` to `layer4`, `out_layer`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec
from vpd.heads.ops.depth_stages import GROUPS, DepthStages, check_levels, draw_weights
from vpd.heads.ops.likeness import rearranged

NECK_STRIDE_PX = 8


class PromptDepth(DepthStages):
    """Features, and the prompts they were made with, to metres.

    Args:
        spec: any number of levels, the finest at stride 8, and the prompts; published: four at strides 8, 16, 32, 64.
        max_depth_m: upper end of the prediction.
        neck_filters: channels of the transposed convolutions that bring a level to 1/8.
        filters, kernels, hidden, enlarged: of the decoder (`DepthStages`).

    Raises:
        ConfigError: no prompts, other levels, or a setting that does not fit.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        max_depth_m: float = 10.0,
        *,
        neck_filters: int = 32,
        filters: Sequence[int] = (32, 32, 32),
        kernels: Sequence[int] = (2, 2, 2),
        hidden: int = 192,
        enlarged: bool = False,
    ) -> None:
        width = spec.context_width
        if not (spec.tokens and width):
            raise ConfigError("head prompt_depth compares features with a context, and this backbone states none.")
        check_levels(spec, (width, spec.levels[0].channels), NECK_STRIDE_PX)
        finest, *coarser = spec.levels
        if finest.stride != NECK_STRIDE_PX or any(level.stride <= NECK_STRIDE_PX for level in coarser):
            raise ConfigError(
                f"head prompt_depth: the backbone's levels have strides {[level.stride for level in spec.levels]}, "
                f"expected {NECK_STRIDE_PX} and then coarser ones. Name a backbone that has such (backbone), or "
                "another head (model.head.name)."
            )
        super().__init__(spec.tokens, NECK_STRIDE_PX, max_depth_m, filters, kernels, hidden, enlarged)
        self.layer1 = nn.Sequential(
            nn.Conv2d(finest.width, finest.channels, 3, padding=1), nn.GroupNorm(GROUPS, finest.channels), nn.ReLU()
        )
        self.raised = [f"layer{number}" for number, _ in enumerate(coarser, 2)]
        for name, level in zip(self.raised, coarser, strict=True):
            doublings = (level.stride // finest.stride).bit_length() - 1
            self.add_module(name, _Raised(level.width, level.channels, neck_filters, doublings=doublings))
        fused = sum(level.channels for level in spec.levels)
        self.out_layer = nn.Sequential(nn.Conv2d(fused, width, 3, padding=1), nn.GroupNorm(GROUPS, width), nn.ReLU())
        for part in (self.layer1, *map(self.get_submodule, self.raised), self.out_layer):
            draw_weights(part, 0.02, nn.Conv2d)  # transposed convolutions stay as torch draws them
        for part in (self.deconv_layers, self.conv_layers, self.last_layer_depth):
            draw_weights(part, 0.001, (nn.Conv2d, nn.ConvTranspose2d))

    def forward(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int], context: torch.Tensor
    ) -> torch.Tensor:
        """Depth of the picture that a view shows.

        Args:
            features: finest first, `[B, level.width, h_i, w_i]`.
            out_size_px: `(H, W)` of the depth.
            context: `[B or 1, N, D]`, the prompts of the last pass.

        Returns:
            `[B, 1, H, W]` float32, metres.

        Raises:
            ConfigError: the features show less than the wanted size.
        """
        return self.depth(rearranged(self.fuse(features), context), out_size_px)

    def fuse(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """All levels at 1/8 of the image, `[B, D, h, w]`."""
        f1, *coarser = features
        height, width = f1.shape[-2:]
        raised = [self.get_submodule(name)(level) for name, level in zip(self.raised, coarser, strict=True)]
        # Where a side was odd, a raised level reaches over the finest one's right or bottom edge.
        parts = [self.layer1(f1), *(level[..., :height, :width] for level in raised)]
        return self.out_layer(torch.cat(parts, dim=1))


class _Raised(nn.Module):
    """A coarser level at the finest one's size, by transposed convolutions through few channels."""

    def __init__(self, inputs: int, outputs: int, filters: int, doublings: int) -> None:
        super().__init__()
        steps: list[nn.Module] = []
        for number in range(doublings):
            width = filters if number else inputs
            steps += [nn.ConvTranspose2d(width, filters, 4, 2, 1, bias=False), nn.BatchNorm2d(filters), nn.ReLU()]
        self.deconv_layers = nn.Sequential(*steps)
        self.conv_layers = nn.Sequential(nn.Conv2d(filters, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, level: torch.Tensor) -> torch.Tensor:
        return self.conv_layers(self.deconv_layers(level))


build = PromptDepth
