"""What turns pixels and sentences into stored arrays: the two encoder protocols.

One encoder is one module here, found by its name, exposing `build(**options)`. torch, diffusers and transformers are
imported in those modules and nowhere else in `pipeline`; arrays cross this border as numpy.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from shards.contract.schema import Field
from shards.geometry.view import Size


class ImageEncoder(Protocol):
    @property
    def fingerprint(self) -> dict[str, Any]:
        """Weights and arithmetic that determine the output, as JSON; never a path or a hub id."""
        ...

    def fields(self, size_px: Size) -> tuple[Field, ...]:
        """What `encode` returns for pixels of this size, one leading "view" axis each. Raises ConfigError."""
        ...

    def allocate(self, shape: tuple[int, ...]) -> np.ndarray:
        """Host memory, float32, that this encoder's device reads fast. A build fills one per batch."""
        ...

    def encode(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Pixels float32 [B, 3, H, W] in [-1, 1] -> stored arrays by field name, [B, ...]. Rows are independent; a
        row that does not fit its dtype holds inf or NaN, and the caller decides what to do about that sample."""
        ...


class TextEncoder(Protocol):
    @property
    def fingerprint(self) -> dict[str, Any]: ...

    @property
    def length(self) -> int:
        """Tokens per sentence, L."""
        ...

    @property
    def width(self) -> int:
        """Numbers per token state, D."""
        ...

    def tokenize(self, sentences: list[str]) -> np.ndarray:
        """S sentences -> token ids int32 [S, L], cut or padded to L."""
        ...

    def encode(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids int32 [S, L] -> states float32 [S, L, D]. Rows are independent."""
        ...

    def encode_to_store(self, tokens: np.ndarray) -> np.ndarray:
        """The same in float16, rounded on the device; a state that does not fit is inf."""
        ...

    def encode_pooled(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids int32 [S, L] -> one vector a sentence, float32 [S, D]. Rows are independent."""
        ...
