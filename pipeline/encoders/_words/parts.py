"""One text model with its tokenizer: CLIP, with its pooled text, or T5's encoder.

Owns loading one, complete or not at all, and its share of a fingerprint. How a family joins several is `joined`'s.

Shapes: S texts, L tokens each, D numbers per state, E of pooled text.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel

from pipeline.encoders._loading import load_part, weights_sha256
from pipeline.encoders.clip_text.tokenizer import tokenizer_sha256
from shards.errors import ConfigError

DTYPES = {"float32": torch.float32, "float16": torch.float16}


class ClipWords:
    """A CLIP text model: the state before its last layer, as later families read it, and one pooled vector a text.

    Args:
        who: the encoder it is loaded for, for messages.
        model, revision: as of the encoder's `build`.
        number: of the part among several: `""`, `"_2"`.
        projected: the pooled vector is the projected one.
    """

    def __init__(self, who: str, model: str, revision: str | None, number: str, *, projected: bool) -> None:
        self.tokenizer: Any = load_part(who, model, f"tokenizer{number}", CLIPTokenizer.from_pretrained, revision)
        kind = CLIPTextModelWithProjection if projected else CLIPTextModel
        self.model: Any = load_text_model(who, model, f"text_encoder{number}", kind, revision)
        self.projected = projected
        # transformers 5 dropped the prefix; without it a digest does not depend on the library's version.
        named = [(name.removeprefix("text_model."), value) for name, value in self.model.named_parameters()]
        config = self.model.config
        self.fingerprint = {
            "weights": weights_sha256(named),
            "layout": {name: getattr(config, name) for name in ("hidden_act", "num_attention_heads", "layer_norm_eps")},
            "tokenizer": tokenizer_sha256(self.tokenizer),
        }

    def ids(self, texts: list[str], length: int) -> np.ndarray:
        """Texts -> token ids int32 [S, L], cut or padded."""
        return ids_of(self.tokenizer, texts, length)

    def longer(self, texts: list[str], length: int) -> int:
        """How many of some texts have more tokens than that."""
        return longer(self.tokenizer, texts, length)

    def repadded(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids [S, L] of a tokenizer that pads otherwise -> with this one's padding behind each text's end."""
        ended = (ids == self.tokenizer.eos_token_id).cumsum(1)
        behind = (ended > 1) | ((ended == 1) & (ids != self.tokenizer.eos_token_id))
        return torch.where(behind, self.tokenizer.pad_token_id, ids)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        self.model = self.model.to(device, dtype)

    def ends(self, ids: torch.Tensor) -> torch.Tensor:
        """Where each text ends, [S]: its first end-of-text token."""
        return (ids == self.tokenizer.eos_token_id).int().argmax(1)

    def __call__(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids [S, L] -> states [S, L, D] before the last layer, pooled text [S, E]."""
        found = self.model(input_ids=ids, output_hidden_states=True)
        return found.hidden_states[-2], found.text_embeds if self.projected else found.pooler_output


class T5Words:
    """T5's encoder. Arguments as of `ClipWords`."""

    def __init__(self, who: str, model: str, revision: str | None, number: str) -> None:
        self.tokenizer: Any = load_part(who, model, f"tokenizer{number}", AutoTokenizer.from_pretrained, revision)
        self.model: Any = load_text_model(who, model, f"text_encoder{number}", T5EncoderModel, revision)
        config = self.model.config
        layout = {name: getattr(config, name) for name in ("feed_forward_proj", "num_heads", "layer_norm_epsilon")}
        said = json.loads(self.tokenizer.backend_tokenizer.to_str()) | {"truncation": None, "padding": None}
        self.fingerprint = {
            "weights": weights_sha256(self.model.named_parameters()),
            "layout": layout,
            "tokenizer": hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest(),
        }

    def ids(self, texts: list[str], length: int) -> np.ndarray:
        """Texts -> token ids int32 [S, L], cut or padded."""
        return ids_of(self.tokenizer, texts, length)

    def longer(self, texts: list[str], length: int) -> int:
        """How many of some texts have more tokens than that."""
        return longer(self.tokenizer, texts, length)

    def to(self, device: torch.device, dtype: torch.dtype) -> None:
        """But for the last products of its feed-forward layers, which overflow in float16: they stay in float32, as
        transformers itself loads them (`_keep_in_fp32_modules`)."""
        self.model = self.model.to(device)
        for name, module in self.model.named_modules():
            if not name.endswith(".wo"):
                for weight in module.parameters(recurse=False):
                    weight.data = weight.data.to(dtype)

    def are_words(self, ids: torch.Tensor) -> torch.Tensor:
        """Bool [S, L]: all up to the token that ends a text; padding is behind it."""
        ends = (ids == self.tokenizer.eos_token_id).int()
        return ends.cumsum(1) - ends == 0

    def __call__(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Token ids [S, L] -> last states [S, L, D]; without a mask, padding counts as words do."""
        return self.model(input_ids=ids, attention_mask=mask).last_hidden_state

    def summary(self, ids: torch.Tensor) -> torch.Tensor:
        """A text as one state, [S, D]: the mean over its words and end. T5 has no token that stands for a text, and of
        its encoder the mean is the better choice (Ni et al., 2021, Sentence-T5)."""
        words = self.are_words(ids)
        states = self(ids, words.to(self.model.dtype)).float() * words[..., None]
        return states.sum(1) / words.sum(1, keepdim=True)


def ids_of(tokenizer: Any, texts: list[str], length: int) -> np.ndarray:
    """Texts -> token ids int32 [S, L], cut or padded by a tokenizer."""
    if not texts:
        return np.empty((0, length), np.int32)
    found = tokenizer(texts, padding="max_length", truncation=True, max_length=length, return_tensors="np")
    return np.asarray(found["input_ids"], np.int32)


def longer(tokenizer: Any, texts: list[str], length: int) -> int:
    """How many of some texts have more tokens than `length`, start and end among them."""
    # A copy: cutting and padding are a state of the tokenizer, which several threads use.
    counter = type(tokenizer.backend_tokenizer).from_str(tokenizer.backend_tokenizer.to_str())
    counter.no_truncation()
    counter.no_padding()
    return sum(len(encoding.ids) > length for encoding in counter.encode_batch(texts))


def load_text_model(who: str, model: str, part: str, kind: Any, revision: str | None) -> Any:
    """A text model in float32. ConfigError unless all its weights are there."""
    found, report = load_part(
        who, model, part, kind.from_pretrained, revision, dtype=torch.float32, output_loading_info=True
    )
    if absent := sorted(report["missing_keys"]):
        raise ConfigError(
            f"{who}: {part} of {model!r} lacks {len(absent)} weights, such as {absent[0]}; expected a {kind.__name__}. "
            "Point at a whole model of this encoder's family"
        )
    return found
