"""What a stream needs to know about an order, of one set or of several."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class SampleOrder(Protocol):
    """Which sample comes at which position; positions count samples since the start of training."""

    @property
    def n_items(self) -> int:
        """Samples in an epoch."""
        ...

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Item ids i64 [P] at global positions i64 [P]."""
        ...

    def epochs(self, positions: np.ndarray) -> np.ndarray:
        """i64 [P]: which pass over its set each sample belongs to; its row is drawn for that."""
        ...
