"""The way from a fused map to metres at image size, which both published depth heads share.

Owns the decoder, its initial weights, and the size rule (docs/methods/depth.md#head,
docs/methods/meta_prompts.md#depth-head). What is fused, and how, is `depth_decoder`'s (VPD) and `prompt_depth`'s (Meta
Prompts). Module names are those of the published checkpoints without their leading `decoder.`:
`deconv_layers`, `conv_layers`, `last_layer_depth`.

The size rule has two forms, by how a view was made to fit the encoder. Where it was padded, the fused map is cut to the
cells that the wanted output touches, before the decoder sees it: published VPD drops the last row and column for 480
padded to 512 and for 352 padded to 384, which is the same rule. Where it was enlarged (Meta Prompts shows 480 pixels at
512), the fused map is resized to as many cells as the wanted output has.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from shards.errors import ConfigError
from vpd.backbones import FeatureSpec
from vpd.heads.ops.resize import resize

GROUPS = 16  # of the group norms of both heads
DECONV_PADDING = {2: (0, 0), 3: (1, 1), 4: (1, 0)}  # kernel -> padding, output padding, for exactly twice the size


class DepthStages(nn.Module):
    """Decoder of a depth head; a base class, so that published names need no translation.

    Args:
        width: channels of the fused map.
        stride_px: image pixels of a cell of the fused map.
        max_depth_m: upper end of the prediction.
        filters: channels of each stride-2 transposed convolution; bilinear doublings do the rest of the way.
        kernels: their kernel sizes, 2, 3 or 4.
        hidden: channels of the convolutions at and near image size; most of the decoder's work is there.
        enlarged: views were enlarged to fit the encoder, not padded.

    Raises:
        ConfigError: settings that do not fit each other.
    """

    def __init__(
        self,
        width: int,
        stride_px: int,
        max_depth_m: float,
        filters: Sequence[int],
        kernels: Sequence[int],
        hidden: int,
        enlarged: bool,
    ) -> None:
        super().__init__()
        halvings = stride_px.bit_length() - 1  # what the decoder has to double back
        if len(kernels) != len(filters) or len(filters) > halvings or set(kernels) - DECONV_PADDING.keys():
            raise ConfigError(
                f"depth head: filters {list(filters)} with kernels {list(kernels)}; expected as many of each, at most "
                f"{halvings}, with kernels out of {sorted(DECONV_PADDING)}."
            )
        self.stride_px, self.max_depth_m, self.enlarged = stride_px, max_depth_m, enlarged
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
        self.doublings = halvings - len(filters)
        self.last_layer_depth = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, 1, 3, padding=1)
        )

    def depth(self, fused: torch.Tensor, out_size_px: Sequence[int]) -> torch.Tensor:
        """Depth of the picture that a view shows, without the view's padding.

        Args:
            fused: `[B, width, h, w]`, the whole view.
            out_size_px: `(H, W)` of the depth.

        Returns:
            `[B, 1, H, W]` float32, metres: sigmoid(logits) * max_depth_m.

        Raises:
            ConfigError: the fused map shows less than the wanted size.
        """
        rows, columns = (-(-size // self.stride_px) for size in out_size_px)
        if self.enlarged:
            fused = resize(fused, (rows, columns))
        elif fused.shape[-2] < rows or fused.shape[-1] < columns:
            seen = tuple(side * self.stride_px for side in fused.shape[-2:])
            raise ConfigError(f"depth head: {tuple(out_size_px)} pixels are asked for, the features show {seen}.")
        x = self.conv_layers(self.deconv_layers(fused[..., :rows, :columns]))
        for _ in range(self.doublings):
            x = resize(x, (2 * x.shape[-2], 2 * x.shape[-1]))
        logits = self.last_layer_depth(x).float()[..., : out_size_px[0], : out_size_px[1]]
        return logits.sigmoid() * self.max_depth_m


def check_levels(spec: FeatureSpec, widths: Iterable[int], coarsest_px: int) -> None:
    """ConfigError unless the finest level is no coarser than the map that all are fused in, each level's stride is that
    map's halved or doubled, and `widths` can be normalised in groups.

    Args:
        coarsest_px: stride of that map, a power of two.
    """
    strides, widths = [level.stride for level in spec.levels], list(widths)
    if not strides or min(strides) > coarsest_px or any(stride < 1 or stride & (stride - 1) for stride in strides):
        raise ConfigError(
            f"depth head: the backbone's levels have strides {strides}, expected powers of two, of which the finest is "
            f"{coarsest_px} at most. Name a backbone that has such (backbone), or another head (model.head.name)."
        )
    if any(width % GROUPS for width in widths):
        raise ConfigError(
            f"depth head: the normalised widths {widths} (of the fused map and of finer levels) must be multiples "
            f"of {GROUPS}, the groups of their norms."
        )


def draw_weights(part: nn.Module, std: float, kinds: type[nn.Module] | tuple[type[nn.Module], ...]) -> None:
    """Weights of the convolutions normal, biases 0; norms start as torch makes them, at 1 and 0.

    Where the published code truncates a normal it does so at 2, a hundred standard deviations out.
    """
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and isinstance(layer, kinds):
            nn.init.normal_(layer.weight, std=std)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
