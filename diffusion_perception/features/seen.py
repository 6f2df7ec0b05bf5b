"""What a model saw in some pictures of one size: maps of layers, and where it looked for which word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shards.errors import ConfigError

if TYPE_CHECKING:
    import torch

    from vpd.features.attention import AttentionMaps


@dataclass(frozen=True)
class FeatureMap:
    """What a layer gave.

    Attributes:
        values: `[B, C, h, w]`, float32, on the model's device.
        stride_px: pixels of the picture per row and per column of `values`.
    """

    values: torch.Tensor
    stride_px: tuple[float, float]


@dataclass(frozen=True)
class Seen(Mapping[str, FeatureMap]):
    """The features of some pictures of one size, by layer.

    Attributes:
        maps: by the name of the layer.
        latents: what they were computed from, `[B, C, h, w]` before noise, as the network takes them.
        attention: probabilities of the cross- or self-attention layers, the mean over an ensemble; None: not asked for.
        words: the tokens that `attention` is over, for each picture; empty for self-attention.
    """

    maps: dict[str, FeatureMap]
    latents: torch.Tensor
    attention: AttentionMaps | None = None
    words: tuple[tuple[str, ...], ...] = ()

    def __getitem__(self, layer: str) -> FeatureMap:
        return self.maps[layer]

    def __iter__(self) -> Iterator[str]:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)

    def heat_of(self, word: str, picture: int = 0, size: tuple[int, int] | None = None) -> torch.Tensor:
        """Where a model looks for a word of a picture's prompt: `[*size]`, the mean over the word's tokens.

        Args:
            size: rows and columns; those of the latents.

        Raises:
            ConfigError: no cross-attention was asked for, or no such word in the prompt.
        """
        if self.attention is None or not self.words:
            raise ConfigError("no attention over words was kept: ask for attention='cross'.")
        tokens = _tokens_of(word, self.words[picture])
        if not tokens:
            raise ConfigError(f"{word!r} is no word of the prompt, whose tokens are {list(self.words[picture])}.")
        heat = self.attention.heat(size or (self.latents.shape[-2], self.latents.shape[-1]))  # [B, T, *size]
        return heat[picture, tokens].mean(0)


def _tokens_of(word: str, tokens: Sequence[str]) -> list[int]:
    """The places of a word's tokens: byte pairs, the last of which ends with `</w>`, wherever they spell the word."""
    plain = [token.replace("</w>", "") for token in tokens]
    places: list[int] = []
    for first in range(len(plain)):
        spelt = ""
        for last in range(first, len(plain)):
            spelt += plain[last]
            if spelt == word.lower() and tokens[last].endswith("</w>"):
                places += range(first, last + 1)
            if not word.lower().startswith(spelt):
                break
    return places
