"""What a backbone promises: a pyramid of feature maps, and facts about it that hold before it is built.

Owns the types between a backbone, its data and the heads. A backbone is one module or folder of this package. It
exposes `build(**options) -> Backbone`, and `describe(**options) -> BackboneFacts` with the same options, which reads no
weights: which frozen encoders belong to it, which latents and context it reads, which levels it gives. Heads and tasks
see the `FeatureSpec` only, never the network behind it. One that can be saved as a model folder also has
`read_config(model, revision)`, plain data that describes the network, and `from_config(config, **options)`, which
builds it from that with random weights; with `BackboneFacts.config` a run is assembled so before it starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch


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


@dataclass(frozen=True)
class LatentLayout:
    """The latents a backbone reads.

    Attributes:
        channels: of a latent.
        stride_px: image pixels per latent pixel, along each side.
        scale, shift: what the family was trained on is (raw - shift) * scale. Shards hold the raw latents; what a
            method makes of them is `model.latent_scale`.
    """

    channels: int
    stride_px: int
    scale: float = 1.0
    shift: float = 0.0

    def size_px(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) in pixels of what a latent of this size shows."""
        return height * self.stride_px, width * self.stride_px


@dataclass(frozen=True)
class Companions:
    """The frozen encoders of a backbone's own model, as names of plug-ins of the build side.

    Attributes:
        image: makes its latents.
        text: makes its context; empty for a backbone without text.
    """

    image: str
    text: str = ""

    def named(self, kind: str) -> str:
        """The encoder of a kind, `image` or `text`.

        Raises:
            ConfigError: there is no text encoder.
        """
        name = {"image": self.image, "text": self.text}[kind]
        if not name:
            raise ConfigError(f"the backbone names no {kind} encoder: set encoders.{kind}={{name: ..., ...}}.")
        return name


@dataclass(frozen=True)
class BackboneFacts:
    """A backbone before its weights are read.

    Attributes:
        companions: its encoders.
        latents: what it reads.
        context_width: channels of a context token.
        levels: what it gives, finest first, without maps.
        carried_width: channels at the end of a context token that are no text state, which nothing adapts: what else a
            family is told of a text (`pipeline.encoders.TextFacts.carried_width`).
        assumed: for facts that nothing at hand says: which were assumed, and why; empty for facts that were read.
        config: what the module's `from_config` makes a network of this size from; empty where it has no such function.
    """

    companions: Companions
    latents: LatentLayout
    context_width: int
    levels: tuple[Level, ...]
    assumed: str = ""
    config: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)
    carried_width: int = 0

    def spec(self, tokens: int, maps: Mapping[str, int] | None = None) -> FeatureSpec:
        """The output for a context of `tokens` tokens; `maps`: channels of attention maps by the level's name."""
        maps = maps or {}
        levels = tuple(replace(level, map_tokens=maps.get(level.name, 0)) for level in self.levels)
        return FeatureSpec(levels, tokens, self.context_width)


class Backbone(Protocol):
    """A network from latents and context tokens to features: an `nn.Module` that derives from this, too. What it does
    not say it inherits: one pass at a fixed time, no maps, nothing to freeze or to compile."""

    facts: BackboneFacts

    @property
    def context_width(self) -> int:
        """Channels of a context token."""
        return self.facts.context_width

    def spec(self, tokens: int) -> FeatureSpec:
        """The output for a context of `tokens` tokens."""
        return self.facts.spec(tokens)

    def compile_blocks(self) -> None:
        """Compile the repeated blocks in place."""
        raise ConfigError(f"backbone {type(self).__name__} has no blocks to compile: set loop.compile=false.")

    def expect_one_token(self) -> None:
        """Promise that every context has one token, so that what this leaves without effect can be frozen."""

    @property
    def time_width(self) -> int:
        """Channels of a learned time embedding; 0 for a backbone that takes none."""
        return 0

    def check_passes(self, passes: int | None) -> None:
        """ConfigError unless the backbone was built for learned time embeddings and this number of passes, or, with
        None, for one pass at a fixed time."""
        if passes is not None:
            raise ConfigError(
                f"backbone {type(self).__name__} takes no learned times and passes: set model.prompts.count=0."
            )

    def next_latents(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """The input `[B, C, h, w]` of the next pass, from the features of this one; for more than one pass only."""
        raise ConfigError(f"backbone {type(self).__name__} makes one pass: set model.prompts.passes=1.")

    def __call__(
        self, latents: torch.Tensor, context: torch.Tensor, time: torch.Tensor | None = None
    ) -> list[torch.Tensor]:
        """Features, finest first: `[B, level.width, h / 2^i, w / 2^i]`, maps after the features of their level.

        Args:
            latents: `[B, C, h, w]`, as `facts.latents` says.
            context: `[B, T, context_width]`, or `[1, T, context_width]` for one that all samples share.
            time: `[1, time_width]`, a learned time embedding, for a backbone built without a fixed time.
        """
        ...
