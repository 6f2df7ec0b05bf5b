"""The network of `sdxl_text`: two CLIP text models, states joined, each token carrying the second one's pooled text.

States are those before the last layer, without the final norm, of 77 tokens at most; pooled is the projected state at
the end of the text (diffusers' StableDiffusionXLPipeline). Both tokenizers have the same words and pad differently, so
that one row of ids stands for both.
"""

from __future__ import annotations

import numpy as np
import torch

from pipeline.encoders._words.joined import JoinedText, carrying
from pipeline.encoders._words.parts import ClipWords
from pipeline.encoders.clip_text.facts import check_length
from shards.errors import ConfigError

NAME = "sdxl_text"


class SdxlText(JoinedText):
    """A `pipeline.encoders.TextEncoder`: a token is `[states of the first; states of the second; pooled]`."""

    def __init__(self, first: ClipWords, second: ClipWords, *, length: int, dtype: str, device: str) -> None:
        width = sum(part.model.config.hidden_size for part in (first, second)) + second.model.config.projection_dim
        parts = {"text_encoder": first, "text_encoder_2": second}
        super().__init__(NAME, parts, length, width, dtype, device)
        self._first, self._second = first, second

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        return self._first.ids(sentences, self.length)

    def cut(self, sentences: list[str]) -> int:
        return self._first.longer(sentences, self.length)

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        first, _ = self._first(ids)
        second, pooled = self._second(self._second.repadded(ids))
        return carrying(torch.cat([first, second], dim=-1), pooled)  # [S, L, W]

    def class_rows(self, ids: torch.Tensor) -> torch.Tensor:
        """The token at the end of each text: attention is causal, so it does not depend on what follows."""
        return self.rows(ids)[torch.arange(len(ids)), self._first.ends(ids)]


def load(model: str, revision: str | None, *, length: int, dtype: str, device: str) -> SdxlText:
    """The encoder; arguments as of `sdxl_text.build`. Raises ConfigError."""
    first = ClipWords(NAME, model, revision, "", projected=False)
    second = ClipWords(NAME, model, revision, "_2", projected=True)
    check_length(length, min(int(part.model.config.max_position_embeddings) for part in (first, second)), NAME)
    if first.tokenizer.get_vocab() != second.tokenizer.get_vocab():
        raise ConfigError(
            f"{NAME}: tokenizer and tokenizer_2 of {model!r} have other words, and are not those of one SDXL model"
        )
    return SdxlText(first, second, length=length, dtype=dtype, device=device)
