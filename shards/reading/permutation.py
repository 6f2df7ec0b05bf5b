"""A seeded bijection of any number of items, by arithmetic alone.

A Feistel network on the smallest power of two that holds the items, walked until it lands inside ("cycle walking",
Black and Rogaway 2002). Mixing function: splitmix64's finaliser (Steele, Lea and Flood 2014). All of it is 64-bit
integer arithmetic, the same on every machine.
"""

from __future__ import annotations

from ctypes import CDLL

import numpy as np

from shards.native.library import address_of, library

_ROUNDS = 4
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_MASK_64 = (1 << 64) - 1


def keyed(seed: int, *parts: np.ndarray | int) -> np.ndarray:
    """u64 [P] hash of a seed and any number of integers or arrays [P]; [1] if there are only integers."""
    key = _mix(np.full(1, seed & _MASK_64, np.uint64))
    for part in parts:
        key = _mix(key ^ (np.atleast_1d(part).astype(np.uint64) * _GOLDEN + _MULTIPLY_2))
    return key


def permute(index: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """i64 [P]: where a permutation of 0 .. size - 1, chosen by key, takes index [P], 0 <= index < size; size and key
    are [P], or [1]: one for all.
    """
    native = library()
    if native is not None:
        return _permuted(native, np.array(index, np.int64, order="C"), size, key)  # a copy
    size, key = np.broadcast_to(size, index.shape), np.broadcast_to(key, index.shape)
    result = index.astype(np.uint64)
    bits = np.frexp((size - 1).astype(np.float64))[1].astype(np.uint64)  # smallest with 2**bits >= size
    size = size.astype(np.uint64)
    todo = np.arange(len(result))
    while len(todo):
        result[todo] = _feistel(result[todo], bits[todo], key[todo])
        todo = todo[result[todo] >= size[todo]]
    return result.astype(np.int64)


def shuffled(count: int, key: np.ndarray) -> np.ndarray:
    """All of 0 .. count - 1, i64 [count], as the permutation that key [1] chooses has them."""
    native, places, size = library(), np.arange(count), np.array([count])
    return permute(places, size, key) if native is None else _permuted(native, places, size, key)


def _permuted(native: CDLL, places: np.ndarray, size: np.ndarray, key: np.ndarray) -> np.ndarray:
    """The same array, other places in it."""
    sizes, keys = _one_or_all(size, places, np.int64), _one_or_all(key, places, np.uint64)
    native.permute(len(places), address_of(places), address_of(sizes), len(sizes) > 1, address_of(keys), len(keys) > 1)
    return places


def _one_or_all(values: np.ndarray, places: np.ndarray, dtype: type) -> np.ndarray:
    """[1] or [P], which C cannot see to."""
    if values.size != 1:
        values = np.broadcast_to(values, places.shape)
    return np.ascontiguousarray(values, dtype).reshape(-1)


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
