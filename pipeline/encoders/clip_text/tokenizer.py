"""CLIP's tokenizer: that of a model, its digest for the recipe, and writing one beside a text encoder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

from pipeline.encoders._loading import load_part

# What CLIP's own tokenizer does to a text before its merges, and to ids after them, as `tokenizers` spells it.
_NORMAL = [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}, {"type": "Lowercase"}]
_MARKS = r"<\|startoftext\|>|<\|endoftext\|>|"  # some versions of transformers name them among the words, to no effect
_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
_PLAIN = {"single_word": False, "lstrip": False, "rstrip": False}
_PARTS = ("normalizer", "pre_tokenizer", "post_processor")


def load_tokenizer(model: str, revision: str | None = None) -> CLIPTokenizer:
    """The tokenizer of a model (as in `clip_text.build`). Raises ConfigError."""
    return load_part("clip_text", model, "tokenizer", CLIPTokenizer.from_pretrained, revision)


def save_tokenizer(model: str, folder: Path, revision: str | None = None) -> None:
    """Write the tokenizer of a model into a folder, for a text encoder that came without one. Raises ConfigError."""
    load_tokenizer(model, revision).save_pretrained(folder)


def unusual_rules(tokenizer: CLIPTokenizer) -> str:
    """Digest of how a text is normalised, cut into words and wrapped, where that is not as CLIP's own tokenizer does it
    (folded white space, lower case, its words, start and end); else nothing, as of all sets before anybody looked."""
    text = tokenizer.backend_tokenizer.to_str().replace(json.dumps(_MARKS)[1:-1], "")
    backend = json.loads(text)
    found = {name: backend[name] for name in _PARTS}
    found["added"] = [{k: one[k] for k in ("id", "content", *_PLAIN)} for one in backend["added_tokens"]]
    if found == _usual(tokenizer):
        return ""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def _usual(tokenizer: CLIPTokenizer) -> dict[str, Any]:
    ends = {name: [token, tokenizer.convert_tokens_to_ids(token)] for name, token in _ends(tokenizer)}
    split = {"type": "Split", "pattern": {"Regex": _WORDS}, "behavior": "Removed", "invert": True}
    levels = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "normalizer": {"type": "Sequence", "normalizers": _NORMAL},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, levels]},
        "post_processor": {"type": "RobertaProcessing", **ends, "trim_offsets": False, "add_prefix_space": False},
        "added": sorted(
            ({"id": number, "content": token, **_PLAIN} for token, number in ends.values()), key=lambda one: one["id"]
        ),
    }


def _ends(tokenizer: CLIPTokenizer) -> tuple[tuple[str, Any], ...]:
    return ("sep", tokenizer.eos_token), ("cls", tokenizer.bos_token)


def tokenizer_sha256(tokenizer: CLIPTokenizer) -> str:
    """Digest of what decides the ids: vocabulary, merges and special tokens, read from the loaded tokenizer, because
    the same tokenizer is stored as vocab.json + merges.txt in one place and as tokenizer.json in another."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    special = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.pad_token]
    content = json.dumps([sorted(tokenizer.get_vocab().items()), merges, special], ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()
