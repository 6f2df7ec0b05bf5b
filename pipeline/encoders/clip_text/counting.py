"""Which sentences `clip_text` would cut, counted with the tokenizer alone: no weights, no torch, no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from shards.errors import ConfigError
from shards.models.parts import part_at_hand


def local_counter(model: str, revision: str | None, length: int) -> Callable[[Sequence[str]], int] | None:
    """How many of some sentences have more than `length` tokens, start and end among them; None if the tokenizer of
    `model` is not on this machine."""
    from transformers import CLIPTokenizer

    try:
        part = part_at_hand("clip_text", model, "tokenizer", revision)
        tokenizer = None if part is None else part.load(CLIPTokenizer.from_pretrained)
    except ConfigError:  # building the encoder says why
        return None
    if tokenizer is None:
        return None
    backend = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return partial(_longer, backend, length)


def _longer(tokenizer: Any, length: int, sentences: Sequence[str]) -> int:
    return sum(len(encoding.ids) > length for encoding in tokenizer.encode_batch(list(sentences)))
