"""The shards of a manifest, as columns: a set may have a thousand of them, and a reader asks for a few.

Owns how entries are held and checked together; an entry is made when it is asked for. What an entry may say is
`shards.contract.entries`', which also words every fault: here a list is taken as a whole, or not at all. Shards that a
manifest does not list itself are `shards.contract.paged_shards`'.
"""

from __future__ import annotations

from abc import abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import chain, pairwise
from operator import attrgetter, itemgetter
from typing import Any, overload

import numpy as np

from shards.contract.entries import LARGEST, ShardEntry, are_sha256
from shards.contract.schema import are_keys
from shards.errors import CorruptShard

NUMBERS = ("records", "items", "tar_bytes", "rejects")
_HASHES = ("tar_sha256", "idx_sha256")
_N_VALUES = len(fields(ShardEntry))
_DIGITS = 64  # of a SHA-256


class Shards(Sequence[ShardEntry]):
    """S entries, equal to any sequence of the same ones, whose counts are at hand as columns."""

    __slots__ = ()

    @abstractmethod
    def numbers(self, name: str) -> np.ndarray:
        """A count of all of them, i64 [S]: records, items, tar_bytes or rejects."""

    @property
    def are_distinct(self) -> bool:
        """Whether no two have the same name."""
        return len({shard.name for shard in self}) == len(self)

    def tars(self) -> Iterator[tuple[str, int]]:
        """(name, bytes of the tar) of each."""
        return ((shard.name, shard.tar_bytes) for shard in self)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def _entry(self, number: int) -> ShardEntry: ...

    @overload
    def __getitem__(self, index: int) -> ShardEntry: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ShardEntry, ...]: ...
    def __getitem__(self, index: int | slice) -> ShardEntry | tuple[ShardEntry, ...]:
        if isinstance(index, slice):
            return tuple(self._entry(number) for number in range(*index.indices(len(self))))
        return self._entry(range(len(self))[index])

    def __iter__(self) -> Iterator[ShardEntry]:
        return map(self._entry, range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self[:3])}{', ...' if len(self) > 3 else ''}, {len(self)} shards)"


class ShardList(Shards):
    """Entries that a manifest lists.

    Args:
        names: [S], no two of them equal in a sound set; kept as one text, since 10^5 small ones, made among all the
            values of a manifest, would keep the memory of all of them.
        numbers: i64 [S] by name of the count.
        hashes: by name of the hash, S of them without anything between.
    """

    __slots__ = ("_ends", "_hashes", "_names", "_numbers", "_unlike")

    def __init__(self, names: Sequence[str], numbers: dict[str, np.ndarray], hashes: dict[str, str]) -> None:
        self._unlike = len(set(names)) == len(names)
        self._names = "".join(names)
        self._ends = np.cumsum([0, *map(len, names)])  # i64 [S + 1]
        self._numbers, self._hashes = numbers, hashes

    @staticmethod
    def of(entries: Iterable[ShardEntry]) -> ShardList:
        """These entries."""
        rows = list(entries)
        numbers = {name: np.array(list(map(attrgetter(name), rows)), np.int64) for name in NUMBERS}
        return ShardList(
            [entry.name for entry in rows],
            numbers,
            {name: "".join(map(attrgetter(name), rows)) for name in _HASHES},
        )

    @staticmethod
    def parsed(data: Any) -> ShardList | None:
        """The entries in a manifest's data; None unless every single one is sound and has all values, and their counts
        can be added up in 64 bits."""
        if not isinstance(data, list) or set(map(type, data)) - {dict} or set(map(len, data)) - {_N_VALUES}:
            return None
        try:
            names, numbers, hashes = (_columns(data, keys) for keys in (("name",), NUMBERS, _HASHES))
        except KeyError:
            return None
        texts = (*names.values(), *hashes.values())
        if any(set(map(type, column)) - {str} for column in texts) or not are_keys(names["name"]):
            return None
        if not all(map(are_sha256, hashes.values())) or not all(map(_are_counts, numbers.values())):
            return None
        return ShardList(
            names["name"],
            {name: np.array(column, np.int64) for name, column in numbers.items()},
            {name: "".join(column) for name, column in hashes.items()},
        )

    def numbers(self, name: str) -> np.ndarray:
        return self._numbers[name]

    @property
    def are_distinct(self) -> bool:
        return self._unlike

    def tars(self) -> Iterator[tuple[str, int]]:
        names = (self._names[start:end] for start, end in pairwise(self._ends.tolist()))
        return zip(names, self._numbers["tar_bytes"].tolist(), strict=True)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def _entry(self, number: int) -> ShardEntry:
        records, items, tar_bytes, rejects = (int(self._numbers[name][number]) for name in NUMBERS)
        digits = slice(number * _DIGITS, (number + 1) * _DIGITS)
        tar_sha256, idx_sha256 = (self._hashes[name][digits] for name in _HASHES)
        name = self._names[int(self._ends[number]) : int(self._ends[number + 1])]
        return ShardEntry(name, records, items, tar_bytes, tar_sha256, idx_sha256, rejects)


class JoinedShards(Shards):
    """The shards of several manifests, one after another; they stay where they are."""

    __slots__ = ("_ends", "_numbers", "_parts")

    def __init__(self, parts: Sequence[Sequence[ShardEntry]]) -> None:
        self._parts = tuple(parts)
        self._ends: list[int] = np.cumsum(list(map(len, parts))).tolist()
        self._numbers = {name: np.concatenate([numbers_of(part, name) for part in parts]) for name in NUMBERS}

    def numbers(self, name: str) -> np.ndarray:
        return self._numbers[name]

    def __len__(self) -> int:
        return self._ends[-1]

    def __iter__(self) -> Iterator[ShardEntry]:
        return chain.from_iterable(self._parts)

    def _entry(self, number: int) -> ShardEntry:
        part = bisect_right(self._ends, number)
        return self._parts[part][number - self._ends[part]]  # from the end of the part, which is its own


def numbers_of(shards: Sequence[ShardEntry], name: str) -> np.ndarray:
    """A count of all entries, i64 [S]: records, items, tar_bytes or rejects."""
    if isinstance(shards, Shards):
        return shards.numbers(name)
    return np.array([getattr(shard, name) for shard in shards], np.int64)


def tars_of(shards: Sequence[ShardEntry]) -> Iterator[tuple[str, int]]:
    """(name, bytes of the tar) of each: quicker than of its entry."""
    return shards.tars() if isinstance(shards, Shards) else ((shard.name, shard.tar_bytes) for shard in shards)


def are_distinct(shards: Sequence[ShardEntry]) -> bool:
    """Whether no two have the same name."""
    if isinstance(shards, Shards):
        return shards.are_distinct
    return len({shard.name for shard in shards}) == len(shards)


def check_distinct(shards: Sequence[ShardEntry], where: str) -> None:
    """CorruptShard if two have the same name; `where` opens it. All pages of a large set are read for it."""
    if not are_distinct(tuple(shards)):
        raise CorruptShard(f"{where}: it names a shard twice; the file was edited, restore it")


def _columns(rows: list[dict[str, Any]], keys: Sequence[str]) -> dict[str, list[Any]]:
    return {key: list(map(itemgetter(key), rows)) for key in keys}


def _are_counts(column: list[Any]) -> bool:
    """Whole numbers from 0 to 2^62, as is their sum."""
    return not set(map(type, column)) - {int} and min(column, default=0) >= 0 and sum(column) < LARGEST
