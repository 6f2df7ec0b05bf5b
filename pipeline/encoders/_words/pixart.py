"""The network of `pixart_text`: T5's last states, each token marked as a word (1) or padding (0).

Texts are lower case without spaces at their ends, and padding is masked inside T5, as diffusers' PixArtSigmaPipeline
does; the mark lets the backbone mask it, too.
"""

from __future__ import annotations

import numpy as np
import torch

from pipeline.encoders._words.joined import JoinedText, carrying
from pipeline.encoders._words.parts import T5Words

NAME = "pixart_text"


class PixArtText(JoinedText):
    """A `pipeline.encoders.TextEncoder`: a token is `[state; mark]`."""

    def __init__(self, words: T5Words, *, length: int, dtype: str, device: str) -> None:
        super().__init__(NAME, {"text_encoder": words}, length, words.model.config.d_model + 1, dtype, device)
        self._words = words

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        return self._words.ids([_plain(text) for text in sentences], self.length)

    def cut(self, sentences: list[str]) -> int:
        return self._words.longer([_plain(text) for text in sentences], self.length)

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        mark = self._words.are_words(ids)
        return carrying(self._words(ids, mark.to(self._words.model.dtype)), mark[..., None])  # [S, L, D + 1]

    def class_rows(self, ids: torch.Tensor) -> torch.Tensor:
        states = self._words.summary(ids)  # [S, D]
        return torch.cat([states, torch.ones_like(states[:, :1])], dim=-1)


def _plain(text: str) -> str:
    return text.lower().strip()


def load(model: str, revision: str | None, *, length: int, dtype: str, device: str) -> PixArtText:
    """The encoder; arguments as of `pixart_text.build`. Raises ConfigError."""
    return PixArtText(T5Words(NAME, model, revision, ""), length=length, dtype=dtype, device=device)
