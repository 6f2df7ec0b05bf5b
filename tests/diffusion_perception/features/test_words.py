"""Which tokens are a word's, by the marks of CLIP and of T5."""

from __future__ import annotations

import pytest
import torch

from diffusion_perception.features.seen import FeatureMap, Seen
from vpd.features.attention import AttentionMaps

CLIP = ("<|startoftext|>", "a</w>", "big</w>", "dog</w>", "dog", "house</w>", "dog</w>", "<|endoftext|>")
T5 = ("\u2581a", "\u2581big", "\u2581dog", "\u2581dog", "house", "\u2581dog", "</s>")


def seen(words: tuple[str, ...]) -> Seen:
    """Of a picture where token k has the probability k everywhere."""
    maps = torch.arange(len(words)).float().expand(1, 2, 4, 4, -1)  # [N, H, h, w, T]
    return Seen({"mid": FeatureMap(maps, (8, 8))}, torch.zeros(1, 4, 4, 4), AttentionMaps({"mid": maps}), (words,))


@pytest.mark.parametrize(
    ("words", "word", "places"),
    [
        *((CLIP, "dog", [3, 6]), (CLIP, "doghouse", [4, 5]), (CLIP, "Big", [2]), (CLIP, "a", [1])),
        *((T5, "dog", [2, 5]), (T5, "doghouse", [3, 4]), (T5, "a", [0])),
    ],
)
def test_a_word_is_its_tokens_and_no_part_of_another(words: tuple[str, ...], word: str, places: list[int]) -> None:
    heat = seen(words).heat_of(word)
    assert heat.shape == (4, 4)
    torch.testing.assert_close(heat, torch.full((4, 4), sum(places) / len(places)))
