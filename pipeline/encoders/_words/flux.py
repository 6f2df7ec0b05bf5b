"""The network of `flux_text`: T5's last states, each token carrying CLIP's pooled text.

Padding counts as words do, as in diffusers' FluxPipeline. A token's id holds both tokenizers': T5's, times 2^16, and
CLIP's, of which no text has more than 77.
"""

from __future__ import annotations

import numpy as np
import torch

from pipeline.encoders._words.facts import check_share, flux_clip_tokens
from pipeline.encoders._words.joined import JoinedText, carrying
from pipeline.encoders._words.parts import ClipWords, T5Words
from shards.errors import ConfigError

NAME = "flux_text"
BITS = 16  # of CLIP's id; T5's are the 15 above, since ids are int32


class FluxText(JoinedText):
    """A `pipeline.encoders.TextEncoder`: a token is `[state; pooled]`."""

    def __init__(self, clip: ClipWords, words: T5Words, *, length: int, dtype: str, device: str) -> None:
        width = words.model.config.d_model + clip.model.config.hidden_size
        super().__init__(NAME, {"text_encoder": clip, "text_encoder_2": words}, length, width, dtype, device)
        self._clip, self._words = clip, words
        self._of_clip = flux_clip_tokens(length)

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        ids = self._words.ids(sentences, self.length) << BITS
        ids[:, : self._of_clip] |= self._clip.ids(sentences, self._of_clip)
        return ids

    def cut(self, sentences: list[str]) -> int:
        return self._words.longer(sentences, self.length)

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        return carrying(self._words(ids >> BITS), self._pooled(ids))  # [S, L, W]

    def class_rows(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.cat([self._words.summary(ids >> BITS), self._pooled(ids).float()], dim=-1)

    def _pooled(self, ids: torch.Tensor) -> torch.Tensor:
        return self._clip(ids[:, : self._of_clip] & (1 << BITS) - 1)[1]


def load(model: str, revision: str | None, *, length: int, dtype: str, device: str) -> FluxText:
    """The encoder; arguments as of `flux_text.build`. Raises ConfigError."""
    clip = ClipWords(NAME, model, revision, "", projected=False)
    positions = clip.model.config.max_position_embeddings
    check_share(NAME, flux_clip_tokens(length), positions, f"text_encoder of {model!r}")
    words = T5Words(NAME, model, revision, "_2")
    sizes = len(clip.tokenizer), len(words.tokenizer)
    if sizes[0] > 1 << BITS or sizes[1] > 1 << 31 - BITS:
        raise ConfigError(f"{NAME}: the tokenizers of {model!r} know {sizes} words, more than 65536 and 32768")
    return FluxText(clip, words, length=length, dtype=dtype, device=device)
