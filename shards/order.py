"""Which item comes at which position, by arithmetic alone: no state, no stored permutation.

Position p counts samples since the start of training; it is in epoch p // n_items. Each epoch is a bijection
of the items keyed by (seed, epoch): a Feistel network on the smallest power of two that holds them, walked
until it lands inside ("cycle walking", Black and Rogaway 2002). So every item comes exactly once an epoch,
any position costs the same, and ranks, workers and resume need nothing but a number. Mixing function:
splitmix64's finaliser (Steele, Lea and Flood 2014). All of it is 64-bit integer arithmetic, the same on every
machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from shards.errors import ConfigError

if TYPE_CHECKING:
    from shards.window import WindowedOrder

_ROUNDS = 4
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_MASK_64 = (1 << 64) - 1


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
    """What `Order.of` asks of a set."""

    def shard_items(self, unit: str = "item") -> tuple[int, ...]:
        """Samples per shard."""
        ...


@dataclass(frozen=True)
class Order:
    """Items 0 .. n_items - 1, shuffled anew over the whole set in every epoch; in order if not `shuffle`."""

    n_items: int
    seed: int
    shuffle: bool = True

    def __post_init__(self) -> None:
        if self.n_items < 1:
            raise ConfigError(f"an order needs at least one item, got n_items={self.n_items}")

    @staticmethod
    def of(
        shards: ShardCounts,
        *,
        seed: int,
        window_shards: int = 0,
        unit: str = "item",
    ) -> Order | WindowedOrder:
        """The shuffled order of a set: over all of it, or within a moving window of `window_shards` shards if
        > 0.
        """
        from shards.window import WindowedOrder  # window builds on this module

        counts = shards.shard_items(unit)
        return WindowedOrder(counts, seed, window_shards) if window_shards else Order(sum(counts), seed)

    def items(self, start: int, stop: int) -> np.ndarray:
        """Item ids i64 [stop - start] at global positions start .. stop - 1."""
        return self.at(np.arange(start, stop))

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Item ids i64 [P] at global positions i64 [P], in any order."""
        epoch, place = np.divmod(np.asarray(positions, np.int64), self.n_items)
        if not self.shuffle:
            return place
        return permute(place, np.full_like(place, self.n_items), keyed(self.seed, epoch))


def rank_slice(count: int, rank: int, world: int) -> slice:
    """Rank r's share of a batch of `count` samples: contiguous, in rank order, sizes differing by at most
    one.
    """
    return slice(count * rank // world, count * (rank + 1) // world)


def check_world(batch_size: int, rank: int, world: int) -> None:
    """ConfigError unless the global batch divides evenly, so that all ranks always do equal work."""
    if world < 1 or not 0 <= rank < world:
        raise ConfigError(f"rank {rank} of world {world} does not exist; ranks are 0 .. world - 1")
    if batch_size < 1 or batch_size % world:
        raise ConfigError(
            f"global batch size {batch_size} does not divide by {world} ranks; choose a multiple, such as "
            f"{max(1, round(batch_size / world)) * world}"
        )


def keyed(seed: int, *parts: np.ndarray | int) -> np.ndarray:
    """u64 [P] hash of a seed and any number of integers or arrays [P]; [1] if there are only integers."""
    key = _mix(np.full(1, seed & _MASK_64, np.uint64))
    for part in parts:
        key = _mix(key ^ (np.atleast_1d(part).astype(np.uint64) * _GOLDEN + _MULTIPLY_2))
    return key


def permute(index: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """i64 [P]: where a permutation of 0 .. size - 1, chosen by key, takes index; all three are [P], 0 <=
    index < size.
    """
    result = index.astype(np.uint64)
    bits = np.frexp((size - 1).astype(np.float64))[1].astype(np.uint64)  # smallest with 2**bits >= size
    size, key = size.astype(np.uint64), np.broadcast_to(key, index.shape)
    todo = np.arange(len(result))
    while len(todo):
        result[todo] = _feistel(result[todo], bits[todo], key[todo])
        todo = todo[result[todo] >= size[todo]]
    return result.astype(np.int64)


def _feistel(value: np.ndarray, bits: np.ndarray, key: np.ndarray) -> np.ndarray:
    """A bijection on 0 .. 2**bits - 1: every round hashes each half into the other, then adds a constant to
    the whole.

    The addition matters for small sets: xor alone makes even permutations only.
    """
    low_bits = bits // np.uint64(2)
    low_mask = (np.uint64(1) << low_bits) - np.uint64(1)
    high_mask = (np.uint64(1) << (bits - low_bits)) - np.uint64(1)
    mask = (np.uint64(1) << bits) - np.uint64(1)
    for _ in range(_ROUNDS):
        key = _mix(key + _GOLDEN)
        low, high = value & low_mask, value >> low_bits
        high = high ^ (_mix(low ^ key) & high_mask)
        low = low ^ (_mix(high + key) & low_mask)
        value = ((high << low_bits | low) + (key >> np.uint64(32))) & mask
    return value


def _mix(value: np.ndarray) -> np.ndarray:
    """splitmix64's finaliser: u64 -> u64, every output bit depends on every input bit."""
    # arrays wrap at 64 bits without a warning, which is what is wanted here
    value = (value ^ (value >> np.uint64(30))) * _MULTIPLY_1
    value = (value ^ (value >> np.uint64(27))) * _MULTIPLY_2
    return value ^ (value >> np.uint64(31))
