"""What a backbone promises: a pyramid of feature maps, and a description of it that heads are built from.

Owns the types between a backbone and the heads. A backbone is one module of this package that exposes
`build(**options) -> Backbone`; heads and tasks see the `FeatureSpec` only, never the network behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

LATENT_STRIDE_PX = 8  # image pixels per latent pixel of the Stable Diffusion VAE


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    Attributes:
        name: `f1` is the finest.
        channels: feature channels, without the maps.
        stride: image pixels per feature pixel, along each side.
        map_tokens: cross-attention map channels that follow the features (one per context token); 0 = no maps.
    """

    name: str
    channels: int
    stride: int
    map_tokens: int = 0

    @property
    def width(self) -> int:
        """Channels of the tensor a head receives: features, then maps."""
        return self.channels + self.map_tokens


@dataclass(frozen=True)
class FeatureSpec:
    """The levels of a backbone's output, finest first.

    Attributes:
        levels: of the pyramid.
        tokens: context tokens that the features were made with.
        context_width: channels of a token; with `tokens`, for heads that compare features with the context.
    """

    levels: tuple[Level, ...]
    tokens: int = 0
    context_width: int = 0

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each output tensor, finest first."""
        return tuple(level.width for level in self.levels)


class Backbone(Protocol):
    """A network from latents and context tokens to features. Implementations are `nn.Module`s."""

    @property
    def context_width(self) -> int:
        """Channels of a context token."""
        ...

    def spec(self, tokens: int) -> FeatureSpec:
        """The output for a context of `tokens` tokens."""
        ...

    def compile_blocks(self) -> None:
        """Compile the repeated blocks in place."""
        ...

    def expect_one_token(self) -> None:
        """Promise that every context has one token, so that what this leaves without effect can be frozen."""
        ...

    @property
    def time_width(self) -> int:
        """Channels of the time embedding."""
        ...

    def check_passes(self, passes: int | None) -> None:
        """ConfigError unless the backbone was built for learned time embeddings and this number of passes, or, with
        None, for one pass at a fixed time."""
        ...

    def next_latents(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """The input `[B, 4, h, w]` of the next pass, from the features of this one."""
        ...

    def __call__(
        self, latents: torch.Tensor, context: torch.Tensor, time: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """Features, finest first: `[B, level.width, h / 2^i, w / 2^i]`, maps after the features of their level.

        Args:
            latents: `[B, 4, h, w]`.
            context: `[B, T, context_width]`, or `[1, T, context_width]` for one that all samples share.
            time: `[1, time_width]`, a learned time embedding, for a backbone built without a fixed time.
        """
        ...
