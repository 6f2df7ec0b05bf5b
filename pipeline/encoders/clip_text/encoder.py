"""The network of `clip_text`: sentences -> token ids -> last hidden states, as published refer training feeds the UNet.

Sentences are tokenised raw, without a template, cut and padded to L tokens; the states of all L positions are kept
after the final layer norm, and the attention mask is never used: padding is real context for cross-attention
(docs/methods/vpd.md#sentences). Class prompts take one pooled state instead (docs/methods/vpd.md#room-prompts).

Shapes: S sentences, L tokens each, D numbers per token.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import nn
from transformers import CLIPTextModel, CLIPTokenizer

from pipeline.encoders._arithmetic import float32_arithmetic
from pipeline.encoders._compiling import Compiled
from pipeline.encoders._loading import check_device, exact_facts, load_part, weights_sha256
from pipeline.encoders.clip_text.facts import check_length
from pipeline.encoders.clip_text.tokenizer import load_tokenizer, tokenizer_sha256, unusual_rules
from shards.errors import ConfigError

_DTYPES = {"float32": torch.float32, "float16": torch.float16}


class ClipText:
    """A `pipeline.encoders.TextEncoder`."""

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        model: CLIPTextModel,
        *,
        length: int,
        dtype: str,
        device: torch.device,
        compiled: bool = False,
    ) -> None:
        self._tokenizer = tokenizer
        # A copy: cutting and padding are a state of the tokenizer, which several threads use.
        self._counter = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
        self._counter.no_truncation()
        self._counter.no_padding()
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
            "tokenizer": tokenizer_sha256(tokenizer),
            "length": length,
            "dtype": dtype,
            **({"compiled": True} if compiled else {}),  # sets of before keep their fingerprint
        }
        if rules := unusual_rules(tokenizer):  # those of CLIP itself were never said, and still are not
            self.fingerprint["tokenizer_rules"] = rules
        self.exact = exact_facts(device)
        self._device = device
        module = cast(nn.Module, model)  # the decorator on transformers' own `to` hides its arguments from pyright
        self._model = module.to(self._device, _DTYPES[dtype]).eval().requires_grad_(False)
        last = _LastStates(self._model)
        self._run = Compiled(last) if compiled else last

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        if not sentences:
            return np.empty((0, self.length), np.int32)
        tokens = self._tokenizer(
            sentences, padding="max_length", truncation=True, max_length=self.length, return_tensors="np"
        )
        return np.asarray(tokens["input_ids"], np.int32)  # [S, L]

    def cut(self, sentences: list[str]) -> int:
        return sum(len(encoding.ids) > self.length for encoding in self._counter.encode_batch(sentences))

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

    @torch.no_grad()  # not inference mode, whose tensors no training takes
    def states(self, tokens: torch.Tensor) -> torch.Tensor:
        """The states float32 [S, L, D] of token ids [S, L], on this encoder's device; nothing waits for it."""
        with float32_arithmetic(tf32=False):
            return self._model(input_ids=tokens.to(self._device, torch.long)).last_hidden_state.float()

    @torch.inference_mode()
    def _states(self, tokens: np.ndarray) -> torch.Tensor:
        ids = torch.from_numpy(tokens).to(self._device, torch.long)  # [S, L]
        with float32_arithmetic(tf32=False):
            return self._run(ids)  # [S, L, D]


class _LastStates(nn.Module):
    """Token ids int64 [S, L] -> last hidden states [S, L, D]."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(input_ids=ids).last_hidden_state


def load(model: str, revision: str | None, *, length: int, dtype: str, device: str, compiled: bool) -> ClipText:
    """The encoder; arguments as of `clip_text.build`. Raises ConfigError."""
    target = check_device("clip_text", device)
    tokenizer = load_tokenizer(model, revision)
    text_model, report = load_part(
        "clip_text",
        model,
        "text_encoder",
        CLIPTextModel.from_pretrained,
        revision,
        dtype=torch.float32,
        output_loading_info=True,
    )
    absent = sorted(report["missing_keys"])
    if absent:
        raise ConfigError(
            f"clip_text: {model!r} lacks {len(absent)} text model weights, such as {absent[0]}; expected a "
            "CLIPTextModel. Point at the text encoder of a Stable Diffusion model, or at a CLIP model"
        )
    check_length(length, int(text_model.config.max_position_embeddings))
    if len(tokenizer) > text_model.config.vocab_size:
        raise ConfigError(
            f"clip_text: the tokenizer of {model!r} knows {len(tokenizer)} tokens, its text model "
            f"{text_model.config.vocab_size}; they do not belong together"
        )
    return ClipText(tokenizer, text_model, length=length, dtype=dtype, device=target, compiled=compiled)
