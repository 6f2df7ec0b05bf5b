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
        size = size or (self.latents.shape[-2], self.latents.shape[-1])
        return self.attention.heat(size, tokens=tokens)[picture].mean(0)


def _tokens_of(word: str, tokens: Sequence[str]) -> list[int]:
    """The places of a word's tokens, wherever they spell it from its beginning to its end: CLIP marks the last piece of
    a word (`</w>`), T5 the first (`\u2581`). CLIP's mark of the beginning (`<|startoftext|>`) is no part of a word."""
    plain = [token.removesuffix("</w>").removeprefix("\u2581").lower() for token in tokens]
    ends = [
        token.endswith(("</w>", "|>")) or following.startswith(("\u2581", "<"))
        for token, following in zip(tokens, [*tokens[1:], "<"], strict=True)
    ]
    starts = [True, *ends[:-1]]
    places: list[int] = []
    for first in (place for place, begins in enumerate(starts) if begins):
        last = next(place for place in range(first, len(tokens)) if ends[place] or place == len(tokens) - 1)
        if "".join(plain[first : last + 1]) == word.lower():
            places += range(first, last + 1)
    return places
