"""Sentence states inside one shard: every distinct sentence is encoded once, in batches of one shape.

Sentences repeat ("left", "man in red"): what counts as the same is the row of token ids, which is what the encoder
sees. States are kept until the shard is done, so memory is that of the shard's distinct sentences.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.encoders import TextEncoder


class TextStates:
    """Ask for rows, flush at the end of the shard, then fetch. Rows are encoded in order of first asking."""

    def __init__(self, text: TextEncoder, batch: int) -> None:
        self._text = text
        self._batch = batch
        self._known: dict[bytes, np.ndarray] = {}  # token row -> states float16 [L, D]
        self._pending: dict[bytes, np.ndarray] = {}  # token row -> the row itself, int32 [L]

    def learn(self, record: Mapping[str, np.ndarray]) -> None:
        """The states of an earlier record, if it has any: `tokens` int32 [S, L], `text` float16 [S, L, D]."""
        for row, states in zip(record.get("tokens", ()), record.get("text", ()), strict=False):
            if row.tobytes() not in self._pending:
                self._known.setdefault(row.tobytes(), states)

    def ask(self, tokens: np.ndarray) -> None:
        """Tokens int32 [S, L]: makes sure that their states will be known after enough asking, or a flush."""
        for row in tokens:
            name = row.tobytes()
            if name not in self._known:
                self._pending.setdefault(name, row)
            if len(self._pending) == self._batch:
                self.flush()

    def flush(self) -> None:
        """Encodes what is pending, padded to a full batch."""
        if not self._pending:
            return
        tokens = np.zeros((self._batch, self._text.length), np.int32)  # [B, L]
        for target, row in zip(tokens, self._pending.values(), strict=False):
            target[:] = row
        states = self._text.encode_to_store(tokens)  # float16 [B, L, D]
        self._known.update(zip(self._pending, states, strict=False))
        self._pending.clear()

    def knows(self, tokens: np.ndarray) -> bool:
        return all(row.tobytes() in self._known for row in tokens)

    def of(self, tokens: np.ndarray) -> np.ndarray:
        """Tokens int32 [S, L] -> states float16 [S, L, D]."""
        if not len(tokens):
            return np.zeros((0, self._text.length, self._text.width), np.float16)
        return np.stack([self._known[row.tobytes()] for row in tokens])
