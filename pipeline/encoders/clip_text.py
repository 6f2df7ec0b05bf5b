"""CLIP's text model: sentences -> token ids -> last hidden states, as the published refer pipeline feeds the UNet.

Sentences are tokenised raw, without a template, cut and padded to L tokens; the states of all L positions are kept
after the final layer norm, and the attention mask is never used: padding is real context for cross-attention
(docs/methods/vpd.md#sentences). Class prompts take one pooled state instead (docs/methods/vpd.md#room-prompts).

Shapes: S sentences, L tokens each, D numbers per token.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from pipeline.encoders._arithmetic import float32_arithmetic
from pipeline.encoders._loading import check_device, load_part, weights_sha256
from shards.errors import ConfigError

_DTYPES = {"float32": torch.float32, "float16": torch.float16}


class ClipText:
    """A `pipeline.encoders.TextEncoder`."""

    def __init__(
        self, tokenizer: CLIPTokenizer, model: CLIPTextModel, *, length: int, dtype: str, device: torch.device
    ) -> None:
        self._tokenizer = tokenizer
        # transformers 5 dropped the prefix; without it a digest does not depend on the library's version.
        named = [(name.removeprefix("text_model."), value) for name, value in model.named_parameters()]
        self.length = length
        self.width = int(model.config.hidden_size)
        self.fingerprint: dict[str, Any] = {
            "encoder": "clip_text",
            "weights": weights_sha256(named),
            "layout": {
                name: getattr(model.config, name) for name in ("hidden_act", "num_attention_heads", "layer_norm_eps")
            },
            "tokenizer": _tokenizer_sha256(tokenizer),
            "length": length,
            "dtype": dtype,
        }
        self._device = device
        module = cast(nn.Module, model)  # the decorator on transformers' own `to` hides its arguments from pyright
        self._model = module.to(self._device, _DTYPES[dtype]).eval().requires_grad_(False)

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        if not sentences:
            return np.empty((0, self.length), np.int32)
        tokens = self._tokenizer(
            sentences, padding="max_length", truncation=True, max_length=self.length, return_tensors="np"
        )
        return np.asarray(tokens["input_ids"], np.int32)  # [S, L]

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids int32 [S, L] -> last hidden states float32 [S, L, D], padding positions included."""
        return self._states(tokens).float().cpu().numpy()

    def encode_to_store(self, tokens: np.ndarray) -> np.ndarray:
        """The same states as float16 [S, L, D]."""
        return self._states(tokens).half().cpu().numpy()

    def encode_pooled(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids int32 [S, L] -> float32 [S, D]: the state at a sentence's first end-of-text token, unprojected.

        Attention is causal, so it does not depend on what follows, and so not on L.
        """
        ends = (tokens == self._tokenizer.eos_token_id).argmax(axis=1)  # [S]; tokenize always leaves one
        states = self._states(tokens)
        return states[torch.arange(len(tokens)), torch.from_numpy(ends)].float().cpu().numpy()

    @torch.inference_mode()
    def _states(self, tokens: np.ndarray) -> torch.Tensor:
        ids = torch.from_numpy(tokens).to(self._device, torch.long)  # [S, L]
        with float32_arithmetic(tf32=False):
            return self._model(input_ids=ids).last_hidden_state  # [S, L, D]


def build(
    model: str,
    revision: str | None = None,
    length: int = 40,
    dtype: str = "float32",
    device: str = "cpu",
) -> ClipText:
    """`model`: hub id (with `revision`), diffusers folder, or a folder or hub id that is itself text model and
    tokenizer. `length`: tokens per sentence; published values are 40 for RefCOCO and RefCOCO+, 77 for RefCOCOg.
    Raises ConfigError."""
    if dtype not in _DTYPES:
        raise ConfigError(f"clip_text: dtype is {dtype!r}, expected float32 or float16")
    target = check_device("clip_text", device)
    tokenizer = load_part(
        "clip_text tokenizer", _tokenizer_home(model), "tokenizer", CLIPTokenizer.from_pretrained, revision=revision
    )
    text_model, report = load_part(
        "clip_text",
        model,
        "text_encoder",
        CLIPTextModel.from_pretrained,
        revision=revision,
        dtype=torch.float32,
        use_safetensors=True,
        output_loading_info=True,
    )
    absent = sorted(report["missing_keys"])
    if absent:
        raise ConfigError(
            f"clip_text: {model!r} lacks {len(absent)} text model weights, such as {absent[0]}; expected a "
            "CLIPTextModel. Point at the text encoder of a Stable Diffusion model, or at a CLIP model"
        )
    positions = int(text_model.config.max_position_embeddings)
    if not 3 <= length <= positions:
        raise ConfigError(f"clip_text: length is {length} tokens, expected 3 to {positions}, the model's positions")
    if len(tokenizer) > text_model.config.vocab_size:
        raise ConfigError(
            f"clip_text: the tokenizer of {model!r} knows {len(tokenizer)} tokens, its text model "
            f"{text_model.config.vocab_size}; they do not belong together"
        )
    return ClipText(tokenizer, text_model, length=length, dtype=dtype, device=target)


def save_tokenizer(model: str, folder: Path, revision: str | None = None) -> None:
    """Write the tokenizer of a model (as in `build`) into a folder, for a text encoder that came without one.
    Raises ConfigError."""
    tokenizer = load_part(
        "clip_text tokenizer", _tokenizer_home(model), "tokenizer", CLIPTokenizer.from_pretrained, revision=revision
    )
    tokenizer.save_pretrained(folder)


def _tokenizer_home(model: str) -> str:
    """`model`, unless that is the text_encoder folder of a diffusers folder: its tokenizer then lies beside it."""
    folder = Path(model).expanduser()
    beside = folder.parent / "tokenizer"
    alone = folder.is_dir() and not (folder / "tokenizer").is_dir() and not list(folder.glob("tokenizer*.json"))
    return str(folder.parent) if alone and beside.is_dir() else model


def _tokenizer_sha256(tokenizer: CLIPTokenizer) -> str:
    """Digest of what decides the ids: vocabulary, merges and special tokens, read from the loaded tokenizer, because
    the same tokenizer is stored as vocab.json + merges.txt in one place and as tokenizer.json in another."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]
    special = [tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token, tokenizer.pad_token]
    content = json.dumps([sorted(tokenizer.get_vocab().items()), merges, special], ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()
