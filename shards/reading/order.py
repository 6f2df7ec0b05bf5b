"""Which item comes at which position, by arithmetic alone: no state, no stored permutation.

Position p counts samples since the start of training; it is in epoch p // n_items. Each epoch is a bijection of the
items keyed by (seed, epoch) (`permutation`). So every item comes exactly once an epoch, any position costs the same,
and ranks, workers and resume need nothing but a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shards.errors import ConfigError
from shards.reading.permutation import keyed, permute
from shards.reading.window import WindowedOrder


class SampleOrder(Protocol):
    """What a stream needs to know about an order."""

    @property
    def n_items(self) -> int:
        """Samples in an epoch."""
        ...

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Item ids i64 [P] at global positions i64 [P]."""
        ...


class ShardCounts(Protocol):
    """What `order_of` asks of a set."""

    def shard_items(self, unit: str = "item") -> tuple[int, ...]:
        """Samples per shard."""
        ...


@dataclass(frozen=True)
class Order:
    """Items 0 .. n_items - 1, shuffled anew over the whole set in every epoch, or once for all of them if `fixed`; in
    order if not `shuffle`."""

    n_items: int
    seed: int
    shuffle: bool = True
    fixed: bool = False

    def __post_init__(self) -> None:
        if self.n_items < 1:
            raise ConfigError(f"an order needs at least one item, got n_items={self.n_items}")

    def items(self, start: int, stop: int) -> np.ndarray:
        """Item ids i64 [stop - start] at global positions start .. stop - 1."""
        return self.at(np.arange(start, stop))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Item ids i64 [P] at global positions i64 [P], in any order."""
        epoch, place = np.divmod(np.asarray(positions, np.int64), self.n_items)
        if not self.shuffle:
            return place
        drawn_of = np.zeros_like(epoch) if self.fixed else epoch
        return permute(place, np.full_like(place, self.n_items), keyed(self.seed, drawn_of))


def order_of(
    shards: ShardCounts, *, seed: int, window_shards: int = 0, fixed: bool = False, unit: str = "item"
) -> Order | WindowedOrder:
    """The shuffled order of a set: over all of it, or within a moving window of `window_shards` shards if > 0.

    Args:
        fixed: the same in every epoch.

    Raises:
        ConfigError: `fixed` and a window.
    """
    counts = shards.shard_items(unit)
    if fixed and window_shards:
        raise ConfigError(
            f"data.order is fixed and data.window_shards {window_shards}; a window's order is new in every epoch. Set "
            "one of the two: data.window_shards=0, or data.order=new."
        )
    return WindowedOrder(counts, seed, window_shards) if window_shards else Order(sum(counts), seed, fixed=fixed)


def rank_slice(count: int, rank: int, world: int) -> slice:
    """Rank r's share of a batch of `count` samples: contiguous, in rank order, sizes differing by at most
    one.
    """
    return slice(count * rank // world, count * (rank + 1) // world)


def check_world(batch_size: int, rank: int, world: int, *, uneven: bool = False) -> None:
    """ConfigError unless the global batch divides evenly, so that all ranks always do equal work, or, where it may be
    uneven, gives each rank something to do.
    """
    if world < 1 or not 0 <= rank < world:
        raise ConfigError(f"rank {rank} of world {world} does not exist; ranks are 0 .. world - 1")
    if uneven and batch_size < world:
        raise ConfigError(f"global batch size {batch_size} gives nothing to some of {world} ranks; raise it")
    if not uneven and (batch_size < 1 or batch_size % world):
        raise ConfigError(
            f"global batch size {batch_size} does not divide by {world} ranks; choose a multiple, such as "
            f"{max(1, round(batch_size / world)) * world}"
        )
