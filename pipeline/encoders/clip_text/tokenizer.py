"""CLIP's tokenizer: that of a model, its digest for the recipe, and writing one beside a text encoder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from transformers import CLIPTokenizer

from pipeline.encoders._loading import load_part


def load_tokenizer(model: str, revision: str | None = None) -> CLIPTokenizer:
    """The tokenizer of a model (as in `clip_text.build`). Raises ConfigError."""
    return load_part("clip_text", model, "tokenizer", CLIPTokenizer.from_pretrained, revision)


def save_tokenizer(model: str, folder: Path, revision: str | None = None) -> None:
    """Write the tokenizer of a model into a folder, for a text encoder that came without one. Raises ConfigError."""
    load_tokenizer(model, revision).save_pretrained(folder)


def tokenizer_sha256(tokenizer: CLIPTokenizer) -> str:
    """Digest of what decides the ids: vocabulary, merges and special tokens, read from the loaded tokenizer, because
    the same tokenizer is stored as vocab.json + merges.txt in one place and as tokenizer.json in another."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    special = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.pad_token]
    content = json.dumps([sorted(tokenizer.get_vocab().items()), merges, special], ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()
