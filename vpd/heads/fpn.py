"""Feature pyramid neck and Semantic-FPN head (docs/methods/segmentation.md#fpn-head).

Owns the fusion of the levels and the logits, at any number of levels and classes; the widths come from the backbone's
`FeatureSpec`, maps included. Module names are those of the published checkpoints (`neck.*`, `decode_head.*`), which
were written by mmsegmentation; initial values follow it too.

The published configuration declares strides 4 to 32 where they are 8 to 64; only their ratios matter. Logits come out
at the finest level's size, 1/8 of the picture.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec
from vpd.heads.ops.resize import repeat, resize

Norm = Callable[[int], nn.Module]


class SemanticFpn(nn.Module):
    """Neck and head, called as a head.

    Args:
        spec: levels of the backbone; strides double from one to the next.
        classes: logit channels.
        channels: width of the neck and of the head's branches.
        dropout: share of channels dropped before the last convolution.
        norm: normalisation of `channels` channels. Training on several GPUs joins its statistics (`model.batch_norm`).

    Raises:
        ConfigError: no classes, or strides that do not double.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        classes: int,
        channels: int = 256,
        dropout: float = 0.1,
        norm: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        if classes < 1:
            raise ConfigError(f"SemanticFpn needs at least one class, found classes={classes}.")
        strides = [level.stride for level in spec.levels]
        if any(coarse != 2 * fine for fine, coarse in pairwise(strides)):
            raise ConfigError(f"SemanticFpn: the backbone's strides are {strides}; each must be twice the one before.")
        self.neck = FpnNeck(spec.widths, channels)
        self.decode_head = FpnHead(len(spec.levels), classes, channels, dropout, norm)

    def forward(
        self,
        features: Sequence[torch.Tensor],
        out_size_px: Sequence[int] | None,
        context: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Logits of a size.

        Args:
            features: finest first, `[B, level.width, h_i, w_i]`.
            out_size_px: `(H, W)` of the logits; None, the finest level's, costs no interpolation.
            context: not read.

        Returns:
            `[B, classes, H, W]` float32.
        """
        logits = self.decode_head(self.neck(features)).float()
        return logits if out_size_px is None else resize(logits, out_size_px)


class FpnNeck(nn.Module):
    """1x1 convolutions to one width, summed from coarse to fine (nearest neighbour), a 3x3 convolution on each."""

    def __init__(self, widths: Sequence[int], channels: int) -> None:
        super().__init__()
        self.lateral_convs = nn.ModuleList(_Conv(width, channels, 1) for width in widths)
        self.fpn_convs = nn.ModuleList(_Conv(channels, channels, 3) for _ in widths)

    def forward(self, features: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """`[B, width_i, h_i, w_i]`, finest first, to `[B, channels, h_i, w_i]`."""
        x = [conv(feature) for conv, feature in zip(self.lateral_convs, features, strict=True)]
        for fine in range(len(x) - 2, -1, -1):
            x[fine] = x[fine] + repeat(x[fine + 1], x[fine].shape[-2:])
        return [conv(level) for conv, level in zip(self.fpn_convs, x, strict=True)]


class FpnHead(nn.Module):
    """Every level to the finest size by convolutions and doublings, their sum, dropout, class logits."""

    def __init__(self, levels: int, classes: int, channels: int, dropout: float, norm: Norm) -> None:
        super().__init__()
        self.scale_heads = nn.ModuleList()
        for level in range(levels):
            steps: list[nn.Module] = []
            for _ in range(max(level, 1)):
                steps.append(ConvNormRelu(channels, channels, 3, norm))
                if level:
                    steps.append(_Double())
            self.scale_heads.append(nn.Sequential(*steps))
        self.dropout = nn.Dropout2d(dropout)
        self.conv_seg = class_convolution(channels, classes)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """`[B, channels, h_i, w_i]`, finest first, to logits `[B, classes, h_0, w_0]`."""
        finest, *coarser = zip(self.scale_heads, features, strict=True)
        x = finest[0](finest[1])
        for branch, feature in coarser:
            x = x + resize(branch(feature), x.shape[-2:])
        return self.conv_seg(self.dropout(x))


class _Conv(nn.Module):
    """A convolution that keeps the size; nested once, as in the published names."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        nn.init.xavier_uniform_(self.conv.weight)
        nn.init.zeros_(self.conv.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


class ConvNormRelu(nn.Module):
    """A convolution that keeps the size, without bias, normalised; names and initial values as in mmsegmentation."""

    def __init__(self, inputs: int, outputs: int, kernel: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = norm(outputs)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.bn(self.conv(x)))


def class_convolution(channels: int, classes: int) -> nn.Conv2d:
    """The last layer of a segmentation head: 1x1, initial values as in mmsegmentation."""
    convolution = nn.Conv2d(channels, classes, 1)
    nn.init.normal_(convolution.weight, std=0.01)
    nn.init.zeros_(convolution.get_parameter("bias"))
    return convolution


class _Double(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))


build = SemanticFpn
