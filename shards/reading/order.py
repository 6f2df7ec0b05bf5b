"""Which item comes at which position, by arithmetic alone: no state, no stored permutation.

Position p counts samples since the start of training; it is in epoch p // n_items. Each epoch is a bijection of the
items keyed by (seed, epoch) (`permutation`). So every item comes exactly once an epoch, any position costs the same,
and ranks, workers and resume need nothing but a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from shards.errors import ConfigError
from shards.reading.counts import Counts
from shards.reading.mixing import Mixing
from shards.reading.mixture import MixedOrder, MixedWindow
from shards.reading.permutation import keyed, permute
from shards.reading.window import WindowedOrder


class ShardCounts(Protocol):
    """What `order_of` asks of a set."""

    @property
    def mixing(self) -> Mixing | None:
        """How often each is drawn from, of several sets that are read as one."""
        ...

    @property
    def part_shards(self) -> tuple[int, ...]:
        """How many shards each of these has."""
        ...

    def shard_items(self, unit: str = "item") -> Sequence[int]:
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
        return permute(place, np.array([self.n_items]), keyed(self.seed, drawn_of))

    def epochs(self, positions: np.ndarray) -> np.ndarray:
        """i64 [P]: which epoch each sample belongs to."""
        return np.asarray(positions, np.int64) // self.n_items


def order_of(
    shards: ShardCounts,
    *,
    seed: int,
    window_shards: int = 0,
    fixed: bool = False,
    shuffle: bool = True,
    unit: str = "item",
) -> Order | WindowedOrder | MixedOrder:
    """The order of a set: over all of it, or within a moving window of `window_shards` shards if > 0. Of several sets
    that are read as one, each in the order that it has alone.

    Args:
        fixed: the same in every epoch.
        shuffle: False: as the set has them.

    Raises:
        ConfigError: a window, and `fixed` or no `shuffle`.
    """
    if fixed and window_shards:
        raise ConfigError(
            f"data.order is fixed and data.window_shards {window_shards}; a window's order is new in every epoch. Set "
            "one of the two: data.window_shards=0, or data.order=new."
        )
    if window_shards and not shuffle:
        raise ConfigError("window_shards is a way to shuffle; leave it 0 with shuffle=False")
    counts, start, each = Counts.of(shards.shard_items(unit)), 0, []
    for n_shards in shards.part_shards:
        each.append(counts[start : start + n_shards])
        start += n_shards
    sums = [int(own.array.sum()) for own in each]
    plain = [Order(n_items, seed, shuffle, fixed) for n_items in sums] if not window_shards else []
    windowed = [WindowedOrder(own, seed, window_shards) for own in each] if window_shards else []
    if shards.mixing is None:
        return (plain or windowed)[0]
    turns = shards.mixing.turns(sums)
    return MixedWindow(tuple(windowed), turns) if windowed else MixedOrder(tuple(plain), turns)


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
