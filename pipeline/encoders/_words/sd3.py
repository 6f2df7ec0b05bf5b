"""The network of `sd3_text`: two CLIP text models and T5, one behind the other; tokens carry both pooled texts.

A text's row is CLIP's tokens, then T5's, as diffusers' StableDiffusion3Pipeline joins them: of `length` tokens CLIP
gets a half, 77 at most, and T5 the rest, so that 333 is the family's own 77 + 256. States of the CLIPs are joined and
filled up with zeros; of a model without T5 those of T5's tokens are zeros.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from pipeline.encoders._configs import number
from pipeline.encoders._words.facts import check_share, check_widths, has_t5, sd3_clip_tokens
from pipeline.encoders._words.joined import JoinedText, carrying
from pipeline.encoders._words.parts import ClipWords, T5Words
from shards.models.parts import find_part

NAME = "sd3_text"


class Sd3Text(JoinedText):
    """A `pipeline.encoders.TextEncoder`: a token is `[state; pooled of the first CLIP; pooled of the second]`."""

    def __init__(
        self,
        clips: tuple[ClipWords, ClipWords],
        words: T5Words | None,
        width: int,
        *,
        length: int,
        dtype: str,
        device: str,
    ) -> None:
        pooled = sum(clip.model.config.projection_dim for clip in clips)
        parts = {"text_encoder": clips[0], "text_encoder_2": clips[1]} | ({"text_encoder_3": words} if words else {})
        super().__init__(NAME, parts, length, width + pooled, dtype, device)
        self._clips, self._words, self._states = clips, words, width
        self._of_clip = sd3_clip_tokens(NAME, length)

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        """CLIP's ids, then T5's, int32 [S, L]."""
        of_words = self.length - self._of_clip
        words = self._words.ids(sentences, of_words) if self._words else np.zeros((len(sentences), of_words), np.int32)
        return np.concatenate([self._clips[0].ids(sentences, self._of_clip), words], axis=1)

    def cut(self, sentences: list[str]) -> int:
        """Cut for the one that reads the longest: T5, where there is one."""
        if self._words:
            return self._words.longer(sentences, self.length - self._of_clip)
        return self._clips[0].longer(sentences, self._of_clip)

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        clip, pooled = self._clip_rows(ids)
        rest = ids[:, self._of_clip :]
        words = self._words(rest) if self._words else clip.new_zeros(*rest.shape, self._states)
        return carrying(torch.cat([clip, words], dim=1), pooled)  # [S, L, W]

    def class_rows(self, ids: torch.Tensor) -> torch.Tensor:
        """The CLIPs' token at the end of each text: their attention is causal, so nothing that follows moves it."""
        clip, pooled = self._clip_rows(ids)
        ends = self._clips[0].ends(ids[:, : self._of_clip])
        return torch.cat([clip[torch.arange(len(ids)), ends], pooled], dim=-1)

    def _clip_rows(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """States [S, l, D] filled up with zeros, and pooled text [S, E], of both CLIPs."""
        first, second = self._clips
        found = first(ids[:, : self._of_clip]), second(second.repadded(ids[:, : self._of_clip]))
        states = torch.cat([states for states, _ in found], dim=-1)
        return F.pad(states, (0, self._states - states.shape[-1])), torch.cat([pooled for _, pooled in found], dim=-1)


def load(model: str, revision: str | None, *, length: int, dtype: str, device: str) -> Sd3Text:
    """The encoder; arguments as of `sd3_text.build`. Raises ConfigError."""
    of_clip = sd3_clip_tokens(NAME, length)
    clips = (
        ClipWords(NAME, model, revision, "", projected=True),
        ClipWords(NAME, model, revision, "_2", projected=True),
    )
    for part, clip in zip(("text_encoder", "text_encoder_2"), clips, strict=True):
        check_share(NAME, of_clip, clip.model.config.max_position_embeddings, f"{part} of {model!r}")
    transformer = find_part(NAME, model, "transformer", revision, weights=False).config()
    width = number(NAME, model, transformer, "joint_attention_dim")
    words = T5Words(NAME, model, revision, "_3") if has_t5(model) else None
    of_clips = sum(clip.model.config.hidden_size for clip in clips)
    check_widths(NAME, model, of_clips, words.model.config.d_model if words else None, width)
    return Sd3Text(clips, words, width, length=length, dtype=dtype, device=device)
