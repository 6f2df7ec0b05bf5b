"""Depth neck and decoder (vpd_spec.md 4, 8.3; oracle.md 5.4).

Owns the fusion of all levels at 1/32 of the image, the decoder back to image size, the published initial weights, and
the size rule. Module names are those of the published checkpoints without their leading `encoder.` or `decoder.`:
`layer1`, `layer2`, `out_layer`, `deconv_layers`, `conv_layers`, `last_layer_depth`.

The size rule: the fused map is cut to the cells that the wanted output touches, before the decoder sees it. Published
code drops the last row and column for 480 padded to 512 and for 352 padded to 384; that is the same rule, which holds
for every size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec

GROUPS = 16  # of the group norms
NECK_STRIDE_PX = 32
NECK_HALVINGS = 5  # 2**5 = NECK_STRIDE_PX: what the decoder has to double back
DECONV_PADDING = {2: (0, 0), 3: (1, 1), 4: (1, 0)}  # kernel -> padding, output padding, for exactly twice the size
INITS = ("vpd", "mmseg")


class DepthDecoder(nn.Module):
    """Features of four levels to metres: sigmoid(logits) * max_depth_m.

    Args:
        spec: four levels at strides 8, 16, 32, 64.
        max_depth_m: upper end of the prediction.
        width: channels of the fused map.
        filters: channels of each stride-2 transposed convolution; bilinear doublings do the rest of the way.
        kernels: their kernel sizes, 2, 3 or 4.
        hidden: channels of the convolutions at and near image size; most of the decoder's work is there.
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
        init: str = "vpd",
    ) -> None:
        super().__init__()
        _check(spec, width, filters, kernels, init)
        self.max_depth_m = max_depth_m
        f1, f2, f3, f4 = spec.levels
        self.layer1 = nn.Sequential(
            nn.Conv2d(f1.width, f1.channels, 3, stride=2, padding=1),
            nn.GroupNorm(GROUPS, f1.channels),
            nn.ReLU(),
            nn.Conv2d(f1.channels, f1.channels, 3, stride=2, padding=1),
        )
        self.layer2 = nn.Sequential(nn.Conv2d(f2.width, f2.channels, 3, stride=2, padding=1))
        fused = f1.channels + f2.channels + f3.width + f4.width
        self.out_layer = nn.Sequential(nn.Conv2d(fused, width, 1), nn.GroupNorm(GROUPS, width), nn.ReLU())

        deconvs: list[nn.Module] = []
        for inputs, outputs, kernel in zip((width, *filters), filters, kernels, strict=False):
            padding, extra = DECONV_PADDING[kernel]
            deconvs += [
                nn.ConvTranspose2d(inputs, outputs, kernel, 2, padding, extra, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        self.deconv_layers = nn.Sequential(*deconvs)
        last = filters[-1] if filters else width
        self.conv_layers = nn.Sequential(nn.Conv2d(last, hidden, 3, padding=1), nn.BatchNorm2d(hidden), nn.ReLU())
        self.doublings = NECK_HALVINGS - len(filters)
        self.last_layer_depth = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, 1, 3, padding=1)
        )
        self._initialise(init)

    def forward(self, features: Sequence[torch.Tensor], out_size_px: Sequence[int]) -> torch.Tensor:
        """Depth of the top-left part of the view: what is left when its padding is cut off.

        Args:
            features: finest first, `[B, level.width, h_i, w_i]`, any sizes a backbone gives.
            out_size_px: `(H, W)` of the depth.

        Returns:
            `[B, 1, H, W]` float32, metres.

        Raises:
            ConfigError: the features show less than the wanted size.
        """
        rows, columns = (-(-size // NECK_STRIDE_PX) for size in out_size_px)
        x = self.fuse(features)
        if x.shape[-2] < rows or x.shape[-1] < columns:
            seen = tuple(side * NECK_STRIDE_PX for side in x.shape[-2:])
            raise ConfigError(f"depth head: {tuple(out_size_px)} pixels are asked for, the features show {seen}.")
        x = self.conv_layers(self.deconv_layers(x[..., :rows, :columns]))
        for _ in range(self.doublings):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        logits = self.last_layer_depth(x).float()[..., : out_size_px[0], : out_size_px[1]]
        return logits.sigmoid() * self.max_depth_m

    def fuse(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """All levels at 1/32 of the image, `[B, width, h, w]`, not cut."""
        f1, f2, f3, f4 = features
        f4 = F.interpolate(f4, size=f3.shape[-2:], mode="nearest")
        return self.out_layer(torch.cat([self.layer1(f1), self.layer2(f2), f3, f4], dim=1))

    def _initialise(self, init: str) -> None:
        for parts, std in (
            ((self.layer1, self.layer2, self.out_layer), 0.02),
            ((self.deconv_layers, self.conv_layers), 0.001),
            ((self.last_layer_depth,), 0.02 if init == "mmseg" else 0.001),
        ):
            for part in parts:
                _draw_weights(part, std)


def _draw_weights(part: nn.Module, std: float) -> None:
    """Weights of the convolutions normal, biases 0; norms start as torch makes them, at 1 and 0.

    Where the published code truncates a normal it does so at 2, a hundred standard deviations out.
    """
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _check(spec: FeatureSpec, width: int, filters: Sequence[int], kernels: Sequence[int], init: str) -> None:
    strides = [level.stride for level in spec.levels]
    if strides != [8, 16, 32, 64]:
        raise ConfigError(f"depth head: the backbone's levels have strides {strides}, expected [8, 16, 32, 64].")
    if any(channels % GROUPS for channels in (width, spec.levels[0].channels)):
        raise ConfigError(
            f"depth head: {width} channels of the fused map and {spec.levels[0].channels} of the finest level must be "
            f"multiples of {GROUPS}, the groups of their norms."
        )
    if len(kernels) != len(filters) or len(filters) > NECK_HALVINGS or set(kernels) - DECONV_PADDING.keys():
        raise ConfigError(
            f"depth head: filters {list(filters)} with kernels {list(kernels)}; expected as many of each, at most "
            f"{NECK_HALVINGS}, with kernels out of {sorted(DECONV_PADDING)}."
        )
    if init not in INITS:
        raise ConfigError(f"depth head: init {init!r} is unknown; choose one of {', '.join(INITS)}.")
