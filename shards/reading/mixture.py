"""The order of several sets that are read as one: turns by weight, each set in its own order.

The samples of a mixture are those of its sets, one set after another. Its k-th is a sample of the set whose turn it is
(`mixing`): if that is the set's m-th turn, it is the sample at position m of the set's own order, pass after pass. So
within a set every sample comes exactly once a pass, whatever the weights. An epoch of a mixture is as many samples as
its sets have together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from shards.reading.mixing import Turns
from shards.reading.sample_order import SampleOrder
from shards.reading.window import WindowedOrder


@dataclass(frozen=True)
class MixedOrder:
    """`orders` of S sets, taken by `turns`."""

    orders: tuple[SampleOrder, ...]
    turns: Turns

    @property
    def n_items(self) -> int:
        """Samples in an epoch."""
        return sum(order.n_items for order in self.orders)

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Sample numbers i64 [P] of the mixture at global positions i64 [P]."""
        return self._by_set(positions, lambda place, order, draws: self._starts()[place] + order.at(draws))

    def epochs(self, positions: np.ndarray) -> np.ndarray:
        """i64 [P]: which pass over its own set each sample belongs to."""
        return self._by_set(positions, lambda _, order, draws: order.epochs(draws))

    def _by_set(
        self, positions: np.ndarray, values: Callable[[int, SampleOrder, np.ndarray], np.ndarray]
    ) -> np.ndarray:
        which, draws = self.turns.of(positions)
        result = np.empty(len(which), np.int64)
        for place, order in enumerate(self.orders):
            mine = which == place
            result[mine] = values(place, order, draws[mine])
        return result

    def _starts(self) -> np.ndarray:
        sizes = np.array([order.n_items for order in self.orders], np.int64)
        return np.cumsum(sizes) - sizes


@dataclass(frozen=True)
class MixedWindow(MixedOrder):
    """A mixture of windowed orders: shards are numbered over all sets, as samples are."""

    orders: tuple[WindowedOrder, ...]

    @property
    def window(self) -> int:
        """Shards in use at a time, of each set."""
        return self.orders[0].window

    def shards_near(self, position: int, ahead: int, stop: int | None = None) -> list[int]:
        """As of `WindowedOrder`, for each set in turn; none of a set whose turn does not come within an epoch."""
        end = position + self.n_items if stop is None else min(stop, position + self.n_items)
        draws, ends = self.turns.counts(np.array([position, end])).T.tolist()
        near, start = [], 0
        for order, draw, last in zip(self.orders, draws, ends, strict=True):
            if last > draw:
                near += [start + shard for shard in order.shards_near(draw, ahead, last)]
            start += len(order.shard_items)
        return near

    def most_shards(self, n_samples: int, ahead: int = 0) -> int:
        """As of `WindowedOrder`, over all sets; each has its own next shards."""
        most = self.turns.most(n_samples)
        return sum(order.most_shards(n, ahead) for order, n in zip(self.orders, most, strict=True) if n)
