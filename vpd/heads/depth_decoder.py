"""VPD's depth head: all levels fused at 1/32 of the image (docs/methods/depth.md#head).

Owns the neck and the published initial weights; the decoder and the size rule are `depth_stages`'. Module names are
those of the published checkpoints without their leading `encoder.`: `layer1`, `layer2`, `out_layer`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from shards.errors import ConfigError, did_you_mean
from vpd.backbones import FeatureSpec, Level
from vpd.heads.ops.depth_stages import GROUPS, DepthStages, check_levels, draw_weights
from vpd.heads.ops.resize import repeat

NECK_STRIDE_PX = 32
INITS = ("vpd", "mmseg")


class DepthDecoder(DepthStages):
    """Features to metres: sigmoid(logits) * max_depth_m.

    Args:
        spec: any number of levels; published: four at strides 8, 16, 32, 64. Finer ones than the fused map come to its
            size by convolutions, coarser ones by repetition.
        max_depth_m: upper end of the prediction.
        width: channels of the fused map.
        filters, kernels, hidden, enlarged: of the decoder (`DepthStages`).
        init: `vpd`: last convolutions normal 0.001, so that training starts from half of the range everywhere;
            `mmseg`: normal 0.02.

    Raises:
        ConfigError: other levels, or a setting that does not fit.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        max_depth_m: float = 10.0,
        *,
        width: int = 1536,
        filters: Sequence[int] = (32, 32, 32),
        kernels: Sequence[int] = (2, 2, 2),
        hidden: int = 192,
        enlarged: bool = False,
        init: str = "vpd",
    ) -> None:
        finer = [level for level in spec.levels if level.stride < NECK_STRIDE_PX]
        twice = [level.channels for level in finer if 2 * level.stride < NECK_STRIDE_PX]  # with a norm in between
        check_levels(spec, (width, *twice), NECK_STRIDE_PX)
        if init not in INITS:
            raise ConfigError(
                f"depth head: init {init!r} is unknown; choose one of {', '.join(INITS)}.{did_you_mean(init, INITS)}"
            )
        super().__init__(width, NECK_STRIDE_PX, max_depth_m, filters, kernels, hidden, enlarged)
        self.shrunk = [f"layer{number}" if level in finer else "" for number, level in enumerate(spec.levels, 1)]
        for name, level in zip(self.shrunk, spec.levels, strict=True):
            if name:
                self.add_module(name, _shrinking(level, NECK_STRIDE_PX))
        fused = sum(level.channels if level in finer else level.width for level in spec.levels)
        self.out_layer = nn.Sequential(nn.Conv2d(fused, width, 1), nn.GroupNorm(GROUPS, width), nn.ReLU())
        for parts, std in (
            ((*(self.get_submodule(name) for name in self.shrunk if name), self.out_layer), 0.02),
            ((self.deconv_layers, self.conv_layers), 0.001),
            ((self.last_layer_depth,), 0.02 if init == "mmseg" else 0.001),
        ):
            for part in parts:
                draw_weights(part, std, (nn.Conv2d, nn.ConvTranspose2d))

    def forward(
        self, features: Sequence[torch.Tensor], out_size_px: Sequence[int], context: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Depth of the picture that a view shows.

        Args:
            features: finest first, `[B, level.width, h_i, w_i]`, any sizes a backbone gives.
            out_size_px: `(H, W)` of the depth.
            context: not read.

        Returns:
            `[B, 1, H, W]` float32, metres.

        Raises:
            ConfigError: the features show less than the wanted size.
        """
        return self.depth(self.fuse(features), out_size_px)

    def fuse(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """All levels at 1/32 of the image, `[B, width, h, w]`, not cut."""
        parts = [
            self.get_submodule(name)(level) if name else level
            for name, level in zip(self.shrunk, features, strict=True)
        ]
        size = parts[0].shape[-2:]
        return self.out_layer(torch.cat([repeat(part, size) for part in parts], dim=1))


def _shrinking(level: Level, stride_px: int) -> nn.Sequential:
    """Convolutions that halve a level until it has a stride, with a norm and ReLU between two."""
    inputs, steps = level.width, list[nn.Module]()
    for number in range((stride_px // level.stride).bit_length() - 1):
        if number:
            steps += [nn.GroupNorm(GROUPS, level.channels), nn.ReLU()]
        steps.append(nn.Conv2d(inputs, level.channels, 3, stride=2, padding=1))
        inputs = level.channels
    return nn.Sequential(*steps)


build = DepthDecoder
