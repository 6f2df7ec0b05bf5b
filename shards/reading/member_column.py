"""One member of all samples of a batch: where its bytes lie, what they are, and where they go.

Owns the memory of members that are no tensors. Reading is `shards.reading.rows`' and `shards.reading.native_rows`'.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, overload

import numpy as np

from shards.contract.schema import Field
from shards.reading.gather import Places


class MemberRoom(Sequence[memoryview]):
    """Bytes of b samples, one behind the other in one piece of memory; who keeps one of them keeps all."""

    def __init__(self, lengths: np.ndarray) -> None:
        self._lengths = lengths  # i64 [b]
        self._parts: list[memoryview] = []  # made when somebody asks
        self.memory = np.empty(int(lengths.sum()), np.uint8)  # [sum of lengths]

    def __len__(self) -> int:
        return len(self._lengths)

    @overload
    def __getitem__(self, place: int) -> memoryview: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[memoryview]: ...
    def __getitem__(self, place: int | slice) -> memoryview | Sequence[memoryview]:
        parts = self._parts
        if not parts:
            ends, whole = np.cumsum(self._lengths).tolist(), self.memory.data
            parts = self._parts = [whole[start:end] for start, end in pairwise([0, *ends])]
        return parts[place]


class MemberColumn(NamedTuple):
    """See the module; everything has a value for each sample."""

    place: int  # of the member in a record
    field: Field
    places: Places
    targets: Sequence[memoryview]
    memory: np.ndarray  # that the targets are of, from the first on without gaps

    def ends(self) -> list[int]:
        """Where the bytes end in the tar."""
        return (self.places.starts + self.places.lengths).tolist()


def rows_column(
    place: int, field: Field, places: Places, array: np.ndarray, rows: Sequence[memoryview]
) -> MemberColumn:
    """Of rows that become those of an array."""
    return MemberColumn(place, field, places, rows, array)


def whole_column(place: int, field: Field, places: Places) -> MemberColumn:
    """Of whole members, in memory of their own."""
    lengths = places.lengths
    room = MemberRoom(np.full_like(places.starts, lengths) if isinstance(lengths, int) else lengths)
    return MemberColumn(place, field, places, room, room.memory)
