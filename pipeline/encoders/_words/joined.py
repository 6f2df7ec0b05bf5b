"""What an encoder of several text models promises: a `pipeline.encoders.TextEncoder`, whose tokens carry more than
their states.

Owns precision, device and the way between numpy and tensors. What a token is, the families say.

Shapes: S texts, L tokens each, W numbers per token.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import torch

from pipeline.encoders import TextEncoder
from pipeline.encoders._arithmetic import float32_arithmetic
from pipeline.encoders._loading import check_device, exact_facts
from pipeline.encoders._words.facts import check_tokens
from pipeline.encoders._words.parts import DTYPES
from shards.errors import ConfigError


class Part(Protocol):
    """One text model with its tokenizer (`parts`)."""

    model: Any
    fingerprint: dict[str, Any]

    def to(self, device: torch.device, dtype: torch.dtype) -> None: ...


class JoinedText(TextEncoder):
    """Several text models as one encoder.

    Args:
        name: of the plug-in.
        parts: by their names in the model's folder.
        length: tokens of a text.
        width: numbers per token.
        dtype, device: of the computation.

    Raises:
        ConfigError: no such precision or device, or too few tokens for a word.
    """

    def __init__(self, name: str, parts: Mapping[str, Part], length: int, width: int, dtype: str, device: str) -> None:
        if dtype not in DTYPES:
            raise ConfigError(f"{name}: dtype is {dtype!r}, expected float32 or float16")
        check_tokens(name, length)
        self._device = check_device(name, device)
        for part in parts.values():
            part.to(self._device, DTYPES[dtype])
            part.model.eval().requires_grad_(False)
        self.length, self.width = length, width
        said: dict[str, dict[str, Any]] = {key: {} for key in ("weights", "layout", "tokenizer")}
        for part_name, part in parts.items():
            for key, value in part.fingerprint.items():
                said[key][part_name] = value
        self.fingerprint = {"encoder": name, **said, "length": length, "dtype": dtype}
        self.exact = exact_facts(self._device)

    @abstractmethod
    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids int64 [S, L] -> tokens [S, L, W] with all that they carry."""

    @abstractmethod
    def class_rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Token ids int64 [S, L] -> one token a text, [S, W]."""

    @abstractmethod
    def tokenize(self, sentences: list[str]) -> np.ndarray: ...

    @torch.no_grad()  # not inference mode, whose tensors no training takes
    def states(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens float32 [S, L, W] of token ids [S, L], on this encoder's device."""
        with float32_arithmetic(tf32=False):
            return self.rows(tokens.to(self._device, torch.long)).float()

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        return self.states(torch.from_numpy(tokens)).cpu().numpy()

    def encode_to_store(self, tokens: np.ndarray) -> np.ndarray:
        return self.states(torch.from_numpy(tokens)).half().cpu().numpy()

    @torch.no_grad()
    def encode_pooled(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids int32 [S, L] -> float32 [S, W]: a text as one token, with what it carries."""
        with float32_arithmetic(tf32=False):
            return self.class_rows(torch.from_numpy(tokens).to(self._device, torch.long)).float().cpu().numpy()


def carrying(states: torch.Tensor, carried: torch.Tensor) -> torch.Tensor:
    """States `[S, L, D]` with what each token of a text carries, `[S, E]` or `[S, L, E]`, behind them."""
    behind = carried[:, None].expand(-1, states.shape[1], -1) if carried.ndim == 2 else carried
    return torch.cat([states, behind.to(states.dtype)], dim=-1)
